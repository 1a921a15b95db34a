"""A row of the leaderboard: one variant of one scenario, or one row of a published table (results/published.py)."""

from __future__ import annotations

import re
from typing import Any, Literal, TypedDict

from budama.reporting.row import Baseline, Row
from budama.reporting.shipped import Interval
from budama.reporting.view import Results

Kind = Literal["measured", "recorded", "published"]


class Entry(TypedDict):
    """What is known of a row; None where nothing is.

    Attributes:
        group: model and data set, so that ResNet50 and ResNet-50 are one.
        scenario: its name; of a published row, its source.
        method: a name of `methods.py`, or the source's own word; None is the model that was not pruned.
        seed_accuracies_percent: by seed; a record and a table have none.
        rank: the place in the scenario's own report, within its ratio.
        settings: what else decided the result, by key of the scenario.
        remarks: what a source says beside its numbers, by key of the table.
    """

    group: str
    model: str
    dataset: str
    kind: Kind
    scenario: str
    title: str
    variant: str | None
    method: str | None
    ratio: float | None
    settings: dict[str, Any]
    precision: str | None
    runtime: str | None
    machine: str | None
    seed_accuracies_percent: dict[int, float]
    test_images: int | None
    base_accuracy_percent: float | None
    accuracy_percent: float
    accuracy_interval: Interval | None
    accuracy_change_points: float | None
    rank: int | None
    gmacs: float | None
    gmacs_change_percent: float | None
    parameters: int | None
    parameters_change_percent: float | None
    size_mib: float | None
    size_change_percent: float | None
    latency_ms: float | None
    latency_ratio: float | None
    latency_ratio_interval: Interval | None
    remarks: dict[str, Any]


SETTINGS = {
    "pruning": ("scope", "match", "steps", "cycles", "compensate", "round_to", "layers"),
    "finetune": ("epochs", "distill"),
}


def of_results(results: Results) -> list[Entry]:
    """The original, the original after the same fine-tuning, and every variant that was measured."""
    ranks = {name: group["rank"] for group in results.content["ranking"] for name in group["variants"]}
    rows: list[Row | Baseline] = [results.baseline, *([results.unpruned] if results.unpruned else []), *results.rows]
    return [_of_row(results, row, ranks) for row in rows]


def group(model: str, dataset: str) -> str:
    """The key of a pair of model and data set: what is no letter and no digit does not tell names apart."""
    return " ".join(re.sub(r"[\W_]+", "", name.casefold()) for name in (model, dataset))


def _of_row(results: Results, row: Row | Baseline, ranks: dict[str, int]) -> Entry:
    model, dataset = results.model["title"], results.dataset["title"]
    latency, comparable = row["latency"], results.timings_comparable()
    sections: dict[str, Any] = {"pruning": results.pruning, "finetune": results.finetune}
    trained, pruned = row["method"] is not None, row is not results.unpruned and row["method"] is not None
    return {
        "group": group(model, dataset),
        "model": model,
        "dataset": dataset,
        "kind": "recorded" if results.recorded else "measured",
        "scenario": results.scenario,
        "title": results.name,
        "variant": row["variant"],
        "method": row["method"],
        "ratio": row["ratio"],
        "settings": {
            key: sections[section][key]
            for section, keys in SETTINGS.items()
            for key in keys
            if (trained if section == "finetune" else pruned) and sections[section].get(key) not in (None, {})
        },
        "precision": latency["precision"] if latency else "float32",
        "runtime": None if results.recorded else "PyTorch",
        "machine": _machine(results) if latency else None,
        "seed_accuracies_percent": {seed["seed"]: seed["accuracy_percent"] for seed in row["seeds"]},
        "test_images": results.dataset["counts"]["test"],
        "base_accuracy_percent": results.baseline["accuracy_percent"],
        "accuracy_percent": row["accuracy_percent"],
        "accuracy_interval": row["accuracy_interval"],
        "accuracy_change_points": row["accuracy_change_points"] if trained else 0.0,
        "rank": ranks.get(row["variant"]),
        **_costs(row, pruned),  # type: ignore[typeddict-item]
        "latency_ms": row["latency_ms"] if comparable else None,
        "latency_ratio": (latency["ratio"] if latency else None) if pruned else 1.0 if latency else None,
        "latency_ratio_interval": latency["ratio_interval"] if latency and pruned else None,
        "remarks": {"source": results.recorded["source"]} if results.recorded else {},
    }


def _costs(row: Row | Baseline, pruned: bool) -> dict[str, Any]:
    found: dict[str, Any] = {key: row[key] for key in ("gmacs", "parameters", "size_mib")}
    for key, change in (("gmacs", "gmacs"), ("parameters", "parameters"), ("size_mib", "size")):
        name = f"{change}_change_percent"
        found[name] = row[name] if pruned else None if found[key] is None else 0.0  # type: ignore[literal-required]
    return found


def _machine(results: Results) -> str | None:
    known = results.content["environment"]
    return known.get("gpu") or known.get("cpu")
