"""The part of a row that says what `match: latency` led to."""

from typing import TypedDict


class AgainstCopy(TypedDict):
    """The unpruned model's copy timed against it."""

    ratio: float
    interval: list[float]


class Matched(TypedDict):
    """What `match: latency` led to, in percent of the unpruned model's time that are gone: asked for, predicted by the
    table of layers' times, and measured on the whole model. `noise_points`: how far the last may be off, by its
    interval and the control `aa`; `met`: within that it is the asked one. `timed`: pruned copies that were."""

    asked_percent: float
    predicted_percent: float
    achieved_percent: float
    achieved_interval: list[float]
    noise_points: float
    met: bool
    aa: AgainstCopy
    timed: int
    threads: int
    batch_size: int
    precision: str
    channels_last: bool
