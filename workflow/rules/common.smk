# What the rules share, and only Snakemake knows: what a path names, what was asked for, and how many cores there are.
import os
import shutil
import sys
from pathlib import Path


include: "location.smk"


# Jobs call `python`: the one that runs Snakemake, or the one of the conda environment, which comes before it.
os.environ.update(PATH=os.pathsep.join([Path(sys.executable).parent.as_posix(), os.getenv("PATH", "")]))

from budama.jobs import comparing, failures, interruption, messages, runs, terminal
from budama.jobs.failures import told
from budama.settings import published, stages

shell.prefix(failures.SAY_WHICH_SIGNAL)
if workflow.is_main_process:
    interruption.watch()

BASELINE = "results/baselines/{baseline}"
SCENARIO = "results/scenarios/{scenario}"
REPORT = "reports/{scenario}"
LOGS = "logs/scenarios/{scenario}"
CHOSEN = [chosen.name for chosen in told(stages.chosen_scenarios)(config)]


wildcard_constraints:
    baseline=r"[^/]+",
    scenario=r"[^/]+",
    variant=r"[^/]+",
    seed=r"\d+",
    place=r"[^/]+(/seed-\d+)?(/turn-\d+)?",
    run=r"(/turn-\d+)?(/rate-[^/]+)?",


def of_scenario(function, *arguments):
    """A function of wildcards: what `function` says of the scenario that a path names."""
    return told(lambda wildcards: function(wildcards.scenario, *arguments))


def spec(stage):
    """All that makes a stage's result stale when it changes; the stage takes its settings from it."""
    return told(lambda wildcards: runs.spec(stage, **runs.named(wildcards)))


def of_baseline(file):
    """A file of the baseline that a scenario prunes."""
    return of_scenario(runs.of_baseline, file)


def of_run(function, *more):
    """What `function` says of the scenario, variant and seed that a path names, and of `more` parts of its name."""

    def asked(wildcards):
        found = runs.named(wildcards)
        return function(*(found[key] for key in ("scenario", "variant", "seed", *more)))

    return told(asked)


def of_pruned(file):
    """A file of the pruned model that a variant and seed start from."""
    return of_run(lambda *run: runs.of_pruned(*run[:3], file, run[3]), "turn")


tried_files = of_run(runs.tried_files, "rate", "turn")
tried_arguments = of_run(runs.tried_arguments, "rate", "turn")
trained_before = of_run(runs.trained_before, "turn")
trained_arguments = of_run(runs.trained_arguments, "turn")
measured_widths = of_scenario(runs.measured_widths)
checked_layers = of_scenario(runs.checked_layers)
layer_times = of_scenario(runs.layer_times)
layer_times_arguments = of_scenario(runs.layer_times_arguments)
width_arguments = of_scenario(runs.width_arguments)
models = of_scenario(runs.models)
model_arguments = of_scenario(runs.model_arguments)
exported_files = of_scenario(runs.exported_files)
exported_arguments = of_scenario(runs.exported_arguments)
measured = of_scenario(runs.measured)
measured_arguments = of_scenario(runs.measured_arguments)


@told
def users_files(wildcards):
    """No input: planning stops here, with a line, where the images or weights that a baseline names are missing."""
    return runs.check_users_files(wildcards.baseline)


@told
def compared(wildcards):
    """Results that a report compares with: those that this run brings up to date, and others as they are."""
    targets = [*workflow.dag_settings.targets, *workflow.dag_settings.target_jobs]
    return comparing.compared(wildcards.scenario, comparing.asked_for(targets, CHOSEN))


@told
def published_tables(wildcards):
    """Tables of others, which the leaderboard shows beside what ran."""
    return [path.as_posix() for path in published.find()]


@told
def index_arguments(wildcards):
    """The language and decimal sign of the page over all scenarios."""
    return runs.index_arguments(CHOSEN)


def compared_in_this_run(wildcards):
    return compared(wildcards)[0]


def compared_as_they_are(wildcards):
    return compared(wildcards)[1]


@told
def report_spec(wildcards):
    return runs.report_spec(wildcards.scenario, compared_as_they_are(wildcards))


def all_cores(wildcards):
    """Every core of --cores; where a cluster runs the jobs there is none, and the profile says how many each takes."""
    return workflow.global_resources["_cores"].value or 1


@told
def a_share_of_the_cores(wildcards):
    """So many that a scenario's fine-tuning runs fit side by side; all of them where they take turns on a GPU."""
    at_once = 1 if shutil.which("nvidia-smi") else runs.at_once(wildcards.scenario)
    return max(1, all_cores(wildcards) // at_once)


@told
def cores_to_prune(wildcards):
    """A share of the cores; all of them where pruned models are timed, as in the benchmark."""
    return all_cores(wildcards) if runs.layer_times(wildcards.scenario) else a_share_of_the_cores(wildcards)


# Snakemake compares no params that resources reach, so these may change and rerun nothing.
def scripts(wildcards, resources):
    """The folder of the stage scripts, wherever the workflow lies."""
    return SCRIPTS.as_posix()


def launcher(wildcards, resources):
    """`python`, or torchrun where a profile gives a job several GPUs of one node."""
    gpus = resources.get("gpu", 0)
    return f"torchrun --standalone --nproc-per-node {gpus}" if gpus > 1 else "python"


@told
def asked_ratios(wildcards, resources):
    """The shares of time that are asked for: the times of layers do not depend on them."""
    return runs.ratios(wildcards.scenario)


def show_previews():
    """On the screen, what the previews of this run say."""
    for job in workflow.dag.jobs:
        if job.rule.name.endswith("preview"):
            print("", *failures.end_of_log(job.log[0]), sep="\n", file=sys.stderr)


def explain_failures():
    """Of each failed job: its errors, the end of its log, and the command that runs this one stage by hand.

    After Ctrl-C nothing: it ended the jobs.
    """
    for job in [] if interruption.pressed() else workflow.scheduler.failed:
        command = failures.by_hand(job.shellcmd, job.params.spec, **runs.named(job.wildcards))
        print(failures.explain(job.rule.name, job.log[0], command), file=sys.stderr)
