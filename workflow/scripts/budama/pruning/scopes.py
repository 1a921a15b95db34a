"""In which order the channels of all layers go: a function for each `scope`, from scores to a list of removals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from budama.errors import BudamaError
from budama.pruning import channels, selection, sensitivity
from budama.pruning.dependency import Group, Member
from budama.pruning.selection import GOLDEN, Limits, Removal


def removals(
    scope: str,
    groups: Sequence[Group],
    scores: Sequence[Tensor],
    limits: Limits,
    cost: selection.Cost | None,
    moments: Callable[[], Mapping[str, Tensor]] | None,
) -> list[Removal]:
    """All removals that the limits allow, in the order of `scope`.

    Only `sensitivity` reads `cost`, of the model as it is now (None: a channel costs the same everywhere), and
    `moments`, which gives what `gram.moments` does of it.
    """
    if scope == "global":
        return selection.ranked(groups, scores, limits)
    if scope == "isomorphic":
        return isomorphic(groups, scores, limits)
    if scope == "sensitivity":
        if moments is None:
            raise BudamaError("pruning.scope sensitivity needs calibration images")
        return sensitivity.greedy(groups, scores, limits, cost, moments())
    return selection.layerwise(groups, scores, limits)


def isomorphic(groups: Sequence[Group], scores: Sequence[Tensor], limits: Limits) -> list[Removal]:
    """Channels ranked together within each class of groups of one structure; every class loses the same share.

    Fang et al. 2024 (arXiv:2407.04616, sec. 3): scores of unlike structures cannot be compared. A removal's key is the
    share of its class's channels that is gone before it.
    """
    classes: dict[tuple, list[int]] = {}
    for index, group in enumerate(groups):
        if group.name in limits.initial:
            classes.setdefault(structure(group), []).append(index)
    ranked = selection.ranked(groups, scores, limits)
    found: list[tuple[float, Removal]] = []
    for number, members in enumerate(classes.values()):
        initial = sum(limits.initial[groups[index].name] for index in members)
        gone = initial - sum(groups[index].size for index in members)
        for removal in (removal for removal in ranked if removal.group in members):
            key = round(gone / initial, 9)
            found.append((number * GOLDEN % 1, Removal(removal.group, removal.idxs, key)))
            gone += len(removal.idxs)
    return [removal for _, removal in sorted(found, key=lambda pair: (pair[1].key, pair[0]))]


def structure(group: Group) -> tuple:
    """Equal for groups of the same form: the same kinds of layers in the same roles, whatever their widths."""
    return group.repeats, *sorted(_form(member) for member in group.members)


def _form(member: Member) -> tuple[str, str]:
    module: Any = member.module
    kind = type(module).__name__
    if isinstance(module, nn.modules.conv._ConvNd):
        own = channels.is_depthwise(module)
        kind += " depthwise" if own else " grouped" if module.groups > 1 else ""
    return kind, member.role
