"""results.json of a scenario that ran here: rows, intervals, tests and warnings, out of what the stages measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from budama.errors import BudamaError
from budama.methods import METHODS
from budama.networks import titles
from budama.results import significance
from budama.results.labels import label as label_of
from budama.results.measured import Measured, check, unpacked
from budama.results.rows import change_percent, empty_row

BUSY_PERCENT = 50  # fewer undisturbed calls than this are worth a warning


def aggregate(measured: Measured) -> dict:
    """The content of results.json. Raises BudamaError where the parts do not belong together."""
    check(measured)
    settings, benchmark = measured.settings, measured.benchmark
    baseline = _baseline_row(measured)
    rows = [_variant_row(measured, variant, baseline) for variant in settings["variants"]]
    candidates = [_candidate(measured, row) for row in rows if row["status"] == "ok"]
    comparisons = significance.compare(candidates)
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
        "calibration": {**settings["calibration"], "images": measured.calibration_images},
        "seeds": measured.seeds,
        "baseline": baseline,
        "variants": rows,
        "ranking": significance.rank(candidates, comparisons),
        "comparisons": [asdict(comparison) for comparison in comparisons],
        "against_random": _against_random(measured),
        "controls": benchmark["controls"],
        "warnings": [*measured.dataset.get("warnings", []), *_warnings(measured, rows)],
        "environment": environment,
        "date": benchmark["environment"].get("date"),
        "configuration": _configuration(measured),
    }


def _baseline_row(measured: Measured) -> dict:
    own, metrics, hits = measured.benchmark["rows"]["baseline"], measured.baseline_metrics, measured.hits("baseline")
    if own["status"] != "ok":
        raise BudamaError(f"the baseline could not be measured: {own['reason']}")
    seed = {
        "seed": metrics["seed"],
        "accuracy_percent": own["accuracy_percent"],
        "as_pruned_percent": None,
        "reestimated_percent": None,
        "finetuned_percent": metrics.get("selection_accuracy_percent"),
    }
    return {
        **empty_row("baseline", None, None),
        "accuracy_percent": own["accuracy_percent"],
        "accuracy_bootstrap": list(significance.bootstrap_percent(hits)),
        "seeds": [seed],
        **_cost(own, None),
        **_speed(own),
        "history": _history([(metrics["seed"], measured.baseline_history)]),
        "per_class_accuracy_percent": _per_class(hits, measured),
    }


def _variant_row(measured: Measured, variant: Mapping, baseline: dict) -> dict:
    name = variant["name"]
    empty = empty_row(name, variant["method"], variant["ratio"])
    seeds = measured.measured_seeds(name)
    if not seeds:
        reason = measured.benchmark["rows"][label_of(name, measured.seeds[0])]["reason"]
        return {**empty, "status": "unavailable", "reason": reason}
    first = label_of(name, seeds[0])
    own, pruning = measured.benchmark["rows"][first], measured.pruning[first]
    hits = np.mean([measured.hits(label_of(name, seed)) for seed in seeds], axis=0)
    difference = hits - measured.hits("baseline")
    per_seed = [_seed_row(measured, name, seed) for seed in seeds]
    accuracies = [row["accuracy_percent"] for row in per_seed]
    accuracy, interval = float(np.mean(accuracies)), significance.mean_interval(accuracies)
    classes, before = _per_class(hits, measured), baseline["per_class_accuracy_percent"]
    return {
        **empty,
        "accuracy_percent": accuracy,
        "accuracy_interval": list(interval) if interval else None,
        "accuracy_bootstrap": list(significance.bootstrap_percent(hits)),
        "accuracy_change_points": accuracy - baseline["accuracy_percent"],
        "change_interval": list(significance.bootstrap_percent(difference)),
        "retention_percent": 100 * accuracy / baseline["accuracy_percent"] if baseline["accuracy_percent"] else None,
        "seeds": per_seed,
        "fate": {
            "baseline_percent": baseline["seeds"][0]["finetuned_percent"],
            **{key: _mean([row[key] for row in per_seed]) for key in list(per_seed[0])[2:]},
        },
        **_cost(own, baseline),
        "channels_removed_percent": pruning["achieved"]["channels_percent"],
        "ratio_used": pruning.get("ratio_used"),
        **_speed(own),
        "onnx": (measured.exports.get(first) or {}).get("formats", {}).get("onnx"),
        "layers": pruning["layers"],
        "history": _history([(seed, measured.histories[label_of(name, seed)]) for seed in seeds]),
        "per_class_change_points": [
            None if after is None else after - old for after, old in zip(classes, before)
        ],
        "per_class_accuracy_percent": classes,
    }  # fmt: skip


def _seed_row(measured: Measured, variant: str, seed: int) -> dict:
    label = label_of(variant, seed)
    selection = measured.pruning[label]["selection_accuracy_percent"]
    return {
        "seed": seed,
        "accuracy_percent": measured.benchmark["rows"][label]["accuracy_percent"],
        "as_pruned_percent": selection["as_pruned"],
        "reestimated_percent": selection["reestimated"],
        "finetuned_percent": measured.metrics[label].get("selection_accuracy_percent"),
    }


def _cost(own: dict, baseline: dict | None) -> dict:
    found = {}
    for key, stem in (("parameters", "parameters"), ("size_mib", "size"), ("gmacs", "gmacs")):
        found[key] = own[key]
        found[f"{stem}_change_percent"] = change_percent(own[key], baseline and baseline[key])
    return found


def _speed(own: dict) -> dict:
    """Latency as time over the baseline's, throughput as images over the baseline's: above 1 is faster there."""
    latency, many = own.get("latency"), own.get("throughput")
    found = {"timings": [{k: v for k, v in one.items() if k != "round_ms"} for one in own.get("timings", [])] or None}
    if latency and latency["median_ms"] is not None:
        keys = ("batch_size", "median_ms", "p95_ms", "ratio", "ratio_interval", "precision", "undisturbed_percent")
        found |= {"latency_ms": latency["median_ms"], "latency": {key: latency[key] for key in keys}}
    if many and many["median_ms"] is not None:
        interval = many["ratio_interval"]
        found["throughput"] = {
            "batch_size": many["batch_size"],
            "images_per_second": many["images_per_second"],
            "ratio": 1 / many["ratio"],
            "ratio_interval": [1 / interval[1], 1 / interval[0]] if interval else None,
            "precision": many["precision"],
        }
    keys = ("peak_memory_mib", "energy_mj_per_image")
    return found | {key: own.get(key) for key in keys}


def _history(histories: Sequence[tuple[int, Sequence[Mapping]]]) -> list[dict] | None:
    """Curves by seed; None where nothing was trained."""
    keys = ("train_loss", "selection_accuracy_percent")
    curves = [
        {"seed": seed, "epochs": [{"epoch": int(e["epoch"]), **{key: _number(e[key]) for key in keys}} for e in epochs]}
        for seed, epochs in histories
    ]
    return curves if any(curve["epochs"] for curve in curves) else None


def _per_class(hits: np.ndarray, measured: Measured) -> list[float | None]:
    """Accuracy in percent on each class's test images; None for a class without any."""
    count = measured.dataset["classes"]
    images = np.bincount(measured.labels, minlength=count)
    right = np.bincount(measured.labels, weights=hits, minlength=count)
    return [100 * float(r) / int(n) if n else None for r, n in zip(right, images)]


def _candidate(measured: Measured, row: dict) -> significance.Candidate:
    hits = {seed: measured.hits(label_of(row["variant"], seed)) for seed in measured.measured_seeds(row["variant"])}
    images = len(measured.labels)
    return significance.Candidate(row["variant"], row["ratio"], row["accuracy_percent"], images, hits)


def _against_random(measured: Measured) -> list[dict]:
    """Selection split, BatchNorm re-estimated, not fine-tuned: what the choice of channels alone is worth."""
    variants, rows = measured.settings["variants"], []
    for ratio in dict.fromkeys(variant["ratio"] for variant in variants):
        own = [variant for variant in variants if variant["ratio"] == ratio]
        random = [v["name"] for v in own if METHODS[v["method"]].reference]
        others = [v["name"] for v in own if not METHODS[v["method"]].control and measured.measured_seeds(v["name"])]
        drawn = [_selection_hits(measured, name, seed) for name in random for seed in measured.measured_seeds(name)]
        if drawn and others:
            hits = {name: _selection_hits(measured, name, measured.measured_seeds(name)[0]) for name in others}
            rows += significance.against_random(hits, drawn)
    return rows


def _selection_hits(measured: Measured, variant: str, seed: int) -> np.ndarray:
    pruning = measured.pruning[label_of(variant, seed)]
    return unpacked(pruning["selection_hits"]["reestimated"], pruning["selection_images"])


def _warnings(measured: Measured, rows: list[dict]) -> list[dict]:
    found = []
    asked = math.prod(measured.settings["calibration"][key] for key in ("batches", "batch_size"))
    if asked > measured.dataset["counts"]["train"]:
        found.append({"code": "few_calibration_images", "asked": asked, "images": measured.calibration_images})
    if len(measured.seeds) == 1 and measured.settings["finetune"]["epochs"] > 0:
        found.append({"code": "single_seed", "seed": measured.seeds[0]})
    found += [
        {"code": "unavailable", "variant": row["variant"], "reason": row["reason"]}
        for row in rows
        if row["status"] == "unavailable"
    ]
    control = measured.benchmark["controls"]["aa"]
    if control and not control["within"]:
        found.append({"code": "timing_noise", "ratio": control["ratio"], "interval": control["interval"]})
    threads, asked = (measured.benchmark.get(key) for key in ("threads", "threads_asked"))
    if asked and threads < asked:
        found.append({"code": "fewer_threads", "threads": threads, "asked": asked})
    shares = [row["latency"]["undisturbed_percent"] for row in rows if row["latency"]]
    if shares and np.median(shares) < BUSY_PERCENT:
        found.append({"code": "busy_machine", "undisturbed_percent": float(np.median(shares))})
    return found


def _model(measured: Measured) -> dict:
    model, dataset = measured.settings["model"], measured.dataset
    about = {"title": titles.title(model), "source": model["source"], "name": model["name"]}
    return {**about, "input_shape": dataset["input_shape"], "classes": dataset["classes"]}


def _dataset(measured: Measured) -> dict:
    dataset = measured.dataset
    return {
        "name": dataset["name"],
        "title": dataset["title"],
        "protocol": dataset["protocol"],
        "counts": {**dataset["counts"], "calibration": measured.calibration_images},
        "unreadable": len(dataset["unreadable"]),
        "duplicates_dropped": dataset["duplicates"]["dropped"],
        "class_names": dataset["class_names"],
    }


def _configuration(measured: Measured) -> dict:
    settings = measured.settings
    keys = ("model", "data", "calibration")
    baseline = {"title": settings["baseline"], **{key: settings[key] for key in keys}}
    return {
        "scenario": settings["scenario"],
        "title": settings["title"],
        "baseline": {**baseline, "train": {"epochs": measured.baseline_metrics.get("epochs", 0)}},
        **{key: settings[key] for key in ("pruning", "finetune", "seeds")},
        "benchmark": measured.benchmark["settings"],
    }


def _mean(values: list[float | None]) -> float | None:
    return None if None in values else float(np.mean(values))


def _number(text) -> float | None:
    """A value of history.csv; None where it is empty or not finite."""
    value = float(text) if text not in ("", None) else float("nan")
    return value if np.isfinite(value) else None
