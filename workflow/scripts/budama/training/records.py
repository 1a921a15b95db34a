"""What a training leaves beside its checkpoint, metrics.json and history.csv, from the stages baseline and finetune."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from budama import files
from budama.jobs import provenance
from budama.training.loop import TrainResult

if TYPE_CHECKING:
    from budama.results.contracts import Metrics

HISTORY = ("epoch", "learning_rate", "train_loss", "selection_loss", "selection_accuracy_percent", "seconds")


def inputs(stage: str, settings: dict, dataset: str | Path) -> str:
    """What decides a training's result besides its models: settings, code, package versions, and the data set."""
    return f"{provenance.spec(stage, settings)} {files.sha256(dataset)}"


def write(metrics: str | Path, history: str | Path, seed: int, result: TrainResult) -> None:
    """Write metrics.json and history.csv of a training."""
    write_history(history, result.history)
    content: Metrics = {
        "status": "ok",
        "seed": seed,
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "selection_accuracy_percent": result.selection_accuracy_percent,
        "selection_loss": result.selection_loss,
        "start_accuracy_percent": result.start_accuracy_percent,
        "train_seconds": result.train_seconds,
        "precision": result.precision,
        "device": result.device,
        "environment": provenance.environment(),
    }
    files.write_json(metrics, content)


def write_unavailable(
    metrics: str | Path, history: str | Path, seed: int, reason: str, status: str = "unavailable"
) -> None:
    """Write that there was no model to train, and why: a method that cannot serve a model is a row, not a crash.

    `status` is "diverged" where there was one, and its learning rate, one of several, was too high.
    """
    write_history(history, [])
    files.write_json(metrics, {"status": status, "seed": seed, "reason": reason})


def write_history(path: str | Path, rows: list[dict]) -> None:
    """Write history.csv: a header, and a row an epoch."""
    text = io.StringIO()
    table = csv.DictWriter(text, HISTORY, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    files.write_text(path, text.getvalue())
