"""One estimator for all that is shown of times, so that milliseconds and changes cannot contradict each other.

A model's ratio to the baseline is the median over rounds of its time over the baseline's of the same round; its own
median is over its own undisturbed rounds. Where other processes disturbed many rounds these are different rounds, and
the quotient of two medians may be far from the ratio. The ratio is the one with an interval and a control, so it
decides: a model's milliseconds are the baseline's median times its ratio, and its images per second follow likewise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from budama.reporting.contract import Content
    from budama.reporting.row import Baseline, Latency, Row, Timing
    from budama.reporting.shipped import Onnx


def settle(content: Content) -> None:
    """Put the times of all rows of a results.json as its ratios say. A second time changes nothing.

    Rows without a ratio (recorded elsewhere, or that could not run) stay as they are.
    """
    baseline = content["baseline"]
    _exported(baseline["onnx"])
    for row in [*content["variants"], *([content["unpruned"]] if content["unpruned"] else [])]:
        if row["status"] == "ok":
            _row(row, baseline)


def _row(row: Row, baseline: Baseline) -> None:
    if (time := row["latency"]) and baseline["latency"]:
        _scale(time, baseline["latency"]["median_ms"])
        row["latency_ms"] = time["median_ms"]
    if (many := row["throughput"]) and baseline["throughput"]:
        many["images_per_second"] = baseline["throughput"]["images_per_second"] * many["ratio"]
    settings = {_setting(one): one for one in baseline["timings"] or []}
    for timing in row["timings"] or []:
        reference = settings.get(_setting(timing))
        if reference and timing["ratio"] and reference["median_ms"]:
            _scale(timing, reference["median_ms"])
            timing["images_per_second"] = 1000 * timing["batch_size"] / (timing["median_ms"] or 1)
    _exported(row["onnx"])


def _exported(onnx: Onnx | None) -> None:
    if onnx and (time := onnx.get("latency")) and time["ratio"]:
        time["onnx_ms"] = time["pytorch_ms"] * time["ratio"]


def _scale(time: Latency | Timing, reference_ms: float) -> None:
    """Median and 95th percentile by one factor, so that they keep their distance."""
    median = reference_ms * (time["ratio"] or 1)
    if time["p95_ms"] and time["median_ms"]:
        time["p95_ms"] *= median / time["median_ms"]
    time["median_ms"] = median


def _setting(timing: Timing) -> tuple[int, str, bool, bool]:
    return timing["batch_size"], timing["precision"], timing["compile"], timing["cuda_graph"]
