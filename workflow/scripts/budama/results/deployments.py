"""Rows' forms: each variant in every runtime and precision, out of what benchmark.json says of its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from budama.significance import each_model, hits

if TYPE_CHECKING:
    from budama.reporting.row import Baseline, Row, Unavailable
    from budama.reporting.shipped import Deployment
    from budama.results.forms import Form
    from budama.results.measured import Measured

PYTORCH, FLOAT32 = "pytorch", "float32"


def of(measured: Measured, labels: Sequence[str]) -> list[Deployment] | None:
    """The forms of a variant whose models are `labels`, the first of which was timed; None where there are none."""
    forms = [measured.benchmarked(label).get("deployments", []) for label in labels]
    originals = measured.benchmarked("baseline").get("deployments", [])
    if not forms or not forms[0]:
        return None
    return [_one([_find(own, first) for own in forms], measured, labels, originals) for first in forms[0]]


def settle(measured: Measured, rows: Sequence[Row | Unavailable | Baseline], labels: Sequence[Sequence[str]]) -> None:
    """Say of each form of all rows whether it differs from its own model in float32, corrected over all of them."""
    asked = []
    for row, own in zip(rows, labels, strict=True):
        for form in row["deployments"] or []:
            changes = _changes(measured, own, form)
            if changes and (form["runtime"], form["precision"]) != (PYTORCH, FLOAT32):
                asked.append((form, changes))
    for (form, _), claim in zip(asked, each_model.claims([changes for _, changes in asked]), strict=True):
        form["against_float32"] = claim


def _find(forms: Sequence[Form], like: Any) -> Form | None:
    key = like["runtime"], like["precision"]
    return next((one for one in forms if (one["runtime"], one["precision"]) == key), None)


def _one(
    seeds: Sequence[Form | None], measured: Measured, labels: Sequence[str], originals: Sequence[Form]
) -> Deployment:
    """One form of a variant; `seeds`: that of each of its models, `originals`: the forms of the baseline."""
    first = seeds[0]
    assert first is not None, "it was found there"
    able = [one for one in seeds if one is not None and one["status"] == "ok"]
    whole = next((one for one in originals if (one["runtime"], one["precision"]) == (first["runtime"], FLOAT32)), None)
    latency, many = first.get("latency"), first.get("throughput")
    accuracy = float(np.mean([one["accuracy_percent"] for one in able])) if able else None
    before = measured.benchmarked("baseline")["accuracy_percent"]
    size, memory = first["size_mib"], first.get("peak_memory_mib")
    if first["runtime"] == PYTORCH:
        halves = {FLOAT32: 1.0, "tfloat32": 1.0}
        size = measured.benchmarked(labels[0])["size_mib"] * halves.get(first["precision"], 0.5)
    whole_size = (
        measured.benchmarked("baseline")["size_mib"] if first["runtime"] == PYTORCH else whole and whole["size_mib"]
    )
    return {
        "runtime": first["runtime"],
        "precision": first["precision"],
        "status": "ok" if able else "unavailable",
        "reason": next((one["reason"] for one in seeds if one is not None and one["reason"]), None),
        "kept": first["kept"],
        "device": first.get("device"),
        "accuracy_percent": accuracy,
        "error_points": _error(able),
        "change_points": None if accuracy is None else accuracy - before,
        "against_float32": None,
        "seeds": len(able),
        "size_mib": size if able else None,
        "size_ratio": _over(size, whole_size) if able else None,
        "latency_ms": latency and latency["median_ms"],
        "latency_ratio": latency and latency["pytorch_ratio"],
        "latency_ratio_interval": latency and latency["pytorch_ratio_interval"],
        "runtime_ratio": latency and latency["runtime_ratio"],
        "runtime_ratio_interval": latency and latency["runtime_ratio_interval"],
        "images_per_second": many and many["images_per_second"],
        "peak_memory_mib": memory,
        "memory_ratio": _over(memory, whole and whole.get("peak_memory_mib")),
    }


def _changes(measured: Measured, labels: Sequence[str], form: Deployment) -> list[each_model.Change]:
    """Each model's accuracy in this form minus that in float32 in PyTorch, with its standard error over images."""
    found = []
    for label in labels:
        one = _find(measured.benchmarked(label).get("deployments", []), form)
        if one is not None and one["hits"] and one["images"]:
            own = hits.unpacked(one["hits"], one["images"])
            change = own.astype(float) - measured.hits(label)
            found.append((100 * float(change.mean()), 100 * float(change.std(ddof=1) / len(change) ** 0.5)))
    return found


def _error(able: Sequence[Form]) -> float | None:
    """The standard error over images of the mean accuracy of these models, in points."""
    if not able:
        return None
    mean = np.mean([hits.unpacked(one["hits"] or "", one["images"] or 0) for one in able], axis=0)
    return 100 * float(mean.std(ddof=1) / len(mean) ** 0.5)


def _over(value: float | None, whole: float | None) -> float | None:
    return value / whole if value is not None and whole else None
