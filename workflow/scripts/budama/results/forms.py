"""What benchmark.json says of a model in each runtime and precision in which it can ship."""

from typing import Literal, NotRequired, TypedDict


class FormTiming(TypedDict):
    """A form's time. `ratio` is over that of its run's reference, `runtime_ratio` over the original's in float32 in the
    same runtime, `pytorch_ratio` over the original's in float32 in PyTorch; None where there is none."""

    batch_size: int
    median_ms: float | None
    images_per_second: float | None
    error: str | None
    ratio: float | None
    ratio_interval: list[float] | None
    runtime_ratio: float | None
    runtime_ratio_interval: list[float] | None
    pytorch_ratio: float | None
    pytorch_ratio_interval: list[float] | None


class Form(TypedDict):
    """A model in one runtime and precision, on the test images; `reason` where it does not run. `top1_equal`: images
    for which it names the class that PyTorch names in float32. Times and memory are those of each variant's first
    seed; `device` is where it was timed."""

    runtime: str
    precision: str
    status: Literal["ok", "unavailable"]
    reason: str | None
    kept: str | None
    size_mib: float | None
    accuracy_percent: float | None
    correct: int | None
    images: int | None
    hits: str | None
    top1_equal: int | None
    device: NotRequired[str]
    latency: NotRequired[FormTiming]
    throughput: NotRequired[FormTiming]
    peak_memory_mib: NotRequired[float | None]
