"""What a training leaves beside its checkpoint, metrics.json and history.csv, from the stages baseline and finetune."""

import argparse
import csv
import io
from pathlib import Path

from budama import files
from budama.jobs import provenance

HISTORY = ("epoch", "learning_rate", "train_loss", "selection_loss", "selection_accuracy_percent", "seconds")


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name what is written, and where an interrupted run left its progress."""
    parser.add_argument("--output", required=True, metavar="DIR", help="the checkpoint")
    parser.add_argument("--metrics", required=True, metavar="FILE", help="metrics.json")
    parser.add_argument("--history", required=True, metavar="FILE", help="history.csv, a row an epoch")
    parser.add_argument("--progress", metavar="DIR", help="progress of an interrupted run (default: beside --output)")


def progress_dir(args: argparse.Namespace) -> Path:
    """Where the progress is kept until the outputs are in place."""
    return Path(args.progress) if args.progress else Path(args.output).with_name("progress")


def inputs(stage: str, settings: dict, dataset: str | Path) -> str:
    """What decides a training's result besides its models: settings, code, package versions, and the data set."""
    return f"{provenance.spec(stage, settings)} {files.sha256(dataset)}"


def write(args: argparse.Namespace, seed: int, result) -> None:
    """Write the history and the metrics of a TrainResult."""
    write_history(args.history, result.history)
    metrics = {
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
    files.write_json(args.metrics, metrics)


def write_unavailable(args: argparse.Namespace, seed: int, reason: str) -> None:
    """Write that there was no model to train, and why: a method that cannot serve a model is a row, not a crash."""
    write_history(args.history, [])
    files.write_json(args.metrics, {"status": "unavailable", "seed": seed, "reason": reason})


def write_history(path: str | Path, rows: list[dict]) -> None:
    """Write history.csv: a header, and a row an epoch."""
    text = io.StringIO()
    table = csv.DictWriter(text, HISTORY, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    files.write_text(path, text.getvalue())
