"""How far to go until the asked share of measured time is gone (`match: latency`).

The table of layers' times says about how far; then the whole model is timed, paired with the unpruned one and with a
copy of that, and the aim is corrected by what was measured, until the reduction is the asked one within what timing can
tell.
(Looking for widths by tables of measured times: NetAdapt, Yang et al. 2018; HALP, Shen et al. 2022.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from budama.errors import BudamaError
from budama.measuring import latency
from budama.progress import log
from budama.pruning import selection, time_table
from budama.pruning.budget import Budget
from budama.pruning.selection import Limits, Removal
from budama.pruning.time_table import TimeTable
from budama.pruning.working_copy import WorkingCopy

if TYPE_CHECKING:
    from budama.results.time_contracts import LayerTimes, TimedPruning, TimeTrial

TRIALS = 8  # pruned copies that are timed at most
LEAST_TOLERANCE = 0.01  # of the unpruned time; a nearer result would be chance (as for the control, see `latency`)
MOST_TOLERANCE = 0.03  # a result that is farther off is refused, however noisy the machine
LIMIT_SECONDS = 60.0  # of one copy's timing

# Times a model paired with the unpruned one: by `seed`, in which order they take turns.
Stopwatch = Callable[[nn.Module, int], latency.Run]


@dataclass(frozen=True)
class TimeBudget(Budget):
    """A budget of time. `found`: (share of time that the table predicted to be gone, the measured one) of copies so
    far; `told`: what was measured on the last one, which is the one to keep."""

    table: TimeTable = field(kw_only=True)
    stopwatch: Stopwatch = field(kw_only=True)
    found: list[tuple[float, float]] = field(default_factory=list)
    told: list[TimedPruning] = field(default_factory=list)

    @classmethod
    def of(cls, unpruned: WorkingCopy, limits: Limits, measured: LayerTimes) -> TimeBudget:
        """The budget of an unpruned model, by the content of layer_times.json."""
        table = TimeTable(measured)
        _check_made_for(unpruned, table)
        size = (measured["batch_size"], *unpruned.original.input_shape)
        images = torch.randn(*size, generator=torch.Generator().manual_seed(0)).to(unpruned.original.images)

        def stopwatch(model: nn.Module, seed: int) -> latency.Run:
            return latency.compare(
                {latency.BASELINE: unpruned.model, "pruned": model}, images, rounds=measured["rounds"],
                precision=measured["precision"], channels_last=measured["channels_last"], seed=seed,
                limit_seconds=LIMIT_SECONDS,
            )  # fmt: skip

        return cls("latency", limits, unpruned.measured, table=table, stopwatch=stopwatch)

    @property
    def timed(self) -> TimedPruning | None:
        return self.told[-1] if self.told else None

    def cost(self, current: WorkingCopy) -> selection.Cost:
        return self.table.cost(current.model, current.groups)

    def _meet_cost(
        self, current: WorkingCopy, removals: list[Removal], target: float, fixed: Sequence[Removal], *, last: bool
    ) -> tuple[WorkingCopy, float]:
        """Aim by the table, time the copy, and aim again by as much as it was off."""
        if last:
            check_reach(self.table, target)
        cost = self.cost(current)

        def share(chosen: Sequence[Removal]) -> float:
            return self.table.gone(cost.after(selection.counts([*fixed, *chosen], len(current.groups))))

        trials: list[tuple[WorkingCopy, TimeTrial]] = []
        tried: list[list[Removal]] = []
        for _ in range(TRIALS if last else 1):
            aim = self._aim(target)
            length = selection.nearest(lambda n: share(removals[:n]), len(removals), aim)
            chosen = selection.fill(removals, length, share, aim, LEAST_TOLERANCE / 5)
            if chosen in tried:
                break
            tried.append(chosen)
            copy = current.without([*fixed, *chosen])
            trial = self._timed(copy, share(chosen), target, again=last)
            trials.append((copy, trial))
            if trial["met"]:
                break
        best, told = min(trials, key=lambda pair: abs(pair[1]["gone"] - target))
        if last:
            self._tell(target, told, [trial for _, trial in trials])
        return best, self.channel_share(best.groups)

    def _aim(self, target: float) -> float:
        """The share to look for in the table, so that `target` is measured: by the copies that were timed so far."""
        known = sorted([(0.0, 0.0), *self.found, (self.table.most, self.table.most)])
        predicted = [one for one, _ in known]
        measured = time_table.rising(np.array([other for _, other in known]))
        return float(np.interp(target, measured, predicted))

    def _timed(self, copy: WorkingCopy, predicted: float, target: float, *, again: bool) -> TimeTrial:
        """What timing says of a copy; where it seems right, it must do so `again`, in an order of its own: one of
        several timings that hits by chance is none."""
        found: list[TimeTrial] = []
        for _ in range(2 if again else 1):
            before = [one["gone"] for one in found]
            trial = _trial(self.stopwatch(copy.model, len(self.found) + len(found)), predicted, target, before)
            found.append(trial)
            log(f"time: {predicted:.4f} predicted to go, {trial['gone']:.4f} ± {trial['noise']:.4f} gone")
            if not trial["met"]:
                break
        self.found.append((predicted, sum(trial["gone"] for trial in found) / len(found)))
        return found[-1]

    def _tell(self, target: float, told: TimeTrial, trials: list[TimeTrial]) -> None:
        rounding = f" with round_to {self.limits.round_to}" if self.limits.round_to > 1 else ""
        if abs(told["gone"] - target) > MOST_TOLERANCE:
            raise BudamaError(
                f"pruning.ratio {target:g} of latency cannot be met within {100 * MOST_TOLERANCE:g} points{rounding}: "
                f"the nearest of {len(trials)} that were timed is {told['gone']:.4f}; change pruning.ratio, round_to, "
                "max_ratio, layers or ignore, or see what else runs on this machine"
            )
        measured = self.table.measured
        self.told.append(
            {
                "asked_percent": 100 * target,
                "predicted_percent": 100 * told["predicted"],
                "achieved_percent": 100 * told["gone"],
                "achieved_interval": [100 * end for end in told["interval"]],
                "noise_points": 100 * told["noise"],
                "met": told["met"],
                "aa": told["aa"],
                "timed": len(trials),
                "threads": told["threads"],
                "batch_size": measured["batch_size"],
                "precision": measured["precision"],
                "channels_last": measured["channels_last"],
                "trials": trials,
            }
        )


def check_reach(table: TimeTable, target: float) -> None:
    """BudamaError where a share of time is within the noise of timing here, or more than can be reached."""
    least, most = max(table.noise, LEAST_TOLERANCE), table.most
    low, high = (math.floor(100 * least + 1e-9) + 1) / 100, math.floor(100 * most) / 100
    if low > high:
        raise BudamaError(
            f"pruning.ratio {target:g} of latency cannot be reached: on this machine, at batch size "
            f"{table.measured['batch_size']}, no pruning within the limits makes the model faster by more than "
            f"{100 * max(most, 0):.1f} %, and timing is sure to {100 * least:.1f} points; change pruning.match"
        )
    if not least < target <= most:
        why = (
            f"is within what timing can tell here (±{least:.3f})"
            if target <= least
            else "is out of reach on this machine"
        )
        raise BudamaError(
            f"pruning.ratio {target:g} of latency {why}, at batch size {table.measured['batch_size']}; "
            f"it can be from {low:.2f} to {high:.2f}"
        )


def _check_made_for(unpruned: WorkingCopy, table: TimeTable) -> None:
    """BudamaError where the table is of another model."""
    modules = dict(unpruned.model.named_modules())
    missing = next((name for name in table.layers if name not in modules), None)
    if missing is not None:
        raise BudamaError(f"layer_times.json is of another model: it has {missing}, which this one has not")


def _trial(run: latency.Run, predicted: float, target: float, before: Sequence[float]) -> TimeTrial:
    """One timing of a pruned copy against the unpruned model. It is as uncertain as its interval, its control and what
    timings of the same copy `before` it gave say, whichever says most."""
    timing = run.timings["pruned"]
    if run.aa is None or timing.ratio is None or timing.ratio_interval is None:
        raise BudamaError(f"pruning.match latency: the pruned model cannot be timed here: {timing.error}")
    low, high = timing.ratio_interval
    gone = 1 - timing.ratio
    apart = [abs(gone - other) / 2 for other in before]
    noise = max(time_table.noise(timing.ratio_interval), abs(run.aa.ratio - 1), *apart)
    return {
        "predicted": predicted,
        "gone": gone,
        "interval": [1 - high, 1 - low],
        "noise": noise,
        "met": abs(gone - target) <= min(max(noise, LEAST_TOLERANCE), MOST_TOLERANCE),
        "aa": {"ratio": run.aa.ratio, "interval": list(run.aa.interval)},
        "threads": run.threads,
    }
