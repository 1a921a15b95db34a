"""A row of results.json, and results as tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from budama import files

_KEYS = (
    *("variant", "method", "ratio", "status", "reason"),
    *("accuracy_percent", "accuracy_interval", "accuracy_bootstrap", "accuracy_change_points", "change_interval"),
    *("retention_percent", "seeds", "fate"),
    *("parameters", "parameters_change_percent", "size_mib", "size_change_percent", "gmacs", "gmacs_change_percent"),
    *("channels_removed_percent", "ratio_used", "latency_ms", "latency", "throughput", "timings"),
    *("peak_memory_mib", "energy_mj_per_image", "onnx"),
    *("layers", "history", "per_class_change_points", "per_class_accuracy_percent"),
)
_TEXT = ("scenario", "variant", "method", "status", "reason")
_WHOLE = ("seeds", "rank", "parameters")
_FATE = ("baseline_percent", "as_pruned_percent", "reestimated_percent", "finetuned_percent")
_COPIED = (
    *("variant", "method", "ratio", "status", "reason", "accuracy_percent", "accuracy_change_points"),
    *("retention_percent", "parameters", "parameters_change_percent", "size_mib", "size_change_percent"),
    *("gmacs", "gmacs_change_percent", "channels_removed_percent", "latency_ms", "peak_memory_mib"),
    "energy_mj_per_image",
)


def empty_row(variant: str, method: str | None, ratio: float | None) -> dict:
    """A row with all keys, of which nothing is known yet but whose it is."""
    named = {"variant": variant, "method": method, "ratio": ratio, "status": "ok", "seeds": []}
    return dict.fromkeys(_KEYS) | named


def change_percent(value: float | None, before: float | None) -> float | None:
    """How much `value` differs from `before`, in percent of it."""
    return None if value is None or not before else 100 * (value / before - 1)


def write(results: Mapping, folder: str | Path) -> None:
    """Write results.csv, results.parquet (a row a variant, the baseline first) and results.json into `folder`."""
    rows = table(results)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(Path(folder) / "results.csv", text.getvalue())
    files.write_bytes(Path(folder) / "results.parquet", _parquet(rows))
    files.write_json(Path(folder) / "results.json", results)


def table(results: Mapping) -> list[dict]:
    """Flat rows of equal keys, the baseline's first. `as_pruned`, `reestimated` and `finetuned` are on `selection`."""
    ranks = {name: group["rank"] for group in results["ranking"] for name in group["variants"]}
    return [_flat(results["scenario"], row, ranks) for row in (results["baseline"], *results["variants"])]


def _flat(scenario: str, row: Mapping, ranks: Mapping[str, int]) -> dict:
    """One flat row; its numbers to 8 decimals, beyond which lies rounding noise (72.13 - 78.59 = -6.4600000…8)."""
    fate, latency, throughput = (row[key] or {} for key in ("fate", "latency", "throughput"))
    values = {
        "scenario": scenario,
        **{key: row[key] for key in _COPIED},
        "rank": ranks.get(row["variant"]),
        "seeds": len(row["seeds"]),
        **_ends("accuracy_seeds", row["accuracy_interval"]),
        **_ends("accuracy_images", row["accuracy_bootstrap"]),
        **_ends("accuracy_change", row["change_interval"]),
        **{f"selection_{key}": fate.get(key) for key in _FATE},
        "latency_p95_ms": latency.get("p95_ms"),
        "latency_ratio": latency.get("ratio"),
        **_ends("latency_ratio", latency.get("ratio_interval")),
        "images_per_second": throughput.get("images_per_second"),
        "throughput_ratio": throughput.get("ratio"),
        **_ends("throughput_ratio", throughput.get("ratio_interval")),
    }
    return {key: round(value, 8) if isinstance(value, float) else value for key, value in values.items()}


def _ends(name: str, interval) -> dict:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _parquet(rows: list[dict]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    kinds = {**dict.fromkeys(_TEXT, pyarrow.string()), **dict.fromkeys(_WHOLE, pyarrow.int64())}
    schema = pyarrow.schema([(key, kinds.get(key, pyarrow.float64())) for key in rows[0]])
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), sink)
    return sink.getvalue().to_pybytes()
