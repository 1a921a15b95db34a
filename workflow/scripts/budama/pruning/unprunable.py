"""The layers that no channel is taken from, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from budama.pruning import channels, selection, tracing
from budama.pruning.dependency import ROOTS, Graph, Group, members

if TYPE_CHECKING:
    from budama.reporting.row import Whole

REASONS = {  # as a program says them; reports have sentences of their own
    "ignored": "is in pruning.ignore",
    "architecture": "cannot be followed in this architecture",
    "map": "is multiplied by or read as the one channel of {by}",
    "single": "has too few channels",
    "blocks": "has too few channels in each group of {by}",
    "output": "is tied to {by}, which gives the classes",
    "tied": "is tied to {by}, which keeps its channels",
    "unused": "is not used in evaluation",
    "partly": "can be followed in part alone",
}

Reason = Literal["ignored", "architecture", "map", "single", "blocks", "output", "tied", "unused", "partly"]


def found(
    graph: Graph, groups: Sequence[Group], ignored: Sequence[nn.Module], outputs: Sequence[str]
) -> tuple[list[Whole], int]:
    """Layers that `groups` do not shrink (in the model's order), and how many channels these have together.

    Channels that layers share are counted once, as in a group. `ignored`: what a user leaves out; `outputs`: the names
    of what gives the classes, which is not counted.
    """
    shrinking = [group for group in groups if selection.shrinks(group)]
    free = _channels(member for group in shrinking for member in group.members)
    by_user = {inner for module in ignored for inner in module.modules()}
    counted: dict[Any, set[int]] = {}
    layers: list[Whole] = []
    total = 0
    for module, name in graph.names.items():
        if not isinstance(module, ROOTS) or name in outputs or _within_attention(graph, name):
            continue
        stay = set(range(channels.width(module, "out"))) - free.get(module, set())
        if not stay:
            continue
        tied = _tied(graph, module)
        reason, by = _reason(graph, groups, module, name, by_user, outputs, tied)
        if reason != "output":
            total += len(stay - counted.get(module, set()))
        for other, idxs in _channels(tied).items():
            counted.setdefault(other, set()).update(idxs)
        layers.append({"name": name, "channels": len(stay), "reason": reason, "by": by})
    return layers, total


def told(layer: Whole) -> str:
    """ "conv2 (has too few channels)"."""
    return f"{layer['name']} {REASONS[layer['reason']].format(by=layer['by'])}"


def _channels(parts) -> dict[Any, set[int]]:
    """The channels that layers produce, by the layer."""
    found: dict[Any, set[int]] = {}
    for member in parts:
        if member.role == "out" or channels.is_depthwise(member.module):
            found.setdefault(member.module, set()).update(member.idxs.tolist())
    return found


def _tied(graph: Graph, module: nn.Module) -> list:
    """What goes with a layer; nothing where the search has no end or the layer is not in the graph."""
    if module not in graph.traced.module2node:
        return []
    try:
        return members(graph.trace(module))
    except (tracing.Endless, tracing.Lost):
        return []


def _reason(graph: Graph, groups, module, name: str, by_user, outputs, tied) -> tuple[Reason, str | None]:
    if module in by_user:
        return "ignored", None
    if module in set(graph.ignored):
        return "architecture", None
    if name in graph.broadcast:
        return "map", graph.broadcast[name]
    for group in groups:
        if not selection.shrinks(group) and any(member.module is module for member in group.members):
            return ("blocks", _divided(graph, group)) if group.repeats > group.run else ("single", None)
    if channels.width(module, "out") == 1:
        return "single", None
    if module not in graph.traced.module2node:
        return "unused", None
    for member in _producing(tied):
        if member.name in outputs:
            return "output", member.name
        if member.module in set(graph.ignored):
            return "tied", member.name
    return "partly", None


def _producing(tied) -> Iterator:
    return (member for member in tied if member.role == "out" or channels.is_depthwise(member.module))


def _divided(graph: Graph, group: Group) -> str:
    """The layer that divides a group's channels into equal blocks."""
    return next(member.name for member in group.members if graph.blocks(member) == group.repeats)


def _within_attention(graph: Graph, name: str) -> bool:
    """Whether a layer is part of nn.MultiheadAttention, which is pruned as one."""
    parent = name.rpartition(".")[0]
    return isinstance(graph.model.get_submodule(parent), nn.MultiheadAttention)
