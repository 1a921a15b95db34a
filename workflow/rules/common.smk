# What the rules share: which scenario a file belongs to, and the settings that reach a stage.
import functools
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

sys.path.insert(0, Path(workflow.basedir, "workflow/scripts").as_posix())
# Jobs call `python`: the one that runs Snakemake, or the one of the conda environment, which comes before it.
os.environ.update(PATH=os.pathsep.join([Path(sys.executable).parent.as_posix(), os.getenv("PATH", "")]))

from budama.jobs import provenance, terminal, user_files
from budama.settings import stages
from budama.errors import BudamaError

# The log of a job that a signal ended (a crash, the system's out-of-memory killer) says which; Ctrl-C and SIGTERM are meant.
shell.prefix(
    "set -euo pipefail; trap 'status=$?; log=${{BASH_COMMAND##* > }}; case $status in 130|143) ;; 129|1[3-9]?)"
    ' echo "error: ended by the signal SIG$(kill -l $status)" >> "${{log%% *}}";; esac\' EXIT; '
)

BASELINE = "results/baselines/{baseline}"
SCENARIO = "results/scenarios/{scenario}"
REPORT = "reports/{scenario}"
LOGS = "logs/scenarios/{scenario}"


wildcard_constraints:
    baseline=r"[^/]+",
    scenario=r"[^/]+",
    variant=r"[^/]+",
    seed=r"\d+",
    place=r"[^/]+(/seed-\d+)?",


def told(function):
    """A user's mistake ends Snakemake with its lines alone, without a traceback and before anything is computed."""

    @functools.wraps(function)
    def telling(*arguments):
        try:
            return function(*arguments)
        except BudamaError as error:
            sys.exit("\n".join(f"error: {line}" for line in error.lines))

    return telling


CHOSEN = [chosen.name for chosen in told(stages.chosen_scenarios)(config)]


@functools.cache
@told
def scenario(name):
    known = stages.find_scenarios()
    if name not in known:
        raise BudamaError(f"config/scenarios: no file has the scenario {name}; known are {', '.join(known)}")
    return stages.load_scenario(known[name])


@functools.cache
@told
def baseline(name):
    return stages.load_baseline(f"config/baselines/{name}.yaml")


def baseline_of(wildcards):
    """The baseline that a file belongs to, its own or its scenario's; none where results were recorded."""
    name = wildcards.get("baseline") or scenario(wildcards.scenario).baseline
    return baseline(name) if name else None


def spec(stage):
    """All that makes a stage's result stale when it changes; the stage takes its settings from it."""

    @told
    def spec_of(wildcards):
        owner = baseline_of(wildcards)
        whole = scenario(wildcards.scenario) if wildcards.get("scenario") else None
        values = stages.stage_settings(stage, whole, owner, *variant_and_seed(wildcards))
        return provenance.spec(stage, values, user_files.facts(stage, values, (owner or whole).path))

    return spec_of


@told
def users_files(wildcards):
    """No input: planning stops here, with a line, where the images or weights that a baseline names are missing."""
    owner = baseline_of(wildcards)
    for stage in ("dataset", "baseline"):
        user_files.facts(stage, stages.stage_settings(stage, baseline=owner), owner.path)
    return []


def variant_and_seed(wildcards):
    """What `VARIANT/seed-N` in a path says; None for what is not there."""
    variant, _, seed = wildcards.get("place", "").partition("seed-")
    variant = variant.rstrip("/")
    variant, seed = wildcards.get("variant", variant), wildcards.get("seed", seed)
    return variant or None, int(seed) if seed else None


def of_baseline(file):
    """A file of the baseline that a scenario prunes."""
    return lambda wildcards: f"results/baselines/{scenario(wildcards.scenario).baseline}/{file}"


def measured_widths(wildcards):
    """The measurement that `round_to: auto` chooses by; nothing for other scenarios."""
    chosen = scenario(wildcards.scenario)
    return [f"results/scenarios/{chosen.name}/widths.json"] if chosen.pruning["round_to"] == "auto" else []


def of_pruned(file):
    """A file of the pruned model that a variant and seed start from."""
    return lambda wildcards: pruned(wildcards.scenario, file)[f"{wildcards.variant}/seed-{wildcards.seed}"]


def pruned(name, file):
    """Files of a scenario's pruned models by VARIANT/seed-N; seeds share one where the method does not depend on it."""
    return {
        f"{variant.name}/seed-{seed}": f"results/scenarios/{name}/{stages.place(variant, seed)}/{file}"
        for variant, seed in runs(name)
    }


def fine_tuned(name, file=""):
    """Folders of a scenario's fine-tuning runs, or files in them, by VARIANT/seed-N in the scenario's own order."""
    labels = [f"{variant.name}/seed-{seed}" for variant, seed in runs(name)]
    return {label: f"results/scenarios/{name}/{label}/{file}".rstrip("/") for label in labels}


def exported(name):
    """Folders of a scenario's exports by VARIANT/seed-N; nothing where none are asked for."""
    return fine_tuned(name, "export") if scenario(name).export["formats"] else {}


def runs(name):
    """A scenario's variants, each with every seed."""
    return [(variant, seed) for variant in stages.variants(scenario(name)) for seed in scenario(name).seeds]


def labelled(files):
    """LABEL=PATH arguments."""
    return [f"{label}={path}" for label, path in files.items()]


def measured(wildcards):
    """All that was measured of a scenario; nothing where its results were recorded elsewhere."""
    if scenario(wildcards.scenario).recorded is not None:
        return {}
    return {
        "dataset": of_baseline("dataset.json")(wildcards),
        "baseline": [of_baseline(file)(wildcards) for file in ("metrics.json", "history.csv")],
        "benchmark": f"results/scenarios/{wildcards.scenario}/benchmark.json",
        "pruning": sorted(set(pruned(wildcards.scenario, "pruning.json").values())),
        "finetuned": [
            *fine_tuned(wildcards.scenario, "metrics.json").values(),
            *fine_tuned(wildcards.scenario, "history.csv").values(),
        ],
        "exported": list(exported(wildcards.scenario).values()),
    }


def measured_arguments(wildcards):
    files = measured(wildcards)
    if not files:
        return []
    return [
        *("--dataset", files["dataset"]),
        *("--baseline-metrics", files["baseline"][0]),
        *("--baseline-history", files["baseline"][1]),
        *("--benchmark", files["benchmark"]),
        *("--pruning", *labelled(pruned(wildcards.scenario, "pruning.json"))),
        *("--finetuned", *labelled(fine_tuned(wildcards.scenario))),
        *("--exported", *labelled(exported(wildcards.scenario))),
    ]


def compared(wildcards):
    """Results of the scenarios that a report compares with, in two lists: those that this run brings up to date (they
    were asked for, or were recorded and cost nothing), and others as they are on the disk. Asking for one scenario never
    computes another; one without results is left out."""
    targets = " ".join([*workflow.dag_settings.targets, *workflow.dag_settings.target_jobs])
    named = re.findall(r"(?:results/scenarios|reports)/([^/\s]+)/|scenario=([^,\s]+)", targets)
    asked_for = {one or other for one, other in named} or set(CHOSEN)
    fresh, as_they_are = [], []
    for name in scenario(wildcards.scenario).report["compare_with"]:
        results = f"results/scenarios/{name}/results.json"
        if name in asked_for or scenario(name).recorded is not None:
            fresh.append(results)
        elif Path(results).exists():
            as_they_are.append(results)
    return fresh, as_they_are


def compared_in_this_run(wildcards):
    return compared(wildcards)[0]


def compared_as_they_are(wildcards):
    return compared(wildcards)[1]


@told
def report_spec(wildcards):
    """As for other stages, and the content of what is compared with but not an input."""
    values = stages.stage_settings("report", scenario(wildcards.scenario))
    return provenance.spec("report", values, {path: user_files.content(Path(path)) for path in compared(wildcards)[1]})


def products_of_chosen(wildcards):
    """All that the scenarios in config/config.yaml are for: reports, tables, fine-tuned models, and exports of these.

    What is between (pruned models, calibration, benchmark.json) may be removed once they are there.
    """
    products = ["reports/index.html"]
    for name in CHOSEN:
        products += [f"reports/{name}/ozet_rapor.{form}" for form in ("md", "html", "pdf")] + [
            f"reports/{name}/figures"
        ]
        products += [f"results/scenarios/{name}/results.{form}" for form in ("csv", "parquet", "json")]
        products += fine_tuned(name, "model").values()
        products += exported(name).values()
    return products


def all_cores(wildcards):
    """Every core of --cores; where a cluster runs the jobs there is none, and the profile says how many each takes."""
    return workflow.global_resources["_cores"].value or 1


def a_share_of_the_cores(wildcards):
    """So many that a scenario's fine-tuning runs fit side by side; all of them where they take turns on a GPU."""
    at_once = 1 if shutil.which("nvidia-smi") else len(runs(wildcards.scenario))
    return max(1, all_cores(wildcards) // at_once)


def launcher(wildcards, resources):
    """`python`, or torchrun where a profile gives a job several GPUs of one node."""
    gpus = resources.get("gpu", 0)
    return f"torchrun --standalone --nproc-per-node {gpus}" if gpus > 1 else "python"


SAY_WHY = ("error: ", "Fatal Python error: ")


def explain_failures():
    """Of each failed job: its errors, the last lines of its log, and the command that runs this one stage by hand."""
    for job in workflow.scheduler.failed:
        print(f"\n{job.rule.name} failed. The end of {job.log[0]}:", file=sys.stderr)
        log = Path(job.log[0])  # none on a full disk
        lines = log.read_text(errors="replace").splitlines() if log.exists() else ["(there is no log)"]
        errors = [line for line in lines[:-25] if line.startswith(SAY_WHY)]  # much may come after them
        print("\n".join(f"    {line}" for line in [*errors, *lines[-25:]]), file=sys.stderr)
        print(f"To run it alone:\n    {by_hand(job)}", file=sys.stderr)


def by_hand(job):
    """A job's command with the names of its configuration in place of the spec, and without the log."""
    command, _, _ = job.shellcmd.partition(" > ")
    variant, seed = variant_and_seed(job.wildcards) if job.rule.name in stages.VARIANT_STAGES else (None, None)
    owner = scenario(job.wildcards.scenario) if job.wildcards.get("scenario") else baseline_of(job.wildcards)
    names = ["--scenario" if owner.path.parent.name == "scenarios" else "--baseline", owner.path.as_posix()]
    names += ["--variant", variant] if variant else []
    names += ["--seed", str(seed)] if seed is not None else []
    return command.replace(f"--spec {shlex.quote(job.params.spec)}", shlex.join(names))
