"""`match: latency`: how long each layer takes at the widths that pruning may leave, on the machine at hand.

Layers are timed on inputs of the shapes that they see in the model; layers that are alike are timed once. The whole
model and the narrowest that pruning may leave are timed beside a copy of the model, which shows what can be reached and
how far timing can be trusted here.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from budama.data.expectation import expected
from budama.errors import BudamaError
from budama.measuring import latency
from budama.networks import models
from budama.progress import log
from budama.pruning import allocation, channels, pruner, selection
from budama.pruning.working_copy import Original, WorkingCopy

if TYPE_CHECKING:
    from budama.results.time_contracts import LayerTimes

POINTS = 7  # widths at which each side of a layer is timed
ROUNDS, WARMUP, LIMIT_SECONDS = latency.LEAST_ROUNDS, 2, 4.0  # of one layer's widths
NARROWEST = "narrowest"
KINDS = (
    nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm,
    nn.MultiheadAttention,
)  # fmt: skip


def measure(model: dict, data: dict, pruning: dict, timing: dict, device: torch.device | str) -> LayerTimes:
    """Time the layers of an untrained model: what layer_times.json holds, but for the environment.

    `model` and `data` are the baseline's, `pruning` a scenario's `max_ratio`, `round_to`, `ignore` and `layers`,
    `timing` of its benchmark `batch_size`, `precision`, `channels_last` and `rounds`. Raises BudamaError where nothing
    can be pruned.
    """
    shape, classes, _ = expected(data)
    untrained = models.build(model, classes, shape, weights=False).to(device)
    return of_model(untrained, shape, classes, pruning, timing)


def of_model(model: nn.Module, shape, classes: int, pruning: dict, timing: dict) -> LayerTimes:
    """The same of a model that is there; it stays as it is."""
    whole = WorkingCopy(copy.deepcopy(model).eval(), Original.of(model, shape, classes, pruning.get("ignore", ())))
    limits = pruner.limits(whole, pruning)
    removals = _all_removals(whole, limits)
    how = {key: timing[key] for key in ("precision", "channels_last")}
    ends = latency.compare(
        {latency.BASELINE: whole.model, NARROWEST: whole.without(removals).model},
        example(whole, timing["batch_size"]),
        rounds=timing["rounds"],
        **how,
    )
    narrowest = ends.timings[NARROWEST]
    if ends.aa is None or narrowest.ratio is None:
        raise BudamaError(f"pruning.match latency: the model cannot be timed here: {narrowest.error}")
    alike: dict[tuple, dict | None] = {}
    layers: dict[str, Any] = {}
    seen = _seen(whole, timing["batch_size"])
    for layer in _layers(whole, limits, removals):
        if layer.name in seen:
            images, calls = seen[layer.name]
            key = layer.key(images)
            if key not in alike:
                alike[key] = layer.timed(images, threads=ends.threads, **how)
            if known := alike[key]:
                layers[layer.name] = {"calls": calls, **known}
    log(f"{len(alike)} different layers of {len(layers)} timed")
    return {
        "batch_size": timing["batch_size"],
        "rounds": timing["rounds"],
        "precision": how["precision"],
        "channels_last": how["channels_last"],
        "threads": ends.threads,
        "aa": {"ratio": ends.aa.ratio, "interval": list(ends.aa.interval)},
        "whole_ms": ends.timings[latency.BASELINE].median_ms,
        "narrowest": {"ratio": narrowest.ratio, "interval": list(narrowest.ratio_interval or ())},
        "layers": layers,
    }


def example(whole: WorkingCopy, size: int) -> Tensor:
    """`[size, C, H, W]`: images of noise, on the model's device; what a pass takes does not depend on them."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(size, *whole.original.input_shape, generator=generator).to(whole.original.images)


def _all_removals(whole: WorkingCopy, limits: selection.Limits) -> list[selection.Removal]:
    """All that may go: the shares that a user gave, and of the other groups what the limits allow."""
    scores = allocation.no_scores(whole.groups)
    fixed = selection.by_hand(whole.groups, scores, limits, 1.0)
    return [*fixed, *(one for own in selection.in_groups(whole.groups, scores, limits.free) for one in own)]


@dataclass
class _Layer:
    """A layer with the channels that may go together on each of its sides, in the order in which they are taken."""

    name: str
    module: Any
    pruner: Any  # Torch-Pruning's, for its kind
    units: dict[str, list[list[int]]] = field(default_factory=lambda: {"in": [], "out": []})

    def key(self, images: Tensor) -> tuple:
        """Equal for layers that take the same time."""
        shapes = tuple((name, tuple(value.shape)) for name, value in self.module.state_dict().items())
        sizes = tuple(tuple(map(len, self.units[side])) for side in ("in", "out"))
        return str(self.module), shapes, sizes, tuple(images.shape)

    def timed(self, images: Tensor, **how: Any) -> dict | None:
        """Times in ms; None where it could not run alone."""
        variants: dict[str, tuple[int, int]] = {latency.BASELINE: (0, 0)}
        for position, side in enumerate(("in", "out")):
            for count in _points(len(self.units[side])):
                variants[f"{side} {count}"] = (count, 0) if position == 0 else (0, count)
        variants["least"] = (len(self.units["in"]), len(self.units["out"]))
        alone = {label: self._without(*counts, images) for label, counts in variants.items()}
        run = latency.compare(
            alone, torch.zeros(1, device=images.device), rounds=ROUNDS, warmup_rounds=WARMUP,
            limit_seconds=LIMIT_SECONDS, **how,
        )  # fmt: skip
        full = run.timings[latency.BASELINE].median_ms
        ratios = {label: timing.ratio for label, timing in run.timings.items() if timing.ratio is not None}
        if full is None or len(ratios) < len(run.timings):
            return None
        found: dict[str, Any] = {"least_ms": full * ratios["least"]}
        for side, key in (("in", "by_inputs"), ("out", "by_outputs")):
            width = channels.width(self.module, side)
            curve = {str(width): full}
            for label, (*counts,) in variants.items():
                if label.startswith(f"{side} "):
                    gone = sum(map(len, self.units[side][: max(counts)]))
                    curve[str(width - gone)] = full * ratios[label]
            found[key] = curve if len(curve) > 1 else None
        return found

    def _without(self, inputs: int, outputs: int, images: Tensor) -> _Alone:
        module = copy.deepcopy(self.module)
        taken = {"in": self.units["in"][:inputs], "out": self.units["out"][:outputs]}
        gone = {side: sorted(itertools.chain.from_iterable(units)) for side, units in taken.items()}
        if gone["out"]:
            self.pruner.prune_out_channels(module, gone["out"])
        if gone["in"]:
            self.pruner.prune_in_channels(module, gone["in"])
        axis = _axis(self.module, images)
        return _Alone(module, images.narrow(axis, 0, channels.width(module, "in")).clone())


class _Alone(nn.Module):
    """A layer over an input of its own, so that layers of every width take one and the same input."""

    def __init__(self, layer: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("images", images)

    def forward(self, _unused: Tensor) -> Any:
        if isinstance(self.layer, nn.MultiheadAttention):
            return self.layer(self.images, self.images, self.images, need_weights=False)
        return self.layer(self.images)


def _layers(whole: WorkingCopy, limits: selection.Limits, removals: Sequence[selection.Removal]) -> list[_Layer]:
    """The layers that lose channels, in the model's order."""
    found: dict[str, _Layer] = {}
    for removal in removals:
        group, gone = whole.groups[removal.group], torch.tensor(removal.idxs)
        for member in group.members:
            if not isinstance(member.module, KINDS):
                continue
            idxs = member.idxs[torch.isin(member.roots, gone)].tolist()
            side = "in" if member.role == "in" else "out"
            kind = whole.graph.traced.get_pruner_of_module(member.module)
            layer = found.setdefault(member.name, _Layer(member.name, member.module, kind))
            layer.units[side].append(idxs)
    return [found[name] for name in whole.graph.names.values() if name in found]


def _seen(whole: WorkingCopy, size: int) -> dict[str, tuple[Tensor, int]]:
    """Of each layer, what it reads first in a pass over `size` images, and how often it is called."""
    found: dict[str, tuple[Tensor, int]] = {}
    handles = []
    for name, module in whole.model.named_modules():
        if isinstance(module, KINDS):

            def note(_module, given, name=name):
                if given and isinstance(given[0], Tensor):
                    first, calls = found.get(name, (given[0].detach(), 0))
                    found[name] = first, calls + 1

            handles.append(module.register_forward_pre_hook(note))
    try:
        with torch.no_grad():
            whole.model(example(whole, size))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _axis(module: Any, images: Tensor) -> int:
    """Along which axis of its input a layer's channels lie."""
    if isinstance(module, nn.LayerNorm | nn.Linear | nn.MultiheadAttention):
        return images.ndim - 1 if images.shape[-1] == channels.width(module, "in") else 1
    return 1


def _points(count: int) -> list[int]:
    """How many units to take away: one, all, and some between, evenly spread."""
    if count == 0:
        return []
    steps = POINTS - 1
    return sorted({1, *(round(count * step / steps) for step in range(1, steps + 1))})
