"""How much of which layer, where a user says so: `pruning.layers`, a ratio by the layers' names or patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from budama.errors import BudamaError
from budama.pruning import channels, patterns, selection, unprunable
from budama.pruning.dependency import Graph, Group
from budama.pruning.selection import Limits

if TYPE_CHECKING:
    from budama.reporting.row import Whole

KEY = "pruning.layers"
SHOWN = 4  # names of a group's layers in one line


def by_hand(
    graph: Graph, groups: Sequence[Group], limits: Limits, layers: Mapping[str, float], whole: Sequence[Whole]
) -> Limits:
    """`limits` with the ratio of every group that `layers` (ratios by pattern) names: a group is named where a layer
    that produces its channels is.

    `groups` are the unpruned model's, `whole` the layers of it that nothing can be taken from. BudamaError where a
    pattern matches nothing that can be pruned, where two patterns ask for different shares of one group, or where a
    share is too small to remove a channel.
    """
    own: dict[str, float] = {}
    asked: dict[str, str] = {}  # the pattern by which a group has its ratio
    for pattern, ratio in layers.items():
        found = _named(graph, groups, limits, pattern, whole)
        for group in found:
            if own.setdefault(group.name, ratio) != ratio:
                raise BudamaError(_contradiction(group, asked[group.name], own[group.name], pattern, ratio))
            asked.setdefault(group.name, pattern)
    limits = replace(limits, own=own)
    shrunk = {groups[removal.group].name for removal in selection.by_hand(groups, no_scores(groups), limits, 1.0)}
    for name, ratio in own.items():
        if name not in shrunk:
            rounding = f" with round_to {limits.round_to}" if limits.round_to > 1 else ""
            what = f"{ratio:g} of the {limits.initial[name]} channels of {name}"
            raise BudamaError(f"{KEY}: {asked[name]!r} asks for {what}, which removes none{rounding}")
    return limits


def _named(graph: Graph, groups: Sequence[Group], limits: Limits, pattern: str, whole: Sequence[Whole]) -> list[Group]:
    """The groups that a pattern names and that shrink; BudamaError where there are none."""
    every = list(graph.names.values())
    names = patterns.with_all_below(every, patterns.matching(every, pattern, KEY))
    chosen = set(names)
    found = [group for group in groups if group.name in limits.initial and chosen & set(producing(group))]
    if found:
        return found
    why = next((unprunable.told(layer) for layer in whole if layer["name"] in chosen), None)
    if why is None:
        modules = dict(graph.model.named_modules())
        layer = next((name for name in names if isinstance(modules[name], unprunable.ROOTS)), None)
        if layer is None:
            raise BudamaError(f"{KEY}: {pattern!r} names no convolution or linear layer; it must name one")
        why = f"{layer} gives the classes"
    raise BudamaError(f"{KEY}: {pattern!r} names no layer from which channels can be removed: {why}")


def producing(group: Group) -> list[str]:
    """The layers that produce a group's channels."""
    return [
        member.name
        for member in group.members
        if member.role == "out"
        or channels.is_depthwise(member.module)
        or isinstance(member.module, torch.nn.MultiheadAttention)
    ]


def _contradiction(group: Group, pattern: str, ratio: float, other: str, its: float) -> str:
    names = producing(group)
    told = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    together = f"{told}, whose channels go together" if len(names) > 1 else told
    return f"{KEY}: {pattern!r} asks for {ratio:g} and {other!r} for {its:g} of {together}; it must be one ratio"


def no_scores(groups: Sequence[Group]) -> list[torch.Tensor]:
    """Scores that choose nothing, for counts that do not depend on them."""
    return [torch.zeros(group.positions, dtype=torch.float64) for group in groups]
