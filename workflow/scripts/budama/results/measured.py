"""What the stages of a scenario measured, and whether it belongs together."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from budama.errors import BudamaError
from budama.results.labels import label as label_of


@dataclass(frozen=True)
class Measured:
    """What the stages of a scenario wrote. Labels are VARIANT/seed-N; histories are the rows of history.csv."""

    settings: dict
    dataset: dict
    benchmark: dict
    baseline_metrics: dict
    baseline_history: Sequence[Mapping]
    pruning: Mapping[str, dict]
    metrics: Mapping[str, dict]
    histories: Mapping[str, Sequence[Mapping]]
    exports: Mapping[str, dict] = field(default_factory=dict)

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
    def widths(self) -> dict | None:
        """How fast each width is on the machine, and the multiple chosen by it, where `round_to: auto` asked for it."""
        chosen = (one for one in self.pruning.values() if "round_to_used" in one and one.get("widths"))
        return next(({**one["widths"], "round_to": one["round_to_used"]} for one in chosen), None)

    def measured_seeds(self, variant: str) -> list[int]:
        """The seeds of a variant whose model was benchmarked."""
        rows = self.benchmark["rows"]
        return [seed for seed in self.seeds if rows.get(label_of(variant, seed), {}).get("status") == "ok"]

    def hits(self, label: str) -> np.ndarray:
        """bool [N]: the test images that a model classified rightly."""
        row = self.benchmark["rows"][label]
        return unpacked(row["hits"], row["images"])


def unpacked(text: str, count: int) -> np.ndarray:
    """bool [count] from base64 of numpy.packbits."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), dtype=np.uint8), count=count).astype(bool)


def check(measured: Measured) -> None:
    """Raise BudamaError unless all parts are there, and hits were scored against the labels of dataset.json."""
    digest = hashlib.sha256(measured.labels.astype("<i8").tobytes()).hexdigest()
    if measured.benchmark["labels_digest"] != digest:
        raise BudamaError(
            "benchmark.json was scored on another test split than dataset.json's; run the benchmark again"
        )
    for variant in measured.settings["variants"]:
        for seed in measured.seeds:
            label = label_of(variant["name"], seed)
            parts = {
                "--pruning": measured.pruning,
                "--finetuned": measured.metrics,
                "--benchmark": measured.benchmark["rows"],
            }
            for option, found in parts.items():
                if label not in found:
                    raise BudamaError(f"{option} has nothing of {label}, which the scenario asks for")
