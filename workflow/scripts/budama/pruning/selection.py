"""Which channels to remove: an order of removals, and how far to go in it.

Every pruning run, layer-wise or global, is a prefix of one ordered list of removals. The search for a wanted reduction
is then a bisection over the length of the prefix, and what a prefix costs follows from channel counts alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from budama.errors import BudamaError
from budama.pruning import channels
from budama.pruning.dependency import Group

GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Removal:
    """The next channels that a group loses: root channels `idxs`. `key` orders removals, lowest first."""

    group: int
    idxs: tuple[int, ...]
    key: float


@dataclass(frozen=True)
class Limits:
    """How far groups may shrink: `initial` channels of each root, the largest share to remove, multiples to keep.

    `own`: the shares that groups lose whatever the others do, because a user says so.
    """

    initial: dict[str, int]
    max_ratio: float
    round_to: int
    own: dict[str, float] = field(default_factory=dict)

    @property
    def free(self) -> Limits:
        """Those of the groups that have no share of their own."""
        return replace(
            self, initial={name: size for name, size in self.initial.items() if name not in self.own}, own={}
        )


def position_scores(group: Group, scores: Tensor, *, normalise: bool) -> Tensor:
    """Scores `[size / repeats]` of what can be removed at once: the mean over the blocks that must stay equal.

    With `normalise`, divided by the group's mean, so that groups can be ranked together.
    """
    if not torch.isfinite(scores).all():
        raise BudamaError(f"the scores of {group.name} are not finite; is the baseline's training sound?")
    scores = group.means(scores.double())
    mean = scores.mean()
    return scores / mean if normalise and mean > 0 else scores


def layerwise(groups: Sequence[Group], scores: Sequence[Tensor], limits: Limits) -> list[Removal]:
    """Removals in the order in which a growing ratio makes them, the same share of every group.

    Without rounding, `ratio` leaves floor(n·(1 − ratio)) of n channels, as Torch-Pruning does. A removal's key is the
    ratio above which it happens; ties go to the groups in an evenly spread order.
    """
    removals = []
    for index, group in enumerate(groups):
        initial = limits.initial.get(group.name, group.size) // group.repeats
        order = torch.argsort(scores[index], stable=True).tolist()
        for before, after in _shrinking(group, limits):
            at = 1 - (before if limits.round_to == 1 else (before + after) / 2) / initial
            start = group.positions - before
            removals.append(Removal(index, group.at(order[start : start + before - after]), round(at, 9)))
    return sorted(removals, key=lambda removal: (removal.key, removal.group * GOLDEN % 1))


def ranked(groups: Sequence[Group], scores: Sequence[Tensor], limits: Limits) -> list[Removal]:
    """Removals of all groups together, lowest score first (`scope: global`)."""
    removals = [removal for own in in_groups(groups, scores, limits) for removal in own]
    return sorted(removals, key=lambda removal: (removal.key, removal.group))


def in_groups(groups: Sequence[Group], scores: Sequence[Tensor], limits: Limits) -> list[list[Removal]]:
    """Of every group, its removals, lowest score first; several channels at once have their mean score."""
    found = []
    for index, group in enumerate(groups):
        order = torch.argsort(scores[index], stable=True).tolist()
        own = []
        for before, after in _shrinking(group, limits):
            start = group.positions - before
            positions = order[start : start + before - after]
            own.append(Removal(index, group.at(positions), float(scores[index][positions].mean())))
        found.append(own)
    return found


def by_hand(groups: Sequence[Group], scores: Sequence[Tensor], limits: Limits, part: float) -> list[Removal]:
    """The removals by which every group in `limits.own` reaches `part` of its own share.

    As `layerwise` leaves it: floor(n·(1 − share)) of n channels, or the nearest multiple of `round_to`.
    """
    chosen = []
    for name, ratio in limits.own.items():
        alone = replace(limits, initial={name: limits.initial[name]})
        removals = layerwise(groups, scores, alone)
        within, crossing = own_shares(groups, removals, alone, ratio * part)
        chosen += [*within, *(removal for removal in crossing if removal.key < ratio * part - 1e-9)]
    return chosen


def nearest(share: Callable[[int], float], length: int, target: float) -> int:
    """The prefix length in 0…`length` whose `share` (which grows with it) is nearest to `target`."""
    low, high = 0, length
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if share(middle) < target else (low, middle)
    return low - 1 if low > 0 and target - share(low - 1) < share(low) - target else low


def fill(
    removals: Sequence[Removal], length: int, share: Callable[[Sequence[Removal]], float], target: float, near: float
) -> list[Removal]:
    """The first `length` removals, or fewer and what fits of the later ones, so that `share` is `near` to `target`.

    One channel of a costly layer can exceed the whole tolerance. Where the nearest prefix misses `target` by more than
    `near`, the removal that overshoots is left out, with all later ones of its group, and others are tried in order.
    """
    chosen = list(removals[:length])
    if abs(share(chosen) - target) <= near:
        return chosen
    while chosen and share(chosen) > target:
        length -= 1
        chosen = list(removals[:length])
    closed = set()
    for removal in removals[length:]:
        if removal.group in closed:
            continue
        if share([*chosen, removal]) > target + near:
            closed.add(removal.group)
            continue
        chosen.append(removal)
        if share(chosen) >= target - near:
            break
    return chosen


class Cost:
    """What is left of a model after some channels went, from channel counts alone.

    Args:
        groups: the model's groups.
        total: of the whole model; layers that are not in `layers` keep what they cost.
        layers: cost of each layer by name (parameters, or multiply–accumulates).
    """

    def __init__(self, groups: Sequence[Group], total: float, layers: dict[str, float]) -> None:
        self.layers, self.total = layers, total
        # For each group: layer, side, and the share of that side's channels that one root channel is.
        self.parts: list[list[tuple[str, str, float]]] = []
        for group in groups:
            parts = []
            for member in group.members:
                if member.name in layers and member.axis is None:
                    side = "in" if member.role == "in" else "out"
                    width = channels.width(member.module, side)
                    parts.append((member.name, side, len(member.idxs) / group.size / width))
            self.parts.append(parts)

    def after(self, removed: Sequence[int]) -> float:
        """The model's cost when `removed[i]` root channels of group i are gone."""
        left: dict[tuple[str, str], float] = {}
        for parts, count in zip(self.parts, removed):
            for name, side, share in parts:
                left[name, side] = left.get((name, side), 1.0) - share * count

        changed = {name: (left.get((name, "in"), 1.0), left.get((name, "out"), 1.0)) for name, _ in left}
        return self.total - sum(self.layers[name] - self.of(name, *shares) for name, shares in changed.items())

    def of(self, name: str, inputs: float, outputs: float) -> float:
        """What a layer costs with these shares of its inputs and outputs."""
        return self.layers[name] * inputs * outputs


def least_positions(group: Group) -> int:
    """Positions (channels of each equal block) that a group must keep.

    A depthwise convolution of one channel is a plain one: Torch-Pruning would take it for another kind of layer.
    """
    return 2 if any(channels.is_depthwise(member.module) for member in group.members) else 1


def shrinks(group: Group) -> bool:
    """Whether anything may be taken from a group at all."""
    return group.positions > least_positions(group)


def own_shares(
    groups: Sequence[Group], removals: Sequence[Removal], limits: Limits, target: float
) -> tuple[list[Removal], list[Removal]]:
    """The `layerwise` removals that stay within `target` of their group's channels, and those that cross it.

    With the former alone each group is left with the possible count just above its own share, with both just below.
    """
    left = [group.size for group in groups]
    within, crossing = [], []
    for removal in removals:
        initial = limits.initial[groups[removal.group].name]
        before, after = left[removal.group], left[removal.group] - len(removal.idxs)
        left[removal.group] = after
        if 1 - after / initial <= target + 1e-9:
            within.append(removal)
        elif 1 - before / initial < target - 1e-9:
            crossing.append(removal)
    return within, crossing


def reachable(groups: Sequence[Group], limits: Limits, target: float) -> float:
    """The share of all channels that is gone when each group loses `target` of its own, as far as its form allows."""
    total = sum(limits.initial.values())
    shares = [(limits.initial[g.name], g.repeats * least_positions(g)) for g in groups if g.name in limits.initial]
    return sum(min(target * initial, initial - least) for initial, least in shares) / total


def counts(removals: Sequence[Removal], groups: int) -> list[int]:
    """Root channels that each group loses."""
    removed = [0] * groups
    for removal in removals:
        removed[removal.group] += len(removal.idxs)
    return removed


def _shrinking(group: Group, limits: Limits) -> list[tuple[int, int]]:
    """The steps (before, after) by which the group's positions may shrink from what it has now."""
    if group.name not in limits.initial:
        return []
    now = group.positions
    initial = limits.initial[group.name] // group.repeats
    unit = limits.round_to // math.gcd(limits.round_to, group.repeats)
    least = max(least_positions(group), unit, math.ceil(initial * (1 - limits.max_ratio) - 1e-9))
    sizes = [now, *(kept for kept in range((now - 1) // unit * unit, 0, -unit) if kept >= least)]
    return list(itertools.pairwise(sizes))
