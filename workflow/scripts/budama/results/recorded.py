"""results.json of a scenario that was measured elsewhere: every number is the record's, or follows from it."""

from __future__ import annotations

from typing import Any, cast

from budama.methods import METHODS
from budama.reporting.contract import Content, Dataset, Finetune, Pruning
from budama.reporting.row import Baseline, Row
from budama.reporting.shipped import Deployment
from budama.results.rows import change_percent, empty_row
from budama.significance import differences
from budama.significance.differences import Candidate


def aggregate(settings: dict[str, Any]) -> Content:
    """The content of results.json. `settings["recorded"]` is as the schema `recorded` has it; what it lacks is null.

    Without hits of single images, accuracies are compared as two proportions of `validation_samples`.
    """
    record = settings["recorded"]
    baseline = cast(Baseline, _row("baseline", None, None, record["baseline"], None))
    every = [
        cast(Row, _row(one["name"], one["method"], one["ratio"], record["methods"][one["method"]], baseline))
        for one in settings["variants"]
    ]
    rows = [row for row in every if not METHODS[row["method"]].unpruned]
    unpruned = next((row for row in every if row not in rows), None)
    images, size = record["validation_samples"], record["image_size"]
    candidates, control = (
        [Candidate(row["variant"], row["ratio"], row["accuracy_percent"], images or 0) for row in own]
        for own in (rows, [unpruned] if unpruned else [])
    )
    original = Candidate("baseline", None, baseline["accuracy_percent"], images or 0)
    comparisons = differences.compare(candidates) if images else []
    timed = baseline["latency_ms"] is not None or any(row["latency_ms"] is not None for row in rows)
    pruning = {**dict.fromkeys(Pruning.__annotations__), **record["pruning"], "methods": list(record["methods"])}
    finetune = {**dict.fromkeys(Finetune.__annotations__), "epochs": record["finetune_epochs"]}
    return {
        "scenario": settings["scenario"],
        "title": settings["title"],
        "recorded": {"source": record["source"], "scenario": record["scenario"]},
        "model": {
            "title": record["model"],
            "source": None,
            "name": record["model"],
            "input_shape": [3, size, size] if size else None,
            "classes": None,
        },
        "dataset": _dataset(record),
        "pruning": cast(Pruning, pruning),
        "widths": None,
        "finetune": cast(Finetune, finetune),
        "calibration": {"batches": record["calibration_batches"], "images": record["calibration_samples"]},
        "sensitivity": [],
        "seeds": [],
        "baseline": baseline,
        "variants": [*rows],
        "unpruned": unpruned,
        "against_unpruned": differences.to_control(candidates, control[0]) if images and control else [],
        "ranking": differences.rank(candidates, comparisons),
        "comparisons": comparisons,
        "against_original": differences.to_original(candidates, original) if images else [],
        "against_random": [],
        "controls": {"aa": None},
        "warnings": [{"code": "timings_not_comparable"}] if timed and not record["timings_comparable"] else [],
        "environment": {},
        "date": None,
        "configuration": {"scenario": settings["scenario"], "title": settings["title"], "recorded": record},
    }


def _dataset(record: dict[str, Any]) -> Dataset:
    return {
        "name": record["dataset"],
        "title": record["dataset"],
        "protocol": None,
        "counts": {
            "train": record["training_samples"],
            "calibration": record["calibration_samples"],
            "selection": None,
            "test": record["validation_samples"],
        },
        "unreadable": None,
        "duplicates_dropped": None,
        "class_names": None,
        "class_images": None,
        "test_split": None,
    }


def _row(
    variant: str, method: str | None, ratio: float | None, record: dict[str, Any], baseline: Baseline | None
) -> dict[str, Any]:
    accuracy, before = record["accuracy_percent"], baseline["accuracy_percent"] if baseline else None
    return {
        **empty_row(variant, method, ratio),
        "accuracy_percent": accuracy,
        "accuracy_change_points": None if before is None else accuracy - before,
        "retention_percent": 100 * accuracy / before if before else None,
        "parameters": record["parameters"],
        "parameters_change_percent": change_percent(record["parameters"], baseline["parameters"] if baseline else None),
        "size_mib": record["size_mib"],
        "size_change_percent": change_percent(record["size_mib"], baseline["size_mib"] if baseline else None),
        "gmacs": record["gmacs"],
        "gmacs_change_percent": change_percent(record["gmacs"], baseline["gmacs"] if baseline else None),
        "latency_ms": record["latency_ms"],
        "deployments": _forms(record, before),
    }


def _forms(record: dict[str, Any], before: float | None) -> list[Deployment] | None:
    """The model in float32 and in the other number formats; `before` is the original's accuracy."""
    if not record.get("precisions"):
        return None
    found = []
    for precision, one in {"float32": record, **record["precisions"]}.items():
        accuracy = one["accuracy_percent"]
        told = {
            "runtime": "pytorch",
            "precision": precision,
            "status": "ok",
            "accuracy_percent": accuracy,
            "change_points": accuracy - (record["accuracy_percent"] if before is None else before),
            "seeds": 1,
            **{key: one.get(key) for key in ("size_mib", "latency_ms")},
        }
        found.append(cast(Deployment, {**dict.fromkeys(Deployment.__annotations__), **told}))
    return found
