"""The rows of results.json: the baseline, and each variant with its accuracies, cost, speed and course."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from budama.results import beyond, deployments, distinct, rates
from budama.results.labels import label as label_of
from budama.results.measured import Measured
from budama.results.rows import change_percent, empty_row, mean
from budama.significance import intervals

if TYPE_CHECKING:
    import pandas as pd

    from budama.reporting.matched_time import Matched
    from budama.reporting.row import Baseline, Curve, Row, Seed, Unavailable
    from budama.reporting.shipped import Onnx
    from budama.results.contracts import Benchmarked, Pruned

    Stage = Literal["as_pruned_percent", "reestimated_percent", "compensated_percent", "finetuned_percent"]
    Cost = Literal["parameters", "size_mib", "gmacs"]
    LatencyKey = Literal[
        "batch_size", "median_ms", "p95_ms", "ratio", "ratio_interval", "precision", "undisturbed_percent"
    ]

STAGES: tuple[Stage, ...] = (*("as_pruned_percent", "reestimated_percent", "compensated_percent", "finetuned_percent"),)
COSTS: tuple[tuple[Cost, str], ...] = (("parameters", "parameters"), ("size_mib", "size"), ("gmacs", "gmacs"))
LATENCY: tuple[LatencyKey, ...] = (
    *("batch_size", "median_ms", "p95_ms", "ratio", "ratio_interval", "precision", "undisturbed_percent"),
)


def of_baseline(measured: Measured) -> Baseline:
    """The row of the model that was not pruned, as it is."""
    own, metrics, hits = measured.benchmarked("baseline"), measured.baseline_metrics, measured.hits("baseline")
    seed: Seed = {
        "seed": metrics["seed"],
        "accuracy_percent": own["accuracy_percent"],
        "as_pruned_percent": None,
        "reestimated_percent": None,
        "compensated_percent": None,
        "finetuned_percent": metrics["selection_accuracy_percent"],
        "kept_epoch": metrics["best_epoch"],
        "same_seeds": [],
        "hits": own["hits"],
    }
    row = {
        **empty_row("baseline", None, None),
        "accuracy_percent": own["accuracy_percent"],
        "accuracy_interval": intervals.single_percent(hits),
        "accuracy_interval_over": "images",
        "seeds": [seed],
        **_cost(own, None),
        **_speed(own),
        "onnx": _onnx(measured, "baseline"),
        "deployments": deployments.of(measured, ["baseline"]),
        "history": _history({metrics["seed"]: measured.baseline_history}),
        "per_class_accuracy_percent": _per_class(hits, measured),
        **beyond.of_baseline(measured),
    }
    return cast("Baseline", row)


def of_variant(measured: Measured, variant: Mapping, baseline: Baseline) -> Row | Unavailable:
    """The row of a variant, its changes those against the baseline."""
    name = variant["name"]
    empty = empty_row(name, variant["method"], variant["ratio"])
    groups = distinct.seeds(measured, name)
    seeds = list(groups)
    if not seeds:
        reason = measured.benchmark["rows"][label_of(name, measured.seeds[0])]["reason"]
        return cast("Unavailable", {**empty, "status": "unavailable", "reason": reason})
    first = label_of(name, seeds[0])
    own, pruning = measured.benchmarked(first), measured.pruned(first)
    hits = np.mean([measured.hits(label_of(name, seed)) for seed in seeds], axis=0)
    per_seed = [_seed_row(measured, name, seed, same) for seed, same in groups.items()]
    accuracies = [row["accuracy_percent"] for row in per_seed]
    accuracy = float(np.mean(accuracies))
    classes, before = _per_class(hits, measured), baseline["per_class_accuracy_percent"] or []
    row: dict[str, Any] = {
        **empty,
        "accuracy_percent": accuracy,
        "accuracy_change_points": accuracy - baseline["accuracy_percent"],
        "retention_percent": 100 * accuracy / baseline["accuracy_percent"] if baseline["accuracy_percent"] else None,
        "seeds": per_seed,
        "fate": {
            "baseline_percent": baseline["seeds"][0]["finetuned_percent"],
            **{key: mean([row[key] for row in per_seed]) for key in STAGES},
        },
        **_cost(own, baseline),
        "channels_removed_percent": pruning["achieved"]["channels_percent"],
        "ratio_used": pruning["ratio_used"],
        **_speed(own),
        "time": _matched(pruning),
        "onnx": _onnx(measured, first),
        "deployments": deployments.of(measured, [label_of(name, seed) for seed in seeds]),
        "layers": pruning["layers"],
        "learning_rates": rates.of_variant(measured, name),
        "unpruned_layers": pruning.get("unpruned_layers"),
        "history": _history({seed: measured.histories[label_of(name, seed)] for seed in measured.measured_seeds(name)}),
        "per_class_change_points": [
            None if after is None or old is None else after - old for after, old in zip(classes, before)
        ],
        "per_class_accuracy_percent": classes,
        **beyond.of_variant(measured, name, seeds),
    }
    return cast("Row", row)


def _seed_row(measured: Measured, variant: str, seed: int, same: list[int]) -> Seed:
    label = label_of(variant, seed)
    selection = measured.pruned(label)["selection_accuracy_percent"]
    return {
        "seed": seed,
        "accuracy_percent": measured.benchmarked(label)["accuracy_percent"],
        "as_pruned_percent": selection["as_pruned"],
        "reestimated_percent": selection["reestimated"],
        "compensated_percent": selection.get("compensated"),
        "finetuned_percent": measured.trained(label)["selection_accuracy_percent"],
        "kept_epoch": measured.trained(label)["best_epoch"],
        "same_seeds": same,
        "hits": measured.benchmarked(label)["hits"],
    }


def _matched(pruning: Pruned) -> Matched | None:
    """What pruning says of time, without each trial."""
    time = pruning.get("time")
    return cast("Matched", {key: value for key, value in time.items() if key != "trials"}) if time else None


def _onnx(measured: Measured, label: str) -> Onnx | None:
    found = measured.exports.get(label)
    return found["formats"].get("onnx") if found and found["status"] == "ok" else None


def _cost(own: Benchmarked, baseline: Baseline | None) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for key, stem in COSTS:
        found[key] = own[key]
        found[f"{stem}_change_percent"] = change_percent(own[key], baseline[key] if baseline else None)
    return found


def _speed(own: Benchmarked) -> dict[str, Any]:
    """Latency as time over the baseline's, throughput as images over the baseline's: above 1 is faster there.

    Of a variant's first seed; the others have none.
    """
    latency, many = own.get("latency"), own.get("throughput")
    timings = [{k: v for k, v in one.items() if k != "round_ms"} for one in own.get("timings", [])]
    found: dict[str, Any] = {"timings": timings or None}
    if latency and latency["median_ms"] is not None:
        found |= {"latency_ms": latency["median_ms"], "latency": {key: latency[key] for key in LATENCY}}
    if many and many["ratio"] is not None:
        interval = many["ratio_interval"]
        found["throughput"] = {
            "batch_size": many["batch_size"],
            "images_per_second": many["images_per_second"],
            "ratio": 1 / many["ratio"],
            "ratio_interval": [1 / interval[1], 1 / interval[0]] if interval else None,
            "precision": many["precision"],
        }
    return found | {
        "peak_memory_mib": own.get("peak_memory_mib"),
        "energy_mj_per_image": own.get("energy_mj_per_image"),
    }


def _history(histories: Mapping[int, pd.DataFrame]) -> list[Curve] | None:
    """Curves by seed, what is not finite being None; None where nothing was trained."""
    if all(table.empty for table in histories.values()):
        return None
    curves = []
    for seed, table in histories.items():
        shown = table[["epoch", "train_loss", "selection_accuracy_percent"]]
        epochs = shown.astype(object).where(np.isfinite(shown), None).to_dict("records")
        curves.append(cast("Curve", {"seed": seed, "epochs": epochs}))
    return curves


def _per_class(hits: np.ndarray, measured: Measured) -> list[float | None]:
    """Accuracy in percent on each class's test images; None for a class without any."""
    count = measured.dataset["classes"]
    images = np.bincount(measured.labels, minlength=count)
    right = np.bincount(measured.labels, weights=hits, minlength=count)
    return [100 * float(r) / int(n) if n else None for r, n in zip(right, images)]
