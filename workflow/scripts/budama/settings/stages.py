"""What a scenario compares, and the settings that each stage reads from scenario and baseline files."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from budama.errors import BudamaError, did_you_mean
from budama.methods import METHODS
from budama.settings import schema
from budama.settings.scenarios import Baseline, Scenario, at, find_scenarios, load_baseline, load_scenario

__all__ = [
    "Baseline",
    "Scenario",
    "Variant",
    "chosen_scenarios",
    "find_scenarios",
    "load_baseline",
    "load_scenario",
    "place",
    "rates",
    "stage_settings",
    "turns",
    "variants",
]

BASELINE_STAGES = ("dataset", "baseline", "calibrate")
VARIANT_STAGES = ("prune", "finetune")
SCENARIO_STAGES = (
    *VARIANT_STAGES,
    "widths",
    "layer_times",
    "benchmark",
    "export",
    "aggregate",
    "report",
    "preview",
    "preview_page",
)
RECORDED_STAGES = ("aggregate", "report")


@dataclass(frozen=True)
class Variant:
    """A method at a ratio. `name` is `wanda`, or `wanda-0.3` where the scenario lists its ratios. What is not pruned
    has no ratio."""

    name: str
    method: str
    ratio: float | None


def chosen_scenarios(config: Mapping, config_dir: str | Path = "config") -> list[Scenario]:
    """The scenarios that the content of config/config.yaml asks for, they and their baselines checked.

    Raises BudamaError with a line for every mistake in any of the files.
    """
    path = Path(config_dir) / "config.yaml"
    mistakes = schema.mistakes(dict(config), "config")
    if mistakes:
        raise BudamaError(*(at(path, mistake.line) for mistake in mistakes))
    names = schema.complete(dict(config), schema.load("config"))["scenarios"]
    known = find_scenarios(config_dir)
    scenarios, lines = [], {}
    for name in [names] if isinstance(names, str) else names:
        try:
            if name not in known:
                raise BudamaError(at(path, f"scenarios has {name}, which no file has; {did_you_mean(name, known)}"))
            scenario = load_scenario(known[name])
            scenarios.append(scenario)
            if scenario.baseline_path:
                load_baseline(scenario.baseline_path)
        except BudamaError as error:
            lines.update(dict.fromkeys(error.lines))
    if lines:
        raise BudamaError(*lines)
    return scenarios


def variants(scenario: Scenario) -> list[Variant]:
    """What a scenario compares: every method, at every ratio; the unpruned model once."""
    if scenario.recorded is not None:
        ratio = scenario.recorded["pruning"]["ratio"]
        return [Variant(name, name, None if METHODS[name].unpruned else ratio) for name in scenario.recorded["methods"]]
    assert scenario.pruning is not None, "a scenario that runs has it"
    every, ratio = scenario.pruning["methods"], scenario.pruning["ratio"]
    methods = [method for method in every if not METHODS[method].unpruned]
    whole = [Variant(method, method, None) for method in every if METHODS[method].unpruned]
    if isinstance(ratio, list):
        return [Variant(f"{method}-{one}", method, one) for one in ratio for method in methods] + whole
    return [Variant(method, method, ratio) for method in methods] + whole


def place(variant: Variant, seed: int, turn: int = 1, turns: int = 1) -> str:
    """Folder of a pruned variant below its scenario's: `wanda`, or `random/seed-0` where the seed decides it, as
    it does from the second of several turns on; `…/turn-2` for all turns but the last."""
    seeded = METHODS[variant.method].seeded or turn > 1
    return (f"{variant.name}/seed-{seed}" if seeded else variant.name) + (f"/turn-{turn}" if turn < turns else "")


def stage_settings(
    stage: str,
    scenario: Scenario | None = None,
    baseline: Baseline | None = None,
    variant: Variant | str | None = None,
    seed: int | None = None,
    rate: float | None = None,
    turn: int | None = None,
) -> dict:
    """The settings that a stage reads, and no others: a plain dict, which is its own copy.

    `baseline` is the scenario's where it is not given, `seed` the scenario's first. `rate` is one of
    `finetune.learning_rate` where that is a list; without it, finetune chooses among them. `turn` is
    one of `pruning.cycles`, from 1, the last where it is not given. Raises BudamaError.
    """
    if stage not in (*BASELINE_STAGES, *SCENARIO_STAGES):
        raise BudamaError(f"{stage} is not a stage; known are {', '.join((*BASELINE_STAGES, *SCENARIO_STAGES))}")
    if scenario and scenario.recorded is not None and stage not in RECORDED_STAGES:
        raise BudamaError(at(scenario.path, f"its results were recorded elsewhere; there is no {stage} to run"))
    if baseline is not None and stage in BASELINE_STAGES:
        settings = _baseline_settings(stage, baseline)
    elif scenario is None:
        raise BudamaError(f"{stage} needs a scenario" + (" or a baseline" if stage in BASELINE_STAGES else ""))
    elif stage in BASELINE_STAGES:
        settings = _baseline_settings(stage, _baseline_of(scenario))
    elif stage in VARIANT_STAGES:
        one = _variant(scenario, variant)
        settings = _variant_settings(stage, scenario, baseline, one, seed)
        settings |= _turn_settings(scenario, one, settings, turn)
        if rate is not None:
            settings["finetune"] = {**settings["finetune"], "learning_rate": _listed(scenario, rate)}
            settings["tried"] = True
    else:
        settings = _scenario_settings(stage, scenario, baseline)
    return copy.deepcopy(settings)


def _baseline_of(scenario: Scenario) -> Baseline:
    if scenario.baseline_path is None:
        raise BudamaError(at(scenario.path, "its results were recorded elsewhere; it has no baseline to load"))
    return load_baseline(scenario.baseline_path)


def _baseline_settings(stage: str, baseline: Baseline) -> dict:
    if stage == "dataset":
        return {"data": _images_of(baseline), "seed": baseline.seed}
    if stage == "baseline":
        augment = baseline.data["augment"]
        return {"model": baseline.model, "train": baseline.train, "seed": baseline.seed, "augment": augment}
    return {"calibration": baseline.calibration, "seed": baseline.seed}


def _images_of(baseline: Baseline) -> dict:
    """What decides which images there are: not what reports call them."""
    return {key: value for key, value in baseline.data.items() if key != "title"}


def _variant_settings(
    stage: str, scenario: Scenario, baseline: Baseline | None, variant: Variant, seed: int | None
) -> dict:
    seed = scenario.seeds[0] if seed is None else seed
    if seed < 0:
        raise BudamaError(f"the seed is {seed}; it must be 0 or more")
    if stage == "finetune":
        return {"finetune": scenario.finetune, "seed": seed, "method": variant.method}
    asked = scenario.pruning or {}
    keys = ("scope", "steps", "match", "round_to", "ignore", "max_ratio", "reestimate_batchnorm")
    return {
        "method": variant.method,
        "ratio": variant.ratio,
        **{key: asked[key] for key in keys},
        **({"compensate": asked["compensate"]} if asked.get("compensate", "off") != "off" else {}),
        **({"layers": asked["layers"]} if asked.get("layers") else {}),
        "calibration": (baseline or _baseline_of(scenario)).calibration,
        "seed": seed if METHODS[variant.method].seeded else 0,
    }


def turns(scenario: Scenario, variant: Variant) -> int:
    """How often a variant is pruned and trained; once where pruning only gives the structure that is trained anew, or
    nothing is pruned."""
    method = METHODS[variant.method]
    return 1 if method.new_weights or method.unpruned else (scenario.pruning or {}).get("cycles", 1)


def _turn_settings(scenario: Scenario, variant: Variant, settings: dict, turn: int | None) -> dict:
    """What is said of a turn where there are several: which of how many, and its share of the epochs."""
    count = turns(scenario, variant)
    turn = count if turn is None else turn
    if not 1 <= turn <= count:
        raise BudamaError(at(scenario.path, f"{variant.name} has no turn {turn}; pruning.cycles gives it {count}"))
    if count == 1:
        return {}
    told: dict = {"turn": turn, "turns": count}
    if "finetune" in settings:
        epochs = settings["finetune"]["epochs"]
        each = epochs // count
        own = each if turn < count else epochs - each * (count - 1)
        told["finetune"] = {**settings["finetune"], "epochs": own}
    return told


def rates(scenario: Scenario) -> list[float]:
    """The learning rates that a scenario chooses among, in ascending order; none where it has one."""
    rate = (scenario.finetune or {}).get("learning_rate")
    return rate if isinstance(rate, list) else []


def _listed(scenario: Scenario, rate: float) -> float:
    """The entry of finetune.learning_rate that equals `rate`."""
    for one in rates(scenario):
        if one == rate:
            return one
    known = ", ".join(map(str, rates(scenario))) or "no list"
    raise BudamaError(at(scenario.path, f"finetune.learning_rate has no {rate}; known are {known}"))


def _scenario_settings(stage: str, scenario: Scenario, baseline: Baseline | None) -> dict:
    if stage == "benchmark":
        pairs = [[variant.name, seed] for variant in variants(scenario) for seed in scenario.seeds]
        return {"benchmark": scenario.benchmark, "variants": pairs}
    if stage == "widths":
        asked = scenario.benchmark
        layer = {"batch": asked["batch_size"], "precision": asked["precisions"][0]}
        return {"layer": {**layer, "channels_last": asked["channels_last"]}}
    if stage == "layer_times":
        of = baseline or _baseline_of(scenario)
        return {"model": of.model, "data": _images_of(of), **_layer_times(scenario)}
    if stage == "export":
        return {"export": scenario.export, **_int8_settings(scenario, baseline)}
    if stage == "report":
        return {"report": scenario.report, "scenario": scenario.name}
    if stage == "preview_page":
        return {"report": scenario.report, "title": scenario.title or scenario.name}
    if stage == "preview":
        of = baseline or _baseline_of(scenario)
        return {"model": of.model, "data": _images_of(of), "pruning": scenario.pruning}
    if scenario.recorded is None and baseline is None:
        baseline = _baseline_of(scenario)
    return {
        "scenario": scenario.name,
        "title": scenario.title,
        "baseline": baseline and (baseline.title or baseline.name),
        "model": baseline and baseline.model,
        "data": baseline and baseline.data,
        "pruning": scenario.pruning,
        "finetune": scenario.finetune,
        "calibration": baseline and baseline.calibration,
        "seeds": list(scenario.seeds),
        "variants": [{"name": one.name, "method": one.method, "ratio": one.ratio} for one in variants(scenario)],
        "recorded": scenario.recorded,
    }


def _int8_settings(scenario: Scenario, baseline: Baseline | None) -> dict:
    """How many images int8 may be calibrated on, where it is asked for: those of the baseline's own calibration."""
    if "int8" not in scenario.export["precisions"]:
        return {}
    asked = (baseline or _baseline_of(scenario)).calibration
    return {"calibration_images": asked["batches"] * asked["batch_size"]}


def _layer_times(scenario: Scenario) -> dict:
    """What decides the times of layers: which widths pruning may leave, and how they are timed."""
    pruning, asked = scenario.pruning or {}, scenario.benchmark
    timing = {key: asked[key] for key in ("batch_size", "channels_last", "rounds")}
    return {
        "pruning": {key: pruning[key] for key in ("max_ratio", "round_to", "ignore", "layers")},
        "timing": {**timing, "precision": asked["precisions"][0]},
    }


def _variant(scenario: Scenario, variant: Variant | str | None) -> Variant:
    if isinstance(variant, Variant):
        return variant
    known = {one.name: one for one in variants(scenario)}
    if variant is None:
        raise BudamaError(at(scenario.path, f"which variant? {did_you_mean('', known)}"))
    if variant not in known:
        raise BudamaError(at(scenario.path, f"has no variant {schema.show(variant)}; {did_you_mean(variant, known)}"))
    return known[variant]
