"""Remove channels from a model: scored, chosen, cut out of every layer of their groups, and checked."""

from __future__ import annotations

import copy
import gc
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from budama.errors import BudamaError
from budama.measuring import complexity
from budama.networks import models
from budama.networks.hooks import check_no_hooks
from budama.pruning import channels, criteria, rounding, selection, verification
from budama.pruning.calibration import Statistics
from budama.pruning.dependency import Graph

TOLERANCE = 0.005  # half a percentage point between the reduction that was asked for and the achieved one
TRIALS = 6  # pruned copies that are measured at most, to set right a search that goes by channel counts alone


@dataclass(frozen=True)
class Pruned:
    """A pruned copy of a model.

    `kept` and `kept_inputs`: for every layer that changed, the output (input) channels of the unpruned model that it
    still has. `layers`: `{"name", "before", "after"}`, output channels of every convolution and linear layer.
    `ratio_used`: the share of channels at which the search ended. `round_to`: the multiple that channel counts are kept
    to. `achieved`: removed shares of `channels` (of the
    groups that may be pruned), `macs` and `parameters`. `before`, `after`: complexity of the unpruned and of this
    model.
    """

    model: nn.Module
    kept: dict[str, list[int]]
    kept_inputs: dict[str, list[int]] = field(repr=False)
    layers: list[dict] = field(repr=False)
    ratio_used: float
    round_to: int
    achieved: dict[str, float]
    before: complexity.Complexity = field(repr=False)
    after: complexity.Complexity = field(repr=False)


def prune(
    model: nn.Module,
    input_shape,
    classes: int,
    method: str,
    settings: dict,
    statistics: Statistics | None = None,
    recalibrate: Callable[[nn.Module], Statistics] | None = None,
    fresh: Callable[[], nn.Module] | None = None,
) -> Pruned:
    """A pruned copy of `model`, which stays as it is.

    Args:
        input_shape: (C, H, W) of an image.
        method: a name in `criteria.CRITERIA`.
        settings: the keys of a scenario's `pruning` (`ratio` a single number) and `seed`; `widths`, what
            `widths.measure` gives, where `round_to` is "auto".
        statistics: of `model`; methods that read the weights alone need none.
        recalibrate: statistics of a partly pruned copy; needed for `steps` > 1 by methods that read data.
        fresh: the unpruned model with new weights, for `scratch`.

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
    run = _Run(model, input_shape, classes, settings)
    steps = settings.get("steps", 1)
    for step in range(1, steps + 1):
        if step > 1 and criterion.method.needs != "weights":
            if recalibrate is None:
                raise BudamaError(f"pruning.steps is {steps}: {method} must be calibrated anew at every step")
            statistics = recalibrate(copy.deepcopy(run.state.model))
        importance = criterion.importance(run.state.model, statistics, settings.get("seed", 0))
        run.step(importance, settings["ratio"] * step / steps, comparable=criterion.comparable, last=step == steps)
    if criterion.method.new_weights:
        run.replay(fresh())
    return run.result()


class _State:
    """A model on the way, its dependency graph, and what is left of each layer's channels."""

    def __init__(self, model: nn.Module, run: _Run) -> None:
        self.model, self.run = model, run
        hints = models.pruning_hints(model)
        ignored = models.ignored(model, run.settings.get("ignore", ()), run.classes)
        self.graph = Graph(model, run.images[:1], ignored, hints)
        self.groups = self.graph.groups()
        self.kept: dict[str, list[int]] = {}
        self.kept_inputs: dict[str, list[int]] = {}
        self.history: list[tuple[str, list[int]]] = []

    def without(self, removals: Sequence[selection.Removal]) -> _State:
        """A copy from which `removals` are gone."""
        state = _State(copy.deepcopy(self.model), self.run)
        state.kept, state.kept_inputs = copy.deepcopy((self.kept, self.kept_inputs))
        state.history = list(self.history)
        idxs: dict[str, list[int]] = {}
        for removal in removals:
            idxs.setdefault(self.groups[removal.group].name, []).extend(removal.idxs)
        state.remove(idxs)
        return state

    def remove(self, idxs: dict[str, list[int]]) -> None:
        """Cut root channels `idxs` of the groups with these names out of every layer of theirs."""
        groups = {group.name: group for group in self.groups}
        for name, removed in idxs.items():
            part = self.graph.part(groups[name], sorted(removed))
            self._record(part)
            part.prune()
            self.history.append((name, sorted(removed)))
        models.finish_pruning(self.model)
        self.groups = self.graph.groups()

    def _record(self, part) -> None:
        for item in part:
            name = self.graph.names.get(item.dep.target.module)
            for side, book in ("out", self.kept), ("in", self.kept_inputs):
                if name is not None and self.graph.prunes(item.dep.handler, side):
                    width = channels.width(item.dep.target.module, side)
                    gone = set(item.idxs)
                    book[name] = [c for i, c in enumerate(book.get(name, range(width))) if i not in gone]


class _Run:
    """Pruning of one model in one or more steps."""

    def __init__(self, model: nn.Module, input_shape, classes: int, settings: dict) -> None:
        self.original, self.shape, self.classes, self.settings = model, tuple(input_shape), classes, settings
        like = next(model.parameters())
        self.images = models.example_input(self.shape, batch=2).to(like)
        self.match = settings.get("match", "channels")
        self.before = self.after = complexity.measure(model, self.shape)
        self.state = _State(copy.deepcopy(model).eval(), self)
        self.ratio_used = 0.0
        sizes = {group.name: group.size for group in self.state.groups}
        if not sizes:
            raise BudamaError("no layer of the model can be pruned; look at pruning.ignore")
        round_to = settings.get("round_to") or 1
        if round_to == "auto":
            round_to = rounding.recommended(settings["widths"], min(sizes.values()))
        self.limits = selection.Limits(sizes, settings.get("max_ratio", 0.95), round_to)

    def step(self, importance: Callable[[object], Tensor], target: float, *, comparable: bool, last: bool) -> None:
        """Prune until `target` of what is matched is gone, by the scores of the model as it is now."""
        everywhere = self.settings.get("scope", "layerwise") == "global"
        groups = self.state.groups
        scores = [
            selection.position_scores(group, importance(group.traced), normalise=everywhere and not comparable)
            for group in groups
        ]
        removals = (selection.ranked if everywhere else selection.layerwise)(groups, scores, self.limits)
        if self.match == "channels":
            self._match_channels(removals, target, uniform=not everywhere, last=last)
        else:
            self._match_cost(removals, target, last=last)

    def _match_channels(self, removals: list[selection.Removal], target: float, *, uniform: bool, last: bool) -> None:
        gone = [0, *itertools.accumulate(len(removal.idxs) for removal in removals)]

        def share(length: int) -> float:
            return self._channel_share(gone[length])

        length = sum(removal.key < target - 1e-9 for removal in removals) if uniform else 0
        same_ratio = uniform and abs(share(length) - target) <= TOLERANCE
        if not same_ratio:
            length = selection.nearest(share, len(removals), target)
        coarsest = max((len(removal.idxs) for removal in removals), default=0) / sum(self.limits.initial.values())
        if last:
            self._check_share(share(length), target, max(TOLERANCE, coarsest))
        self.ratio_used = target if same_ratio else share(length)
        self.state, self.after = self._attempt(removals[:length])

    def _match_cost(self, removals: list[selection.Removal], target: float, *, last: bool) -> None:
        """Search by channel counts, prune a copy, measure it, and aim again by as much as it was off."""
        total, _ = self._costs(self.before)
        cost = selection.Cost(self.state.groups, *self._costs(self.after))

        def share(chosen: Sequence[selection.Removal]) -> float:
            return 1 - cost.after(selection.counts(chosen, len(self.state.groups))) / total

        aim, best, tried = target, None, []
        for _ in range(TRIALS if last else 1):
            length = selection.nearest(lambda n: share(removals[:n]), len(removals), aim)
            chosen = selection.fill(removals, length, share, aim, TOLERANCE / 5)
            if chosen in tried:
                break
            tried.append(chosen)
            state, after = self._attempt(chosen)
            achieved = 1 - self._costs(after)[0] / total
            if best is None or abs(achieved - target) < abs(best[0] - target):
                best = (achieved, state, after)
            if abs(achieved - target) <= TOLERANCE / 2:
                break
            aim -= achieved - target
        achieved, self.state, self.after = best
        if last:
            self._check_share(achieved, target, TOLERANCE)
        self.ratio_used = self._channel_share()

    def _costs(self, measured: complexity.Complexity) -> tuple[float, dict[str, float]]:
        """What is matched: of the whole model, and of its layers."""
        if self.match == "parameters":
            return measured.parameters, {layer["name"]: layer["parameters"] for layer in measured.layers}
        return measured.gmacs, {layer["name"]: layer["gmacs"] for layer in measured.layers}

    def _check_share(self, share: float, target: float, tolerance: float) -> None:
        rounding = f" with round_to {self.limits.round_to}" if self.limits.round_to > 1 else ""
        if share <= 1e-12:
            sizes = self.limits.initial.values()
            raise BudamaError(
                f"pruning.ratio {target:g} of {self.match} removes no channel{rounding}: it is too small for groups of "
                f"{min(sizes)} to {max(sizes)} channels"
            )
        if abs(share - target) > tolerance:
            raise BudamaError(
                f"pruning.ratio {target:g} of {self.match} cannot be met within {100 * TOLERANCE:g} points{rounding}: "
                f"the nearest is {share:.4f}; change pruning.ratio, round_to, max_ratio or ignore"
            )

    def _attempt(self, removals: list[selection.Removal]) -> tuple[_State, complexity.Complexity]:
        if not removals:
            return self.state, self.after
        try:
            state = self.state.without(removals)
            self._verify(state)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            self._blame(error)
        return state, complexity.measure(state.model, self.shape)

    def _verify(self, state: _State) -> None:
        logits = verification.check_forward(state.model, self.images, self.classes)
        verification.check_equivalent(self.original, logits, state.kept_inputs, self.images)

    def _blame(self, error: Exception) -> None:
        """Find the groups that cannot be pruned even on their own, and name them."""
        groups, culprits = self.state.groups, []
        for index, group in enumerate(groups):
            block = group.size // group.repeats
            alone = selection.Removal(index, tuple(range(0, group.size, block)), 0.0)
            try:
                self._verify(self.state.without([alone]))
            except Exception:
                culprits.append(group.name)
            gc.collect()  # a dependency graph is full of cycles: without this, every trial's copy of the model stays
        if not culprits:
            raise BudamaError(f"the pruned model does not work: {' '.join(str(error).split())[:300]}") from error
        raise BudamaError(
            f"{', '.join(culprits)} cannot be pruned: the channels pass through an operation that the dependency graph "
            f"does not follow; leave them out with pruning.ignore: [{', '.join(culprits)}]"
        ) from error

    def replay(self, model: nn.Module) -> None:
        """Take the same channels from another model of the same architecture, and go on with that one."""
        state = _State(model.to(self.images).eval(), self)
        for name, idxs in self.state.history:
            state.remove({name: idxs})
        self.state = state
        verification.check_forward(state.model, self.images, self.classes)

    def result(self) -> Pruned:
        state = self.state
        check_no_hooks(state.model)
        after = dict(state.model.named_modules())
        layers = [
            {"name": name, "before": channels.width(module, "out"), "after": channels.width(after[name], "out")}
            for name, module in self.original.named_modules()
            if isinstance(module, nn.modules.conv._ConvNd | nn.Linear)
        ]
        named = {layer["name"] for layer in layers}
        return Pruned(
            model=state.model,
            kept={name: kept for name, kept in state.kept.items() if name in named},
            kept_inputs={name: kept for name, kept in state.kept_inputs.items() if name in named},
            layers=layers,
            ratio_used=self.ratio_used,
            round_to=self.limits.round_to,
            achieved={
                "channels": self._channel_share(),
                "macs": 1 - self.after.gmacs / self.before.gmacs,
                "parameters": 1 - self.after.parameters / self.before.parameters,
            },
            before=self.before,
            after=self.after,
        )

    def _channel_share(self, more: int = 0) -> float:
        """The share of channels that are gone when `more` go."""
        initial, now = sum(self.limits.initial.values()), sum(group.size for group in self.state.groups)
        return 1 - (now - more) / initial
