"""What a model's time is at any widths, from a table of its layers' times (layer_times.json, see `layer_times`).

A layer's time t(i, o) at i inputs and o outputs is put together from three measurements: its time a(o) at o outputs
and all inputs, b(i) at i inputs and all outputs, and its time c at the least of both, most of which is what calling it
costs: t = c + (a − c)(b − c) / (t₀ − c), which is exact where a layer costs c and a part in proportion to i · o. What
is not in any layer of the table (sums, activations, reshapes) is taken to shrink as the layers do; how far is known
from the whole model and the narrowest one, which were timed, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from budama.pruning import channels, selection
from budama.pruning.dependency import Group

if TYPE_CHECKING:
    from budama.results.time_contracts import LayerTime, LayerTimes


class TimeTable:
    """Times by layers' widths; `measured` is the content of layer_times.json."""

    def __init__(self, measured: LayerTimes) -> None:
        self.measured = measured
        self.layers = {name: _Layer(layer) for name, layer in measured["layers"].items()}
        self.whole = sum(layer.whole for layer in self.layers.values())
        self.narrowest = sum(layer.narrowest for layer in self.layers.values())

    def gone(self, ms: float) -> float:
        """The share of the whole model's time that is gone when its layers take `ms` together."""
        saved = self.whole - self.narrowest
        return self.most * (self.whole - ms) / saved if saved > 0 else 0.0

    @property
    def most(self) -> float:
        """The share that is gone when nothing more can be removed, as it was measured."""
        return 1 - self.measured["narrowest"]["ratio"]

    @property
    def noise(self) -> float:
        """How far a share of time may be off, by the control."""
        return max(noise(self.measured["narrowest"]["interval"]), noise(self.measured["aa"]["interval"], around=1))

    def cost(self, model: nn.Module, groups: Sequence[Group]) -> TimeCost:
        """What is matched, of a model as it is now."""
        modules = dict(model.named_modules())
        widths = {
            name: (channels.width(modules[name], "in"), channels.width(modules[name], "out")) for name in self.layers
        }
        return TimeCost(self, groups, widths)


class TimeCost(selection.Cost):
    """The layers' time in ms after some channels went; `widths`: inputs and outputs that layers have now."""

    def __init__(self, table: TimeTable, groups: Sequence[Group], widths: Mapping[str, tuple[int, int]]) -> None:
        self.table, self.widths = table, widths
        now = {name: table.layers[name].ms(*widths[name]) for name in table.layers}
        super().__init__(groups, sum(now.values()), now)

    def of(self, name: str, inputs: float, outputs: float) -> float:
        wide, high = self.widths[name]
        return self.table.layers[name].ms(round(wide * inputs), round(high * outputs))


class _Layer:
    """One layer's times, at every width in between by interpolation, and never longer where it is narrower."""

    def __init__(self, measured: LayerTime) -> None:
        self.calls, self.least = measured["calls"], measured["least_ms"]
        self.sides = [_curve(measured[side]) for side in ("by_inputs", "by_outputs")]
        known = [curve for curve in self.sides if curve is not None]
        self.full = max(float(curve[-1]) for curve in known)
        self.least = min(self.least, *(float(curve[0]) for curve in known))
        self.whole = self.calls * self.full
        self.narrowest = self.ms(0, 0)

    def ms(self, inputs: int, outputs: int) -> float:
        """The time of all calls of the layer, in ms."""
        found = [
            float(curve[min(max(width, 0), len(curve) - 1)])
            for curve, width in zip(self.sides, (inputs, outputs))
            if curve is not None
        ]
        if len(found) == 1:
            return self.calls * found[0]
        above = self.full - self.least
        if above <= 0:
            return self.calls * self.full
        return self.calls * (self.least + (found[0] - self.least) * (found[1] - self.least) / above)


def _curve(ms: Mapping[str, float] | None) -> np.ndarray | None:
    """`[widest + 1]`: the time at every width."""
    if not ms:
        return None
    points = sorted((int(width), time) for width, time in ms.items())
    widths, times = np.array([width for width, _ in points]), np.array([time for _, time in points])
    return np.interp(np.arange(widths[-1] + 1), widths, rising(times))


def rising(values: np.ndarray) -> np.ndarray:
    """Values that never fall, near to these: halfway between the least curve above and the greatest below that do not.

    What was measured falls here and there by chance.
    """
    return (np.maximum.accumulate(values) + np.minimum.accumulate(values[::-1])[::-1]) / 2


def noise(interval: Sequence[float], around: float | None = None) -> float:
    """How far an interval's ends lie from its middle, or from the ratio that it should hold."""
    low, high = interval
    middle = (low + high) / 2 if around is None else around
    return max(high - middle, middle - low)
