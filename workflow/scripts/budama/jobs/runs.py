"""What Snakemake asks by name: the settings of a scenario or baseline, and where the files of its stages lie.

Free of torch, and no stage imports it: how a run is planned decides no result.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from budama.errors import BudamaError, did_you_mean
from budama.jobs import provenance, user_files, weights_fit
from budama.settings import stages
from budama.settings.stages import Baseline, Scenario, Variant

BASELINES, SCENARIOS, REPORTS = "results/baselines", "results/scenarios", "reports"


@cache
def find_scenario(name: str) -> Scenario:
    """The scenario of this name in config/scenarios. Raises BudamaError."""
    known = stages.find_scenarios()
    if name not in known:
        raise BudamaError(f"config/scenarios: no file has the scenario {name}; known are {', '.join(known)}")
    return stages.load_scenario(known[name])


@cache
def find_baseline(name: str) -> Baseline:
    """The baseline of this name in config/baselines. Raises BudamaError."""
    return stages.load_baseline(f"config/baselines/{name}.yaml")


def named(wildcards: Mapping[str, str]) -> dict:
    """The scenario, baseline, variant, seed, learning rate and turn that a path names; None for what is not in it.

    `place` is `VARIANT/seed-N`, or `VARIANT` where all seeds share one pruned model, `/turn-T` behind it for a turn
    before the last; `run` is `/turn-T`, `/rate-R`, both, or empty.
    """
    path = wildcards.get("place", "") + wildcards.get("run", "")
    variant = path.partition("/")[0]
    part = dict(name.split("-", 1) for name in path.split("/")[1:])
    seed = wildcards.get("seed", part.get("seed"))
    return {
        "scenario": wildcards.get("scenario"),
        "baseline": wildcards.get("baseline"),
        "variant": wildcards.get("variant", variant) or None,
        "seed": int(seed) if seed else None,
        "rate": float(part["rate"]) if "rate" in part else None,
        "turn": int(part["turn"]) if "turn" in part else None,
    }


# --- what a stage computes from ---


def spec(
    stage: str,
    scenario: str | None = None,
    baseline: str | None = None,
    variant: str | None = None,
    seed: int | None = None,
    rate: float | None = None,
    turn: int | None = None,
) -> str:
    """All that makes a stage's result stale when it changes; the stage takes its settings from it."""
    if stage == "index":
        return provenance.spec(stage, {})
    whole = find_scenario(scenario) if scenario else None
    owner = find_baseline(baseline) if baseline else _baseline_of(whole)
    settings = stages.stage_settings(stage, whole, owner, variant, seed, rate, turn)
    file = next(one.path for one in (owner, whole) if one)
    return provenance.spec(stage, settings, user_files.facts(stage, settings, file))


def report_spec(scenario: str, compared_as_they_are: Iterable[str]) -> str:
    """As for other stages, with the content of what is compared with but is not an input."""
    settings = stages.stage_settings("report", find_scenario(scenario))
    return provenance.spec("report", settings, {path: user_files.content(Path(path)) for path in compared_as_they_are})


def check_users_files(baseline: str) -> list[str]:
    """No files, but BudamaError, with a line, where the images or weights of a baseline cannot serve."""
    owner = find_baseline(baseline)
    for stage in ("dataset", "baseline"):
        user_files.facts(stage, stages.stage_settings(stage, baseline=owner), owner.path)
    weights_fit.check(owner)
    return []


def _baseline_of(scenario: Scenario | None) -> Baseline | None:
    """The baseline that a scenario prunes; none where its results were recorded elsewhere."""
    return find_baseline(scenario.baseline) if scenario and scenario.baseline else None


# --- where files lie ---


def of_baseline(scenario: str, file: str) -> str:
    """A file of the baseline that a scenario prunes."""
    whole = find_scenario(scenario)
    if whole.recorded is not None:
        raise BudamaError(f"{whole.path}: its results were recorded elsewhere; there is nothing to compute")
    return f"{BASELINES}/{whole.baseline}/{file}"


def measured_widths(scenario: str) -> list[str]:
    """The measurement that `round_to: auto` chooses by; nothing for other scenarios."""
    pruning = find_scenario(scenario).pruning
    return [f"{SCENARIOS}/{scenario}/widths.json"] if pruning and pruning["round_to"] == "auto" else []


def layer_times(scenario: str) -> list[str]:
    """The times of layers that `match: latency` goes by; nothing for other scenarios."""
    pruning = find_scenario(scenario).pruning
    return [f"{SCENARIOS}/{scenario}/layer_times.json"] if pruning and pruning["match"] == "latency" else []


def ratios(scenario: str) -> list[str]:
    """The shares that a scenario asks for, as arguments."""
    asked = (find_scenario(scenario).pruning or {})["ratio"]
    return [repr(ratio) for ratio in (asked if isinstance(asked, list) else [asked])]


def checked_layers(scenario: str) -> list[str]:
    """The preview, where a scenario names layers: it tells a name that means nothing before anything is trained."""
    pruning = find_scenario(scenario).pruning
    named = pruning and (pruning["layers"] or pruning["ignore"])
    return [f"{SCENARIOS}/{scenario}/preview.json"] if named else []


def variants_and_seeds(scenario: str) -> list[tuple[Variant, int]]:
    """A scenario's variants, each with every seed."""
    whole = find_scenario(scenario)
    return [(variant, seed) for variant in stages.variants(whole) for seed in whole.seeds]


def at_once(scenario: str) -> int:
    """How many fine-tuning runs of a scenario can go on side by side."""
    return len(variants_and_seeds(scenario)) * max(1, len(stages.rates(find_scenario(scenario))))


def pruned(scenario: str, file: str) -> dict[str, str]:
    """Files of a scenario's pruned models by VARIANT/seed-N; seeds share one where the method does not depend on it."""
    return {
        f"{variant.name}/seed-{seed}": of_pruned(scenario, variant.name, seed, file)
        for variant, seed in variants_and_seeds(scenario)
    }


def of_pruned(scenario: str, variant: str, seed: int | str, file: str, turn: int | None = None) -> str:
    """A file of the pruned model that the fine-tuning of a variant with a seed starts from, in a turn or the last."""
    one, count = _turns(scenario, variant)
    return f"{SCENARIOS}/{scenario}/{stages.place(one, int(seed), turn or count, count)}/{file}"


def trained_before(scenario: str, variant: str, seed: int | None, turn: int | None = None) -> list[str]:
    """The model that a turn prunes, fine-tuned in the turn before; none for the first, which prunes the baseline's."""
    _, count = _turns(scenario, variant)
    before = (turn or count) - 1
    return [f"{SCENARIOS}/{scenario}/{variant}/seed-{seed}/turn-{before}/model"] if before else []


def trained_arguments(*run: Any) -> list[str]:
    """The arguments by which `prune` takes it."""
    return [word for folder in trained_before(*run) for word in ("--trained", folder)]


def _turns(scenario: str, variant: str) -> tuple[Variant, int]:
    """A variant by its name, and how often it is pruned."""
    whole = find_scenario(scenario)
    known = {one.name: one for one in stages.variants(whole)}
    if variant not in known:
        raise BudamaError(f"{whole.path}: has no variant {variant}; {did_you_mean(variant, known)}")
    return known[variant], stages.turns(whole, known[variant])


def fine_tuned(scenario: str, file: str = "") -> dict[str, str]:
    """Folders of a scenario's fine-tuning runs, or files in them, by VARIANT/seed-N in the scenario's own order."""
    labels = [f"{variant.name}/seed-{seed}" for variant, seed in variants_and_seeds(scenario)]
    return {label: f"{SCENARIOS}/{scenario}/{label}/{file}".rstrip("/") for label in labels}


def tried(
    scenario: str, variant: str, seed: int | str, rate: float | None = None, turn: int | None = None
) -> dict[str, str]:
    """Folders of the runs that a fine-tuning chooses among, by learning rate; none where there is one rate, or for a
    run of one of them."""
    folder = f"{SCENARIOS}/{scenario}/{variant}/seed-{seed}" + (f"/turn-{turn}" if turn else "")
    rates = stages.rates(find_scenario(scenario)) if rate is None else []
    return {repr(float(one)): f"{folder}/rate-{float(one)!r}" for one in rates}


def tried_files(*run: Any) -> list[str]:
    """The files of these runs that a choice reads."""
    return [f"{folder}/{file}" for folder in tried(*run).values() for file in ("model", "metrics.json", "history.csv")]


def tried_arguments(*run: Any) -> list[str]:
    """The arguments by which `finetune` takes them."""
    return ["--tried", *found] if (found := labelled(tried(*run))) else []


def models(scenario: str) -> list[str]:
    """The folders of a scenario's fine-tuned models."""
    return list(fine_tuned(scenario, "model").values())


def exported(scenario: str) -> dict[str, str]:
    """Folders of the exports by VARIANT/seed-N, the original's as `baseline`; none where none is asked for."""
    original = {"baseline": f"{SCENARIOS}/{scenario}/original/export"}
    return original | fine_tuned(scenario, "export") if find_scenario(scenario).export["formats"] else {}


def exported_files(scenario: str) -> list[str]:
    """The exports that `benchmark` measures: those with ONNX files."""
    return list(exported(scenario).values()) if "onnx" in find_scenario(scenario).export["formats"] else []


def measured(scenario: str) -> dict[str, list[str]]:
    """All that was measured of a scenario; nothing where its results were recorded elsewhere."""
    if find_scenario(scenario).recorded is not None:
        return {}
    return {
        "dataset": [of_baseline(scenario, "dataset.json")],
        "baseline": [of_baseline(scenario, file) for file in ("metrics.json", "history.csv")],
        "calibration": [of_baseline(scenario, "calibration.json")],
        "benchmark": [f"{SCENARIOS}/{scenario}/benchmark.json"],
        "pruning": sorted(set(pruned(scenario, "pruning.json").values())),
        "finetuned": [path for file in ("metrics.json", "history.csv") for path in fine_tuned(scenario, file).values()],
        "exported": list(exported(scenario).values()),
    }


def products(scenarios: Iterable[str]) -> list[str]:
    """All that scenarios are for: reports, tables, fine-tuned models, and exports of these. What is between (pruned
    models, calibration, benchmark.json) may be removed once they are there."""
    paths = [f"{REPORTS}/index.html"]
    for name in scenarios:
        paths += [f"{REPORTS}/{name}/ozet_rapor.{form}" for form in ("md", "html", "pdf")]
        paths += [f"{REPORTS}/{name}/figures"]
        paths += [f"{SCENARIOS}/{name}/results.{form}" for form in ("csv", "parquet", "json")]
        paths += [*models(name), *exported(name).values()]
    return paths


# --- arguments of stages ---


def labelled(files: Mapping[str, str]) -> list[str]:
    """LABEL=PATH arguments."""
    return [f"{label}={path}" for label, path in files.items()]


def index_arguments(scenarios: Iterable[str]) -> list[str]:
    """The arguments by which the page over all scenarios speaks and writes numbers as their reports do, where these
    agree."""
    reports = [find_scenario(name).report for name in scenarios]
    found = []
    for key in ("language", "decimal"):
        values = {report[key] for report in reports}
        if len(values) == 1 and (value := values.pop()):
            found += [f"--{key}", value]
    return found


def width_arguments(scenario: str) -> list[str]:
    """The arguments by which `prune` takes the measured widths."""
    return [word for file in measured_widths(scenario) for word in ("--widths", file)]


def layer_times_arguments(scenario: str) -> list[str]:
    """The arguments by which `prune` takes the times of layers."""
    return [word for file in layer_times(scenario) for word in ("--layer-times", file)]


def model_arguments(scenario: str) -> list[str]:
    """The arguments by which `benchmark` takes a scenario's models."""
    return labelled(fine_tuned(scenario, "model"))


def exported_arguments(scenario: str) -> list[str]:
    """The arguments by which `benchmark` takes a scenario's exports."""
    return ["--exported", *labelled(exported(scenario))] if exported_files(scenario) else []


def measured_arguments(scenario: str) -> list[str]:
    """The arguments by which `aggregate` takes what was measured."""
    if not (files := measured(scenario)):
        return []
    metrics, history = files["baseline"]
    return [
        *("--dataset", *files["dataset"]),
        *("--baseline-metrics", metrics),
        *("--baseline-history", history),
        *("--calibration", *files["calibration"]),
        *("--benchmark", *files["benchmark"]),
        *("--pruning", *labelled(pruned(scenario, "pruning.json"))),
        *("--finetuned", *labelled(fine_tuned(scenario))),
        *("--exported", *labelled(exported(scenario))),
    ]
