"""How far to go in an order of removals, so that the asked share of channels, MACs or parameters is gone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from budama.errors import BudamaError
from budama.measuring.complexity import Complexity
from budama.pruning import selection
from budama.pruning.dependency import Group
from budama.pruning.selection import Limits, Removal
from budama.pruning.working_copy import WorkingCopy

if TYPE_CHECKING:
    from budama.results.time_contracts import TimedPruning

TOLERANCE = 0.005  # half a percentage point between the reduction that was asked for and the achieved one
TRIALS = 6  # pruned copies that are measured at most, to set right a search that goes by channel counts alone


@dataclass(frozen=True)
class Budget:
    """What is matched ("channels", "macs" or "parameters"), the groups' limits, and the unpruned model's cost."""

    match: str
    limits: Limits
    before: Complexity

    def meet(
        self,
        current: WorkingCopy,
        removals: list[Removal],
        target: float,
        *,
        uniform: bool,
        last: bool,
        fixed: Sequence[Removal] = (),
    ) -> tuple[WorkingCopy, float]:
        """`current` without `fixed` and as many `removals` as leave `target` gone of what is matched, and the ratio
        used for it.

        `fixed` are removals of groups with shares of their own. Of channels, `target` is a share of the other groups';
        of MACs and parameters, of the whole model's. `uniform`: every group of `removals` loses the same share of its
        channels, and a removal's key is that share. Only the `last` step of several must meet its target; BudamaError
        where it cannot.
        """
        if self.match != "channels":
            return self._meet_cost(current, removals, target, fixed, last=last)
        if not self.limits.free.initial:
            return current.without(fixed), target
        return self._meet_channels(current, removals, target, fixed, uniform=uniform, last=last)

    @property
    def timed(self) -> TimedPruning | None:
        """What was measured, where time is matched."""
        return None

    def channel_share(self, groups: Sequence[Group], more: int = 0) -> float:
        """The share of all channels that may be pruned that is gone when `more` go of what `groups` still have."""
        return self._share(self.limits.initial, groups, more)

    def _free_share(self, groups: Sequence[Group], more: int) -> float:
        """The same of the groups that have no share of their own."""
        return self._share(self.limits.free.initial, groups, more)

    @staticmethod
    def _share(known: dict[str, int], groups: Sequence[Group], more: int) -> float:
        initial, now = sum(known.values()), sum(group.size for group in groups if group.name in known)
        return 1 - (now - more) / initial

    def _meet_channels(
        self,
        current: WorkingCopy,
        removals: list[Removal],
        target: float,
        fixed: Sequence[Removal],
        *,
        uniform: bool,
        last: bool,
    ) -> tuple[WorkingCopy, float]:
        if uniform:
            return self._meet_equal_shares(current, removals, target, fixed, last=last)
        gone = [0, *itertools.accumulate(len(removal.idxs) for removal in removals)]
        length = selection.nearest(lambda n: self._free_share(current.groups, gone[n]), len(removals), target)
        share = self._free_share(current.groups, gone[length])
        if last:
            self._check_share(share, target, self._coarsest(removals))
        return current.without([*fixed, *removals[:length]]), share

    def _meet_equal_shares(
        self, current: WorkingCopy, removals: list[Removal], target: float, fixed: Sequence[Removal], *, last: bool
    ) -> tuple[WorkingCopy, float]:
        """Every group loses the same share of its channels, to one of the two possible counts around it; none makes up
        for another.

        Of the two it is the lower (the nearer, with `round_to`), unless the whole then misses the target.
        """
        groups, limits = current.groups, self.limits.free
        within, crossing = selection.own_shares(groups, removals, limits, target)
        aim = selection.reachable(groups, limits, target)
        gone = [0, *itertools.accumulate(len(removal.idxs) for removal in crossing)]
        always = sum(len(removal.idxs) for removal in within)

        def share(length: int) -> float:
            return self._free_share(groups, always + gone[length])

        length = sum(removal.key < target - 1e-9 for removal in crossing)
        same_ratio = abs(share(length) - aim) <= TOLERANCE
        if not same_ratio:
            length = selection.nearest(share, len(crossing), aim)
        if last:
            self._check_share(share(length), aim, self._coarsest(removals), asked=target)
        return current.without([*fixed, *within, *crossing[:length]]), target if same_ratio else share(length)

    def _coarsest(self, removals: Sequence[Removal]) -> float:
        """How far a share may be off: what is removed at once may be much of a small model."""
        at_once = max((len(removal.idxs) for removal in removals), default=0)
        return max(TOLERANCE, at_once / sum(self.limits.free.initial.values()))

    def _meet_cost(
        self, current: WorkingCopy, removals: list[Removal], target: float, fixed: Sequence[Removal], *, last: bool
    ) -> tuple[WorkingCopy, float]:
        """Search by channel counts, prune a copy, measure it, and aim again by as much as it was off."""
        total, _ = self._costs(self.before)
        cost = self._cost(current)

        def share(chosen: Sequence[Removal]) -> float:
            return 1 - cost.after(selection.counts([*fixed, *chosen], len(current.groups))) / total

        def achieved(copy: WorkingCopy) -> float:
            return 1 - self._costs(copy.measured)[0] / total

        aim, tried = target, []
        best, missed_by = current, math.inf
        for _ in range(TRIALS if last else 1):
            length = selection.nearest(lambda n: share(removals[:n]), len(removals), aim)
            chosen = selection.fill(removals, length, share, aim, TOLERANCE / 5)
            if chosen in tried:
                break
            tried.append(chosen)
            trial = current.without([*fixed, *chosen])
            too_much = achieved(trial) - target
            if abs(too_much) < missed_by:
                best, missed_by = trial, abs(too_much)
            if missed_by <= TOLERANCE / 2:
                break
            aim -= too_much
        if last:
            self._check_share(achieved(best), target, TOLERANCE)
        return best, self.channel_share(best.groups)

    def cost(self, current: WorkingCopy) -> selection.Cost | None:
        """What is matched, of the model as it is now; None where it is the number of channels."""
        return None if self.match == "channels" else self._cost(current)

    def _cost(self, current: WorkingCopy) -> selection.Cost:
        return selection.Cost(current.groups, *self._costs(current.measured))

    def _costs(self, measured: Complexity) -> tuple[float, dict[str, float]]:
        """What is matched: of the whole model, and of its layers."""
        if self.match == "parameters":
            return measured.parameters, {layer["name"]: layer["parameters"] for layer in measured.layers}
        return measured.gmacs, {layer["name"]: layer["gmacs"] for layer in measured.layers}

    def _check_share(self, share: float, target: float, tolerance: float, asked: float | None = None) -> None:
        asked = target if asked is None else asked
        own = ", layers" if self.limits.own else ""
        rounding = f" with round_to {self.limits.round_to}" if self.limits.round_to > 1 else ""
        if share <= 1e-12:
            sizes = self.limits.initial.values()
            raise BudamaError(
                f"pruning.ratio {asked:g} of {self.match} removes no channel{rounding}: it is too small for groups of "
                f"{min(sizes)} to {max(sizes)} channels"
            )
        if abs(share - target) > tolerance:
            raise BudamaError(
                f"pruning.ratio {asked:g} of {self.match} cannot be met within {100 * TOLERANCE:g} points{rounding}: "
                f"the nearest is {share:.4f}; change pruning.ratio, round_to, max_ratio{own} or ignore"
            )
