"""What the stages of a scenario measured, and whether it belongs together."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from budama import files
from budama.errors import BudamaError
from budama.results.labels import label as label_of
from budama.significance import hits

if TYPE_CHECKING:
    from budama.data.manifest import Manifest
    from budama.reporting.contract import Widths
    from budama.results.contracts import Benchmark, Benchmarked, Export, Metrics, Pruned, Sensitivity, Unavailable


@dataclass(frozen=True)
class Measured:
    """What the stages of a scenario wrote. Labels are VARIANT/seed-N; histories are the tables of history.csv."""

    settings: dict[str, Any]
    dataset: Manifest
    benchmark: Benchmark
    baseline_metrics: Metrics
    baseline_history: pd.DataFrame
    pruning: Mapping[str, Pruned | Unavailable]
    metrics: Mapping[str, Metrics | Unavailable]
    histories: Mapping[str, pd.DataFrame]
    exports: Mapping[str, Export | Unavailable] = field(default_factory=dict)
    sensitivity: Sensitivity | None = None

    @property
    def seeds(self) -> list[int]:
        return self.settings["seeds"]

    @property
    def labels(self) -> np.ndarray:
        """[N] the test images' classes."""
        return np.array(self.dataset["splits"]["test"]["labels"], dtype=np.int64)

    @property
    def calibration_images(self) -> int | None:
        """How many images the methods looked at; None where none of them could serve."""
        return next((one["calibration_images"] for one in self.pruning.values() if one["status"] == "ok"), None)

    @property
    def widths(self) -> Widths | None:
        """How fast each width is on the machine, and the multiple chosen by it, where `round_to: auto` asked for it."""
        pruned = (one for one in self.pruning.values() if one["status"] == "ok")
        chosen = ((one["widths"], one["round_to_used"]) for one in pruned if "widths" in one)
        return next((cast("Widths", {**widths, "round_to": used}) for widths, used in chosen), None)

    def measured_seeds(self, variant: str) -> list[int]:
        """The seeds of a variant whose model was benchmarked."""
        rows = self.benchmark["rows"]
        return [seed for seed in self.seeds if rows[label_of(variant, seed)]["status"] == "ok"]

    def benchmarked(self, label: str) -> Benchmarked:
        """The row of a model in benchmark.json. Raises BudamaError where it could not be measured."""
        row = self.benchmark["rows"][label]
        if row["status"] == "unavailable":
            raise BudamaError(f"{label} could not be measured: {row['reason']}")
        return row

    def pruned(self, label: str) -> Pruned:
        """The pruning.json of a model. Raises BudamaError where it could not be pruned."""
        found = self.pruning[label]
        if found["status"] == "unavailable":
            raise BudamaError(f"{label} could not be pruned: {found['reason']}")
        return found

    def trained(self, label: str) -> Metrics:
        """The metrics.json of a model. Raises BudamaError where there was none to train."""
        found = self.metrics[label]
        if found["status"] == "unavailable":
            raise BudamaError(f"{label} could not be trained: {found['reason']}")
        return found

    def hits(self, label: str) -> np.ndarray:
        """bool [N]: the test images that a model classified rightly."""
        return self.hits_of(self.benchmarked(label))

    def hits_of(self, row: Benchmarked) -> np.ndarray:
        """The same, of a row of benchmark.json."""
        return hits.unpacked(row["hits"], row["images"])

    def predictions(self, label: str) -> np.ndarray | None:
        """int64 [N]: the class that a model names for each test image; None where that was not kept."""
        row = self.benchmarked(label)
        if "misses" not in row:
            return None
        named = self.labels.copy()
        named[~self.hits_of(row)] = hits.unpacked_classes(row["misses"])
        return named


def read(
    settings: dict,
    *,
    dataset: str | Path,
    benchmark: str | Path,
    baseline_metrics: str | Path,
    baseline_history: str | Path,
    pruning: Mapping[str, Path],
    finetuned: Mapping[str, Path],
    exported: Mapping[str, Path],
    calibration: str | Path | None = None,
) -> Measured:
    """What the stages wrote into these files.

    Of each label, `pruning` names a pruning.json, `finetuned` a folder with metrics.json and history.csv, and
    `exported` a folder with export.json.
    """
    return Measured(
        settings=settings,
        dataset=files.read_json(dataset),
        benchmark=files.read_json(benchmark),
        baseline_metrics=files.read_json(baseline_metrics),
        baseline_history=history(baseline_history),
        pruning={label: files.read_json(path) for label, path in pruning.items()},
        metrics={label: files.read_json(folder / "metrics.json") for label, folder in finetuned.items()},
        exports={label: files.read_json(folder / "export.json") for label, folder in exported.items()},
        sensitivity=None if calibration is None else files.read_json(calibration),
        histories={label: history(folder / "history.csv") for label, folder in finetuned.items()},
    )


def history(path: str | Path) -> pd.DataFrame:
    """The table of a history.csv, a row an epoch."""
    text = io.StringIO(files.read_text(path))
    return pd.read_csv(text, dtype=float, float_precision="round_trip").astype({"epoch": int})


def check(measured: Measured) -> None:
    """Raise BudamaError unless all parts are there, and hits were scored against the labels of dataset.json."""
    if measured.benchmark["labels_digest"] != hits.labels_digest(measured.labels):
        raise BudamaError(
            "benchmark.json was scored on another test split than dataset.json's; run the benchmark again"
        )
    for variant in measured.settings["variants"]:
        for seed in measured.seeds:
            label = label_of(variant["name"], seed)
            parts: dict[str, Mapping] = {
                "--pruning": measured.pruning,
                "--finetuned": measured.metrics,
                "--benchmark": measured.benchmark["rows"],
            }
            for option, found in parts.items():
                if label not in found:
                    raise BudamaError(f"{option} has nothing of {label}, which the scenario asks for")
