"""Remove channels from a model: scored, chosen, cut out of every layer of their groups, and checked."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from budama.errors import BudamaError
from budama.measuring import complexity
from budama.networks import models
from budama.networks.hooks import check_no_hooks
from budama.pruning import allocation, channels, criteria, merging, prunability, rounding, scopes, selection, unprunable
from budama.pruning.budget import Budget
from budama.pruning.by_time import TimeBudget
from budama.pruning.calibration import Statistics
from budama.pruning.dependency import Group
from budama.pruning.working_copy import Original, Record, WorkingCopy, of_whole

if TYPE_CHECKING:
    from budama.reporting.row import Whole
    from budama.results.contracts import Compensation
    from budama.results.time_contracts import TimedPruning


@dataclass(frozen=True)
class Pruned:
    """A pruned copy of a model.

    `kept` and `kept_inputs`: for every layer that changed, the output (input) channels of the unpruned model that it
    still has. `layers`: `{"name", "before", "after"}`, output channels of every convolution and linear layer.
    `ratio_used`: the share of channels at which the search ended. `round_to`: the multiple that channel counts are kept
    to. `achieved`: removed shares of `channels` (of all but those that are the classes), `macs` and `parameters`.
    `whole`: the layers that nothing can be taken from, and why. `before`, `after`: complexity of the unpruned and of
    this model. `uncompensated`: the model with the weights that the cuts left, where it was compensated, and
    `compensations`, what was done at each cut. `own`: the share of each group, by its first layer, that has one of its
    own (`layers`). `time`: what was measured, where time is matched.
    """

    model: nn.Module
    kept: dict[str, list[int]]
    kept_inputs: dict[str, list[int]] = field(repr=False)
    layers: list[dict] = field(repr=False)
    ratio_used: float
    round_to: int
    achieved: dict[str, float]
    whole: list[Whole] = field(repr=False)
    before: complexity.Complexity = field(repr=False)
    after: complexity.Complexity = field(repr=False)
    uncompensated: nn.Module | None = field(default=None, repr=False)
    compensations: list[Compensation] = field(default_factory=list, repr=False)
    own: dict[str, float] = field(default_factory=dict, repr=False)
    time: TimedPruning | None = field(default=None, repr=False)


def prune(
    model: nn.Module,
    input_shape,
    classes: int,
    method: str,
    settings: dict,
    statistics: Statistics | None = None,
    recalibrate: Callable[[nn.Module], Statistics] | None = None,
    fresh: Callable[[], nn.Module] | None = None,
    whole: nn.Module | None = None,
    kept: Mapping[str, list[int]] | None = None,
    compensate: Callable[[WorkingCopy, WorkingCopy, Record], Compensation] | None = None,
    moments: Callable[[WorkingCopy], dict[str, Tensor]] | None = None,
) -> Pruned:
    """A pruned copy of `model`, which stays as it is.

    Args:
        input_shape: (C, H, W) of an image.
        method: a name in `criteria.CRITERIA`.
        settings: the keys of a scenario's `pruning` (`ratio` a single number) and `seed`; `widths`, what
            `widths.measure` gives, where `round_to` is "auto"; `layer_times`, what `layer_times.measure` does, where
            `match` is "latency". In one `turn` of several `turns`, the turn's share of
            `ratio` is met: turn / turns of it, of the unpruned model.
        statistics: of `model`; methods that read the weights alone need none.
        recalibrate: statistics of a partly pruned copy; needed for `steps` > 1 by methods that read data.
        fresh: the unpruned model with new weights, for `scratch`.
        whole: the unpruned model, where `model` has lost channels in earlier turns; `kept` are those it still has.
        compensate: has what is left make up for what is gone, in place: of the copies before and after every cut, with
            the record of all that `model` has lost by then. New weights (`scratch`) make up for nothing, and
            merged channels (`fold`) stand for those that are gone as it is.
        moments: `gram.moments` of a copy as it is, which methods and scopes that need them read beside `statistics`.

    Raises:
        criteria.Unavailable: the method cannot serve this model.
        BudamaError: nothing or not the asked share can be removed, a layer stands in the way, or a gate fails.
    """
    criterion = criteria.get(method)
    if reason := criterion.unavailable(model):
        raise criteria.Unavailable(reason)
    if criterion.method.new_weights and fresh is None:
        raise BudamaError(f"pruning method {method} needs a model with new weights")
    check_no_hooks(model)
    if criterion.method.unpruned:
        return _untouched(copy.deepcopy(model).eval(), input_shape)
    current = WorkingCopy(
        copy.deepcopy(model).eval(), Original.of(model, input_shape, classes, settings.get("ignore", ()))
    )
    unpruned = current
    if whole is not None:
        unpruned = WorkingCopy(whole.eval(), Original.of(whole, input_shape, classes, settings.get("ignore", ())))
    stays = _whole(unpruned)
    budget = _budget(unpruned, _with_shares(unpruned, settings, stays[0]), settings)
    current, record, ratio_used, compensations = _cut(
        current, criterion, settings, budget, statistics, recalibrate, compensate, moments
    )
    if criterion.method.new_weights and fresh is not None:
        current = current.replayed(fresh())
    uncompensated = current.replayed(copy.deepcopy(model), record).model if compensations else None
    done = _pruned(
        current, budget, ratio_used, unpruned.original.model, current.record.after(record), kept or {}, stays
    )
    return replace(done, uncompensated=uncompensated, compensations=compensations, time=budget.timed)


def _cut(
    current: WorkingCopy,
    criterion: criteria.Criterion,
    settings: dict,
    budget: Budget,
    statistics: Statistics | None,
    recalibrate: Callable[[nn.Module], Statistics] | None,
    compensate: Callable[[WorkingCopy, WorkingCopy, Record], Compensation] | None,
    moments: Callable[[WorkingCopy], dict[str, Tensor]] | None,
) -> tuple[WorkingCopy, Record, float, list[Compensation]]:
    """Remove channels in equal steps (see `prune`): the copy that is left, what compensated copies before it lost, the
    share of channels at which the search ended, and what each compensation did."""
    scope = settings.get("scope", "layerwise")
    uniform = scope == "layerwise"
    steps, ratio_used = settings.get("steps", 1), 0.0
    turn, turns = settings.get("turn", 1), settings.get("turns", 1)
    record, compensations = Record(), []
    for step in range(1, steps + 1):
        if step > 1 and criterion.method.needs != "weights":
            if recalibrate is None:
                raise BudamaError(
                    f"pruning.steps is {steps}: {criterion.method.name} must be calibrated anew at every step"
                )
            statistics = recalibrate(copy.deepcopy(current.model))
        if criterion.method.needs == "moments" and statistics is not None and moments is not None:
            statistics = replace(statistics, values={**statistics.values, **moments(current)})
        importance = criterion.importance(current.model, statistics, settings.get("seed", 0))
        normalise = not uniform and not criterion.comparable
        part = ((turn - 1) * steps + step) / (steps * turns)
        scores = _scores(current.groups, importance, normalise=normalise)
        fixed = selection.by_hand(current.groups, scores, budget.limits, part)
        seen = None if moments is None else partial(moments, current)
        removals = scopes.removals(scope, current.groups, scores, budget.limits.free, budget.cost(current), seen)
        last = step == steps and turn == turns
        before = current
        current, ratio_used = budget.meet(
            before, removals, settings["ratio"] * part, uniform=uniform, last=last, fixed=fixed
        )
        gone = current.record.after(record)
        if criterion.method.merges:
            current = merging.merged(before, current)
        elif compensate is not None and not criterion.method.new_weights:
            compensations.append(compensate(before, current, gone))
        else:
            continue
        record, current = gone, current.begun_anew()
    return current, record, ratio_used, compensations


def _untouched(model: nn.Module, input_shape) -> Pruned:
    """`model` itself, of which nothing is removed."""
    measured, layers = complexity.measure(model, input_shape), _layers(model, model)
    nothing = dict.fromkeys(("channels", "macs", "parameters"), 0.0)
    return Pruned(model, {}, {}, layers, 0.0, 1, nothing, [], measured, measured)


def _layers(unpruned: nn.Module, shrunk: nn.Module) -> list[dict]:
    """Output channels of every convolution and linear layer, before and after."""
    after = dict(shrunk.named_modules())
    return [
        {"name": name, "before": channels.width(module, "out"), "after": channels.width(after[name], "out")}
        for name, module in unpruned.named_modules()
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear)
    ]


def limits(unpruned: WorkingCopy, settings: dict) -> selection.Limits:
    """How far the groups of an unpruned model may shrink, and which have shares of their own.

    `settings`: a scenario's `max_ratio`, `round_to`, `ignore` and `layers`. Raises BudamaError.
    """
    return _with_shares(unpruned, settings, _whole(unpruned)[0])


def _with_shares(unpruned: WorkingCopy, settings: dict, whole: Sequence[Whole]) -> selection.Limits:
    known = _limits(unpruned.groups, settings)
    return allocation.by_hand(unpruned.graph, unpruned.groups, known, settings.get("layers") or {}, whole)


def _budget(unpruned: WorkingCopy, known: selection.Limits, settings: dict) -> Budget:
    match = settings.get("match", "channels")
    if match == "latency":
        return TimeBudget.of(unpruned, known, settings["layer_times"])
    return Budget(match, known, unpruned.measured)


def _limits(groups: Sequence[Group], settings: dict) -> selection.Limits:
    """How far the groups of the unpruned model may shrink."""
    sizes = {group.name: group.size for group in groups if selection.shrinks(group)}
    if not sizes:
        raise BudamaError("no layer of the model can be pruned; look at pruning.ignore")
    round_to = settings.get("round_to") or 1
    if round_to == "auto":
        round_to = rounding.recommended(settings["widths"], min(sizes.values()))
    return selection.Limits(sizes, settings.get("max_ratio", 0.95), round_to)


def _scores(groups: Sequence[Group], importance: Callable[[object], Tensor], *, normalise: bool) -> list[Tensor]:
    """Of every group, by the model as it is now: `[size / repeats]`."""
    return [selection.position_scores(group, importance(group.traced), normalise=normalise) for group in groups]


def _whole(unpruned: WorkingCopy) -> tuple[list[Whole], int]:
    """The layers that nothing can be taken from, and how many channels these have."""
    model, original = unpruned.model, unpruned.original
    outputs = [*models.classifiers(model, original.classes), *original.heads]
    chosen = prunability.ignored(model, original.ignore, original.classes, original.heads)
    by_user = [module for module in chosen if unpruned.graph.names[module] not in outputs]
    return unprunable.found(unpruned.graph, unpruned.groups, by_user, outputs)


def _pruned(
    final: WorkingCopy,
    budget: Budget,
    ratio_used: float,
    unpruned: nn.Module,
    record: Record,
    earlier: Mapping[str, list[int]],
    stays: tuple[list[Whole], int],
) -> Pruned:
    check_no_hooks(final.model)
    layers = _layers(unpruned, final.model)
    named = {layer["name"] for layer in layers}
    before, after, prunable = budget.before, final.measured, sum(budget.limits.initial.values())
    return Pruned(
        model=final.model,
        kept={name: kept for name, kept in of_whole(record.kept, earlier).items() if name in named},
        kept_inputs={name: kept for name, kept in record.kept_inputs.items() if name in named},
        layers=layers,
        ratio_used=ratio_used,
        round_to=budget.limits.round_to,
        own=budget.limits.own,
        achieved={
            "channels": budget.channel_share(final.groups) * prunable / (prunable + stays[1]),
            "macs": 1 - after.gmacs / before.gmacs,
            "parameters": 1 - after.parameters / before.parameters,
        },
        whole=stays[0],
        before=before,
        after=after,
    )
