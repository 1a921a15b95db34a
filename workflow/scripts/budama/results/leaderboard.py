"""The leaderboard as tables: a row a variant and seed, units in the names; docs/leaderboard.md explains each column."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import Table, parquet

from budama import files
from budama.reporting.entries import SETTINGS, Entry

# Columns, and where an entry has their values: a key, or an end of an interval.
_KEYS: dict[str, str | tuple[str, int]] = {
    **{key: key for key in ("kind", "scenario", "model", "dataset", "variant", "method")},
    "pruning_ratio": "ratio",
    **{key: key for key in ("precision", "runtime", "machine", "test_images")},
    **{key: key for key in ("base_accuracy_percent", "accuracy_percent")},
    "accuracy_low_percent": ("accuracy_interval", 0),
    "accuracy_high_percent": ("accuracy_interval", 1),
    **{key: key for key in ("accuracy_change_points", "rank", "gmacs", "gmacs_change_percent")},
    **{key: key for key in ("parameters", "parameters_change_percent", "size_mib", "size_change_percent")},
    **{key: key for key in ("latency_ms", "latency_ratio")},
    "latency_ratio_low": ("latency_ratio_interval", 0),
    "latency_ratio_high": ("latency_ratio_interval", 1),
}
_TEXT = (
    *("kind", "scenario", "model", "dataset", "variant", "method", "precision", "runtime", "machine"),
    *("scope", "match", "compensate", "round_to", "layers", "selected_on", "source", "schedule"),
)
_WHOLE = ("seed", "test_images", "rank", "parameters", "steps", "cycles", "epochs")


def write(entries: Sequence[Entry], folder: str | Path) -> None:
    """Write leaderboard.csv and leaderboard.parquet into `folder`."""
    found, content = table(entries), io.BytesIO()
    files.write_text(Path(folder) / "leaderboard.csv", found.to_csv(index=False, lineterminator="\n"))
    parquet.write_table(Table.from_pandas(found, preserve_index=False), content)
    files.write_bytes(Path(folder) / "leaderboard.parquet", content.getvalue())


def table(entries: Sequence[Entry]) -> pd.DataFrame:
    """A row for every seed of every entry; one row, without a seed, where single seeds are not known.

    `seed_accuracy_percent` is the seed's own; all other columns are the variant's. Numbers have 8 decimals.
    """
    columns = [*_KEYS, "seed", "seed_accuracy_percent", *(key for keys in SETTINGS.values() for key in keys)]
    columns += ["selected_on", "schedule", "source"]
    found = pd.DataFrame([row for entry in entries for row in _rows(entry)], columns=columns, dtype=object)
    kinds = {**dict.fromkeys(_TEXT, "string"), **dict.fromkeys(_WHOLE, "Int64")}
    return found.astype({name: kinds.get(name, "float64") for name in found}).round(8)


def _rows(entry: Entry) -> Iterator[dict[str, Any]]:
    row = {name: _value(entry, place) for name, place in _KEYS.items()} | entry["remarks"]
    row |= {key: _one(value) for key, value in entry["settings"].items()}
    if entry["kind"] == "published":
        row["source"] = entry["scenario"]
    for seed, accuracy in entry["seed_accuracies_percent"].items() or [(None, None)]:
        yield row | {"seed": seed, "seed_accuracy_percent": accuracy}


def _value(entry: Entry, place: str | tuple[str, int]) -> Any:
    if isinstance(place, str):
        return entry[place]  # type: ignore[literal-required]
    ends = entry[place[0]]  # type: ignore[literal-required]
    return ends[place[1]] if ends else None


def _one(value: Any) -> Any:
    """A setting in one cell: a list of learning rates as JSON, `round_to` as text."""
    return json.dumps(value) if isinstance(value, list | dict) else value
