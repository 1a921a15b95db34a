"""A row of results.json, and results as tables."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyarrow import Table, parquet

from budama import files
from budama.reporting.contract import Content
from budama.reporting.row import Fate, Row


def _ends(name: str, place: str) -> dict[str, str | tuple[str, int]]:
    return {f"{name}_low": (place, 0), f"{name}_high": (place, 1)}


# Columns of the tables, and where a row has their values: a key, a key of a part, or an end of an interval.
_COLUMNS: dict[str, str | tuple[str, int]] = {
    "scenario": "scenario",
    **{key: key for key in ("variant", "method", "ratio", "status", "reason")},
    **{key: key for key in ("accuracy_percent", "accuracy_change_points", "retention_percent")},
    **{key: key for key in ("parameters", "parameters_change_percent", "size_mib", "size_change_percent")},
    **{key: key for key in ("gmacs", "gmacs_change_percent", "channels_removed_percent", "latency_ms")},
    **{key: key for key in ("peak_memory_mib", "energy_mj_per_image", "rank", "seeds")},
    **_ends("accuracy", "accuracy_interval"),
    "accuracy_interval_over": "accuracy_interval_over",
    **_ends("accuracy_change", "change_interval"),
    **{f"selection_{key}": f"fate.{key}" for key in Fate.__annotations__},
    "latency_p95_ms": "latency.p95_ms",
    "latency_ratio": "latency.ratio",
    **_ends("latency_ratio", "latency.ratio_interval"),
    "images_per_second": "throughput.images_per_second",
    "throughput_ratio": "throughput.ratio",
    **_ends("throughput_ratio", "throughput.ratio_interval"),
    "balanced_accuracy_percent": "balanced_accuracy_percent",
    **{key: f"trust.{key}" for key in ("top5_percent", "nll", "confidence_percent", "ece_percent")},
    **{key: f"answers.{key}" for key in ("changed_percent", "right_to_wrong_percent", "wrong_to_right_percent")},
    "seeds_disagree_percent": "answers.seeds_disagree_percent",
    "corrupted_accuracy_percent": "corruptions.mean_percent",
}
_TEXT = ("scenario", "variant", "method", "status", "reason", "accuracy_interval_over")
_WHOLE = ("seeds", "rank", "parameters")


def empty_row(variant: str, method: str | None, ratio: float | None) -> dict[str, Any]:
    """A row with all keys, of which nothing is known yet but whose it is."""
    named = {"variant": variant, "method": method, "ratio": ratio, "status": "ok", "reason": None}
    return {**named, **dict.fromkeys(key for key in Row.__annotations__ if key not in named), "seeds": []}


def change_percent(value: float | None, before: float | None) -> float | None:
    """How much `value` differs from `before`, in percent of it."""
    return None if value is None or not before else 100 * (value / before - 1)


def mean(values: Sequence[float | None]) -> float | None:
    """The mean; None where one of the values is not known."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def write(results: Content, folder: str | Path) -> None:
    """Write results.csv, results.parquet (a row a variant, the baseline first) and results.json into `folder`."""
    rows, content = table(results), io.BytesIO()
    files.write_text(Path(folder) / "results.csv", rows.to_csv(index=False, lineterminator="\n"))
    parquet.write_table(Table.from_pandas(rows, preserve_index=False), content)
    files.write_bytes(Path(folder) / "results.parquet", content.getvalue())
    files.write_json(Path(folder) / "results.json", results)


def table(results: Content) -> pd.DataFrame:
    """A row a variant, after the baseline and the unpruned control. Columns `selection_…` are on the selection images.

    Numbers have 8 decimals, beyond which lies rounding noise (72.13 - 78.59 = -6.4600000…8).
    """
    unpruned = [results["unpruned"]] if results["unpruned"] else []
    rows = pd.json_normalize([results["baseline"], *unpruned, *results["variants"]])
    rows["scenario"], rows["seeds"] = results["scenario"], rows["seeds"].map(len)
    ranks = {name: group["rank"] for group in results["ranking"] for name in group["variants"]}
    rows["rank"] = rows["variant"].map(ranks)
    found = pd.DataFrame({name: _column(rows, place) for name, place in _COLUMNS.items()})
    kinds = {**dict.fromkeys(_TEXT, "string"), **dict.fromkeys(_WHOLE, "Int64")}
    return found.astype({name: kinds.get(name, "float64") for name in found}).round(8)


def _column(rows: pd.DataFrame, place: str | tuple[str, int]) -> pd.Series:
    if isinstance(place, tuple):
        return _column(rows, place[0]).map(lambda ends: ends[place[1]], na_action="ignore")
    return rows[place] if place in rows else pd.Series(None, rows.index, dtype=object)
