"""What a reader of results.json must be warned of: of the runs, and of the machine that measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from budama.results.measured import Measured

if TYPE_CHECKING:
    from budama.reporting.row import Baseline, Row, Unavailable

BUSY_PERCENT = 50  # fewer undisturbed calls than this are worth a warning


def of(measured: Measured, rows: list[Row | Unavailable], baseline: Baseline) -> list[dict[str, Any]]:
    """The warnings of a scenario's runs, in the order in which they are shown."""
    found = _majority(measured, baseline)
    asked = math.prod(measured.settings["calibration"][key] for key in ("batches", "batch_size"))
    if asked > measured.dataset["counts"]["train"]:
        found.append({"code": "few_calibration_images", "asked": asked, "images": measured.calibration_images})
    if len(measured.seeds) == 1 and measured.settings["finetune"]["epochs"] > 0:
        found.append({"code": "single_seed", "seed": measured.seeds[0]})
    found += [*_equal_seeds(rows), *_nothing_kept(measured, rows)]
    found += [
        {"code": "unavailable", "variant": row["variant"], "reason": row["reason"]}
        for row in rows
        if row["status"] == "unavailable"
    ]
    control = measured.benchmark["controls"]["aa"]
    if control and not control["within"]:
        found.append({"code": "timing_noise", "ratio": control["ratio"], "interval": control["interval"]})
    threads, asked = measured.benchmark["threads"], measured.benchmark["threads_asked"]
    if threads < asked:
        found.append({"code": "fewer_threads", "threads": threads, "asked": asked})
    shares = [row["latency"]["undisturbed_percent"] for row in rows if row["latency"]]
    if shares and np.median(shares) < BUSY_PERCENT:
        found.append({"code": "busy_machine", "undisturbed_percent": float(np.median(shares))})
    return found


def _majority(measured: Measured, baseline: Baseline) -> list[dict[str, Any]]:
    """An original that is not shown to be better than naming the most frequent class of the test images for all."""
    images = np.bincount(measured.labels)
    share, interval = 100 * float(images.max() / images.sum()), baseline["accuracy_interval"]
    if interval is None or interval[0] > share:
        return []
    return [{
        "code": "majority",
        "name": measured.dataset["class_names"][int(images.argmax())],
        "accuracy_percent": baseline["accuracy_percent"],
        "share_percent": share,
        "balanced_percent": baseline["balanced_accuracy_percent"],
    }]  # fmt: skip


def _equal_seeds(rows: list[Row | Unavailable]) -> list[dict[str, Any]]:
    """Variants of which seeds gave the same model, byte by byte: such a model counts once."""
    found = [row["variant"] for row in rows if any(one["same_seeds"] for one in row["seeds"])]
    return [{"code": "equal_seeds", "variants": found}] if found else []


def _nothing_kept(measured: Measured, rows: list[Row | Unavailable]) -> list[dict[str, Any]]:
    """Fine-tuning runs whose best epoch was none: the model was left as it had been."""
    if not measured.settings["finetune"]["epochs"]:
        return []
    epochs = [one["kept_epoch"] for row in rows for one in row["seeds"] for _ in (one["seed"], *one["same_seeds"])]
    kept = epochs.count(0)
    rate = measured.settings["finetune"].get("learning_rate")
    rates = rate if isinstance(rate, list) else [rate]
    entry = {"code": "nothing_kept", "kept": kept, "runs": len(epochs), "learning_rates": rates}
    return [entry] if kept else []
