"""results.json of a scenario that ran here: rows, intervals, tests and warnings, out of what the stages measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from budama.methods import METHODS
from budama.networks import titles
from budama.reporting import paired
from budama.results import beyond, deployments, distinct, model_rows, warnings
from budama.results.labels import label as label_of
from budama.results.measured import Measured, check
from budama.significance import differences, intervals
from budama.significance.differences import Candidate
from budama.significance.hits import split_digest, unpacked

if TYPE_CHECKING:
    from budama.reporting.contract import Calibration, Content, Counts, Dataset, Model
    from budama.reporting.row import Baseline, Row, Unavailable
    from budama.significance.claims import AgainstOriginal, AgainstRandom


def aggregate(measured: Measured) -> Content:
    """The content of results.json. Raises BudamaError where the parts do not belong together."""
    check(measured)
    settings, benchmark = measured.settings, measured.benchmark
    baseline = model_rows.of_baseline(measured)
    every = [model_rows.of_variant(measured, variant, baseline) for variant in settings["variants"]]
    rows = [row for row in every if not METHODS[row["method"]].unpruned]
    unpruned = next((row for row in every if row["status"] == "ok" and METHODS[row["method"]].unpruned), None)
    candidates = [_candidate(measured, row) for row in rows if row["status"] == "ok"]
    comparisons = differences.compare(candidates)
    original, control = _original(measured, baseline), [_candidate(measured, unpruned)] if unpruned else []
    against_original = differences.to_original([*candidates, *control], original)
    _add_intervals([*rows, *([unpruned] if unpruned else [])], [*candidates, *control], against_original)
    beyond.add_claims(measured, every)
    labels = [[label_of(row["variant"], seed) for seed in distinct.seeds(measured, row["variant"])] for row in every]
    deployments.settle(measured, [baseline, *every], [["baseline"], *labels])
    environment = {**benchmark["environment"], "threads": benchmark["threads"], **benchmark["clocks"]}
    content: Content = {
        "scenario": settings["scenario"],
        "title": settings["title"],
        "recorded": None,
        "model": _model(measured),
        "dataset": _dataset(measured),
        "pruning": settings["pruning"],
        "widths": measured.widths,
        "finetune": settings["finetune"],
        "calibration": cast("Calibration", {**settings["calibration"], "images": measured.calibration_images}),
        "sensitivity": measured.sensitivity["curves"] if measured.sensitivity else [],
        "seeds": measured.seeds,
        "baseline": baseline,
        "variants": rows,
        "unpruned": unpruned,
        "ranking": differences.rank(candidates, comparisons),
        "comparisons": comparisons,
        "against_original": against_original,
        "against_unpruned": differences.to_control(candidates, control[0]) if control else [],
        "against_random": _against_random(measured),
        "controls": benchmark["controls"],
        "warnings": [*measured.dataset["warnings"], *warnings.of(measured, every, baseline)],
        "environment": environment,
        "date": benchmark["environment"]["date"],
        "configuration": _configuration(measured),
    }
    paired.settle(content)
    return content


def _candidate(measured: Measured, row: Row) -> Candidate:
    hits = {seed: measured.hits(label_of(row["variant"], seed)) for seed in distinct.seeds(measured, row["variant"])}
    return Candidate(row["variant"], row["ratio"], row["accuracy_percent"], len(measured.labels), hits)


def _original(measured: Measured, baseline: Baseline) -> Candidate:
    """The model that was not pruned: one model, whatever the seeds of the variants."""
    hits = {baseline["seeds"][0]["seed"]: measured.hits("baseline")}
    return Candidate("baseline", None, baseline["accuracy_percent"], len(measured.labels), hits)


def _add_intervals(
    rows: list[Row | Unavailable], candidates: list[Candidate], against_original: list[AgainstOriginal]
) -> None:
    """Each row's intervals, which depend on the other variants of its ratio; the unpruned control's on those of the
    least."""
    least = min((one.ratio for one in candidates if one.ratio is not None), default=None)
    changes = {claim["variant"]: claim["interval"] for claim in against_original}
    for row, one in zip((row for row in rows if row["status"] == "ok"), candidates):
        row["accuracy_interval"] = intervals.accuracy_percent(
            one, [x for x in candidates if x is one or x.ratio == (least if one.ratio is None else one.ratio)]
        )
        row["accuracy_interval_over"] = "seeds" if len(one.hits) > 1 else "images"
        row["change_interval"] = changes[one.name]


def _against_random(measured: Measured) -> list[AgainstRandom]:
    """Selection split, BatchNorm re-estimated, not fine-tuned: what the choice of channels alone is worth."""
    variants = measured.settings["variants"]
    rows: list[AgainstRandom] = []
    for ratio in dict.fromkeys(variant["ratio"] for variant in variants):
        own = [variant for variant in variants if variant["ratio"] == ratio]
        random = [v["name"] for v in own if METHODS[v["method"]].reference]
        others = [v["name"] for v in own if not METHODS[v["method"]].control and measured.measured_seeds(v["name"])]
        drawn = {s: _selection_hits(measured, name, s) for name in random for s in measured.measured_seeds(name)}
        if drawn and others:
            hits = {name: _selection_hits(measured, name, measured.measured_seeds(name)[0]) for name in others}
            rows += differences.against_random(hits, drawn)
    return rows


def _selection_hits(measured: Measured, variant: str, seed: int) -> np.ndarray:
    pruning = measured.pruned(label_of(variant, seed))
    return unpacked(pruning["selection_hits"]["reestimated"], pruning["selection_images"])


def _model(measured: Measured) -> Model:
    model, dataset = measured.settings["model"], measured.dataset
    return {
        "title": titles.title(model),
        "source": model["source"],
        "name": model["name"],
        "input_shape": dataset["input_shape"],
        "classes": dataset["classes"],
    }


def _dataset(measured: Measured) -> Dataset:
    dataset = measured.dataset
    return {
        "name": dataset["name"],
        "title": measured.settings["data"].get("title") or dataset["title"],
        "protocol": dataset["protocol"],
        "counts": cast("Counts", {**dataset["counts"], "calibration": measured.calibration_images}),
        "unreadable": len(dataset["unreadable"]),
        "duplicates_dropped": dataset["duplicates"]["dropped"],
        "class_names": dataset["class_names"],
        "class_images": np.bincount(measured.labels, minlength=dataset["classes"]).tolist(),
        "test_split": split_digest(dataset["splits"]["test"]["digests"], measured.labels),
    }


def _configuration(measured: Measured) -> dict[str, Any]:
    settings = measured.settings
    keys = ("model", "data", "calibration")
    baseline = {"title": settings["baseline"], **{key: settings[key] for key in keys}}
    return {
        "scenario": settings["scenario"],
        "title": settings["title"],
        "baseline": {**baseline, "train": {"epochs": measured.baseline_metrics["epochs"]}},
        **{key: settings[key] for key in ("pruning", "finetune", "seeds")},
        "benchmark": measured.benchmark["settings"],
    }
