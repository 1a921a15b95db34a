"""results.json of a scenario that ran here: rows, intervals, tests and warnings, out of what the stages measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from budama.methods import METHODS
from budama.networks import titles
from budama.results import beyond, distinct, rates, warnings
from budama.results.hits import unpacked
from budama.results.labels import label as label_of
from budama.results.measured import Measured, check
from budama.results.rows import change_percent, empty_row, mean
from budama.significance import differences, intervals
from budama.significance.differences import Candidate

if TYPE_CHECKING:
    import pandas as pd

    from budama.reporting.contract import Calibration, Content, Counts, Dataset, Model
    from budama.reporting.row import Baseline, Curve, Onnx, Row, Seed, Unavailable
    from budama.results.contracts import Benchmarked
    from budama.significance.claims import AgainstOriginal, AgainstRandom

    Stage = Literal["as_pruned_percent", "reestimated_percent", "finetuned_percent"]
    Cost = Literal["parameters", "size_mib", "gmacs"]
    LatencyKey = Literal[
        "batch_size", "median_ms", "p95_ms", "ratio", "ratio_interval", "precision", "undisturbed_percent"
    ]

STAGES: tuple[Stage, ...] = ("as_pruned_percent", "reestimated_percent", "finetuned_percent")
COSTS: tuple[tuple[Cost, str], ...] = (("parameters", "parameters"), ("size_mib", "size"), ("gmacs", "gmacs"))
LATENCY: tuple[LatencyKey, ...] = (
    *("batch_size", "median_ms", "p95_ms", "ratio", "ratio_interval", "precision", "undisturbed_percent"),
)


def aggregate(measured: Measured) -> Content:
    """The content of results.json. Raises BudamaError where the parts do not belong together."""
    check(measured)
    settings, benchmark = measured.settings, measured.benchmark
    baseline = _baseline_row(measured)
    rows = [_variant_row(measured, variant, baseline) for variant in settings["variants"]]
    candidates = [_candidate(measured, row) for row in rows if row["status"] == "ok"]
    comparisons = differences.compare(candidates)
    against_original = differences.to_original(candidates, _original(measured, baseline))
    _add_intervals(rows, candidates, against_original)
    beyond.add_claims(measured, rows)
    environment = {**benchmark["environment"], "threads": benchmark["threads"], **benchmark["clocks"]}
    return {
        "scenario": settings["scenario"],
        "title": settings["title"],
        "recorded": None,
        "model": _model(measured),
        "dataset": _dataset(measured),
        "pruning": settings["pruning"],
        "widths": measured.widths,
        "finetune": settings["finetune"],
        "calibration": cast("Calibration", {**settings["calibration"], "images": measured.calibration_images}),
        "seeds": measured.seeds,
        "baseline": baseline,
        "variants": rows,
        "ranking": differences.rank(candidates, comparisons),
        "comparisons": comparisons,
        "against_original": against_original,
        "against_random": _against_random(measured),
        "controls": benchmark["controls"],
        "warnings": [*measured.dataset["warnings"], *warnings.of(measured, rows, baseline)],
        "environment": environment,
        "date": benchmark["environment"]["date"],
        "configuration": _configuration(measured),
    }


def _baseline_row(measured: Measured) -> Baseline:
    own, metrics, hits = measured.benchmarked("baseline"), measured.baseline_metrics, measured.hits("baseline")
    seed: Seed = {
        "seed": metrics["seed"],
        "accuracy_percent": own["accuracy_percent"],
        "as_pruned_percent": None,
        "reestimated_percent": None,
        "finetuned_percent": metrics["selection_accuracy_percent"],
        "kept_epoch": metrics["best_epoch"],
        "same_seeds": [],
    }
    row = {
        **empty_row("baseline", None, None),
        "accuracy_percent": own["accuracy_percent"],
        "accuracy_interval": intervals.single_percent(hits),
        "accuracy_interval_over": "images",
        "seeds": [seed],
        **_cost(own, None),
        **_speed(own),
        "history": _history({metrics["seed"]: measured.baseline_history}),
        "per_class_accuracy_percent": _per_class(hits, measured),
        **beyond.of_baseline(measured),
    }
    return cast("Baseline", row)


def _variant_row(measured: Measured, variant: Mapping, baseline: Baseline) -> Row | Unavailable:
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
        "onnx": _onnx(measured, first),
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
        "finetuned_percent": measured.trained(label)["selection_accuracy_percent"],
        "kept_epoch": measured.trained(label)["best_epoch"],
        "same_seeds": same,
    }


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
    """Each row's intervals, which depend on the other variants of its ratio."""
    changes = {claim["variant"]: claim["interval"] for claim in against_original}
    for row, one in zip((row for row in rows if row["status"] == "ok"), candidates):
        row["accuracy_interval"] = intervals.accuracy_percent(one, [x for x in candidates if x.ratio == one.ratio])
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
