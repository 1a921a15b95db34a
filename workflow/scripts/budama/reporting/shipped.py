"""Parts of a row of results.json: exported files, and the model in every form in which it can ship."""

from __future__ import annotations

from typing import Literal, Required, TypedDict

from budama.significance.claims import EachModel

Interval = list[float]  # low and high end; of 95 % where nothing else is said


class Control(TypedDict):
    """A copy of the baseline timed against the baseline."""

    ratio: float
    interval: Interval
    within: bool


class OnnxLatency(TypedDict):
    """`ratio` is ONNX Runtime's time over PyTorch's."""

    batch_size: int
    threads: int
    pytorch_ms: float
    onnx_ms: float
    ratio: float
    ratio_interval: Interval | None
    aa: Control | None
    rounds: int


class Attempt(TypedDict):
    """A way of quantising that was tried, and its accuracy on the selection images; `error` where it gave no model."""

    name: str
    accuracy_percent: float | None
    error: str | None


class Precision(TypedDict, total=False):
    """A float16 or int8 file and what it does on the selection images; where there is none, `reason` and `attempts`.

    `kept`, `attempts`, `layers_…` (that multiply by weights, by the arithmetic they are done in) and how ranges were
    found are int8's.
    """

    status: Required[Literal["ok", "unavailable"]]
    reason: Required[str | None]
    file: str
    size_mib: float
    images: int
    top1_equal: int
    max_logit_difference: float
    largest_logit: float
    accuracy_percent: float
    float32_accuracy_percent: float
    kept: str
    attempts: list[Attempt]
    layers_int8: int
    layers_float32: int
    ranges: str
    symmetric: bool
    calibration_images: int


class Onnx(TypedDict):
    """How well an exported model agrees with PyTorch's."""

    file: str
    exporter: str
    size_mib: float
    images: int
    top1_equal: int
    max_logit_difference: float
    largest_logit: float
    latency: OnnxLatency
    precisions: dict[str, Precision]


class Deployment(TypedDict):
    """A variant in one runtime and precision, on the test images; where it does not run, `reason`.

    `change_points` is the mean accuracy of its seeds minus the original's in float32 in PyTorch, `against_float32`
    each seed's against its own model in float32 in PyTorch, `error_points` the standard error of the accuracy over
    images. Ratios of time are over the original in float32: `latency_ratio` in PyTorch, `runtime_ratio` in the same
    runtime; those of size and memory in the same runtime. `kept`: how int8 was quantised, the first seed's way.
    """

    runtime: str
    precision: str
    status: Literal["ok", "unavailable"]
    reason: str | None
    kept: str | None
    device: str | None
    accuracy_percent: float | None
    error_points: float | None
    change_points: float | None
    against_float32: EachModel | None
    seeds: int
    size_mib: float | None
    size_ratio: float | None
    latency_ms: float | None
    latency_ratio: float | None
    latency_ratio_interval: Interval | None
    runtime_ratio: float | None
    runtime_ratio_interval: Interval | None
    images_per_second: float | None
    peak_memory_mib: float | None
    memory_ratio: float | None
