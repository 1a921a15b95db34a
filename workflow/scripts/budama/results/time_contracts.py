"""What `match: latency` measures: layer_times.json, and in pruning.json what came of it."""

from typing import TypedDict

from budama.reporting.matched_time import AgainstCopy, Matched


class LayerTime(TypedDict):
    """A layer's time in ms by its inputs (outputs), all others being there; None where none of these may go.
    `least_ms`: with the least of both. `calls`: in a pass."""

    calls: int
    least_ms: float
    by_inputs: dict[str, float] | None
    by_outputs: dict[str, float] | None


class LayerTimes(TypedDict):
    """layer_times.json: the times of layers by their widths, for `match: latency`. `narrowest`: the time of the model
    that has lost all that may go, over the unpruned one's."""

    batch_size: int
    rounds: int
    precision: str
    channels_last: bool
    threads: int
    aa: AgainstCopy
    whole_ms: float | None
    narrowest: AgainstCopy
    layers: dict[str, LayerTime]


class TimeTrial(TypedDict):
    """A pruned copy that was timed: shares of the unpruned model's time that are gone. `noise`: how far `gone` may be
    off, by its interval and the control; `met`: within that it is the asked one."""

    predicted: float
    gone: float
    interval: list[float]
    noise: float
    met: bool
    aa: AgainstCopy
    threads: int


class TimedPruning(Matched):
    """What pruning.json says of time."""

    trials: list[TimeTrial]
