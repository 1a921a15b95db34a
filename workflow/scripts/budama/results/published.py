"""Tables that others published, as rows of the leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from budama import files
from budama.reporting.entries import Entry, group

REMARKS = ("schedule", "selected_on", "macs_speedup", "images_per_second_there", "step_time")


def read(path: str | Path) -> list[Entry]:
    """The rows of a file of published tables (schemas/published.schema.yaml), the originals where they are known.

    A row's costs are the source's own, or follow from its speed-up. settings/published.py has checked the file.
    """
    content = files.read_json(path)
    found = [entry for table in content["tables"] for entry in _of_table(table)]
    return [entry for i, entry in enumerate(found) if entry["method"] or entry not in found[:i]]  # an original once


def _of_table(table: dict[str, Any]) -> list[Entry]:
    base, base_gmacs = table.get("base_accuracy_percent"), table.get("base_gmacs")
    rows = [*([{"accuracy_percent": base, "gmacs": base_gmacs}] if base is not None else []), *table["rows"]]
    return [_of_published(table, row, base, base_gmacs) for row in rows]


def _of_published(table: dict[str, Any], row: dict[str, Any], base: float | None, base_gmacs: float | None) -> Entry:
    change, gmacs = row.get("macs_change_percent"), row.get("gmacs")
    method, pruned = row.get("method"), "method" in row
    if not pruned:
        change = 0.0
    elif "macs_speedup" in row:
        change = 100 * (1 / row["macs_speedup"] - 1)
    elif change is None and gmacs and base_gmacs:
        change = 100 * (gmacs / base_gmacs - 1)
    if gmacs is None and base_gmacs and change is not None:
        gmacs = base_gmacs * (1 + change / 100)
    left = row.get("million_parameters_left")
    here = {**table, **row} if pruned else {}
    said = {key: here[key] for key in REMARKS if key in here}
    return {
        "group": group(table["model"], table["dataset"]),
        "model": table["model"],
        "dataset": table["dataset"],
        "kind": "published",
        "scenario": table["source"],
        "title": table["source"],
        "variant": None,
        "method": f"{method} + {row['regularizer']}" if "regularizer" in row else method,
        "ratio": None,
        "settings": {},
        "precision": None,
        "runtime": None,
        "machine": None,
        "seed_accuracies_percent": {},
        "test_images": table.get("test_images"),
        "base_accuracy_percent": base,
        "accuracy_percent": row["accuracy_percent"],
        "accuracy_interval": None,
        "accuracy_change_points": None if base is None else row["accuracy_percent"] - base,
        "rank": None,
        "gmacs": gmacs,
        "gmacs_change_percent": change,
        "parameters": None if left is None else round(left * 1e6),
        "parameters_change_percent": None,
        "size_mib": None,
        "size_change_percent": None,
        "latency_ms": None,
        "latency_ratio": None,
        "latency_ratio_interval": None,
        "remarks": said,
    }
