"""A model on the way: the copy that channels are cut out of, its dependency graph, and what is left of each layer."""

from __future__ import annotations

import copy
import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NoReturn

import torch
from torch import Tensor, nn

from budama.errors import BudamaError
from budama.measuring import complexity
from budama.networks import models, modes, outputs
from budama.pruning import attention, channels, prunability, selection, verification
from budama.pruning.dependency import Graph

MOST_BLAMED = 8  # groups that are named as those which cannot be pruned; to find each takes several trials


@dataclass(frozen=True)
class Original:
    """The unpruned model, and what every copy of it is tried with.

    `images`: two, `[2, C, H, W]`. `ignore`: patterns of the layers that a user leaves out of pruning. `heads`: the
    layers whose output is the logits.
    """

    model: nn.Module
    classes: int
    images: Tensor
    ignore: Sequence[str] = ()
    heads: Sequence[str] = ()

    @classmethod
    def of(cls, model: nn.Module, input_shape, classes: int, ignore: Sequence[str]) -> Original:
        """`model` with images of `input_shape` (C, H, W), on its device and in its precision."""
        images = models.example_input(tuple(input_shape), batch=2).to(next(model.parameters()))
        with modes.evaluation(model):
            return cls(model, classes, images, ignore, outputs.giving(model, images))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.images.shape[1:])


@dataclass
class Record:
    """What pruning did so far.

    `kept` and `kept_inputs`: for every layer that changed, the output (input) channels of the original that it still
    has; `kept` has parameters that are in no layer, too. `cuts`: the root channels that groups lost, by the groups'
    names, in their order.
    """

    kept: dict[str, list[int]] = field(default_factory=dict)
    kept_inputs: dict[str, list[int]] = field(default_factory=dict)
    cuts: list[tuple[str, list[int]]] = field(default_factory=list)

    def after(self, earlier: Record) -> Record:
        """This record of a model that `earlier` had led to, as one of the model before."""
        kept = of_whole(self.kept, earlier.kept)
        return Record(kept, of_whole(self.kept_inputs, earlier.kept_inputs), [*earlier.cuts, *self.cuts])


def of_whole(kept: Mapping[str, list[int]], earlier: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Channels kept of a model that had `earlier` channels of the unpruned one, as channels of the unpruned one."""
    now = {name: [earlier[name][i] for i in own] if name in earlier else own for name, own in kept.items()}
    return {**earlier, **now}


class WorkingCopy:
    """A copy of the original, the dependency graph of its layers, and the record of what was cut out of it."""

    def __init__(self, model: nn.Module, original: Original, record: Record | None = None) -> None:
        self.model, self.original, self.record = model, original, record or Record()
        ignored = prunability.ignored(model, original.ignore, original.classes, original.heads)
        self.graph = Graph(model, original.images[:1], ignored, prunability.pruning_hints(model))
        self.groups = self.graph.groups()

    @cached_property
    def measured(self) -> complexity.Complexity:
        """What the model costs; ask when nothing more is cut out of it."""
        return complexity.measure(self.model, self.original.input_shape)

    def begun_anew(self) -> WorkingCopy:
        """This model as the original of what follows: its weights are not those that were cut any more."""
        return WorkingCopy(self.model, replace(self.original, model=copy.deepcopy(self.model)))

    def without(self, removals: Sequence[selection.Removal]) -> WorkingCopy:
        """A copy from which `removals` are gone and which was seen to work; this one where there are none.

        Raises BudamaError with the names of the groups that stand in the way.
        """
        if not removals:
            return self
        try:
            return self._verified_without(removals)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            self._blame(error, removals)

    def replayed(self, model: nn.Module, record: Record | None = None) -> WorkingCopy:
        """Another model of the same architecture, without the channels that are gone here, or by `record`."""
        other = WorkingCopy(model.to(self.original.images).eval(), self.original)
        for name, idxs in (record or self.record).cuts:
            other._cut({name: idxs})
        verification.check_forward(other.model, self.original.images, self.original.classes)
        return other

    def _verified_without(self, removals: Sequence[selection.Removal]) -> WorkingCopy:
        idxs: dict[str, list[int]] = {}
        for removal in removals:
            idxs.setdefault(self.groups[removal.group].name, []).extend(removal.idxs)
        smaller = WorkingCopy(copy.deepcopy(self.model), self.original, copy.deepcopy(self.record))
        smaller._cut(idxs)
        original, images = self.original, self.original.images
        verification.check_forward(smaller.model, images, original.classes)
        verification.check_training(original.model, smaller.model, images)
        record = smaller.record
        verification.check_equivalent(original.model, smaller.model, record.kept, record.kept_inputs, images)
        return smaller

    def _cut(self, idxs: Mapping[str, list[int]]) -> None:
        """Cut root channels `idxs` of the groups with these names out of every layer of theirs."""
        groups = {group.name: group for group in self.groups}
        for name, removed in idxs.items():
            part = self.graph.part(groups[name], sorted(removed))
            self._note(part)
            self._lose_heads(part)
            part.prune()
            self.record.cuts.append((name, sorted(removed)))
        prunability.finish_pruning(self.model)
        self.groups = self.graph.groups()

    def _note(self, part) -> None:
        """Record which channels of the layers and free parameters of `part` stay."""
        for item in part:
            name = self.graph.names.get(item.dep.target.module)
            if isinstance(item.dep.target.module, nn.Parameter):
                self._note_parameter(item)
                continue
            for side, book in ("out", self.record.kept), ("in", self.record.kept_inputs):
                if name is not None and self.graph.prunes(item.dep.handler, side):
                    width = channels.width(item.dep.target.module, side)
                    gone = set(item.idxs)
                    book[name] = [c for i, c in enumerate(book.get(name, range(width))) if i not in gone]

    def _lose_heads(self, part) -> None:
        """Attention that loses rows of whole heads counts those that are left; a table of position biases follows."""
        for item in part:
            module = self.graph.attention.get(item.dep.target.module)
            if module is not None and self.graph.prunes(item.dep.handler, "out"):
                name = f"{self.graph.names[module]}.{attention.TABLE}"
                book = self.record.kept.get(name, range(module.num_heads))
                kept = attention.lose_heads(module, item.idxs)
                if hasattr(module, attention.TABLE):
                    self.record.kept[name] = [book[head] for head in kept]

    def _note_parameter(self, item) -> None:
        parameter, gone = item.dep.target.module, set(item.idxs)
        name, width = self.graph.traced._param_to_name[parameter], parameter.shape[item.dep.target.pruning_dim]
        book = self.record.kept.get(name, range(width))
        self.record.kept[name] = [c for i, c in enumerate(book) if i not in gone]

    def _blame(self, error: Exception, removals: Sequence[selection.Removal]) -> NoReturn:
        """Find the groups that cannot be pruned even on their own, and name them."""
        touched = {self.groups[removal.group].name for removal in removals}
        culprits = self._culprits(removals)
        if not culprits and not isinstance(error, verification.Different):
            raise BudamaError(f"the pruned model does not work: {' '.join(str(error).split())[:300]}") from error
        named = ", ".join(culprits or [group.name for group in self.groups if group.name in touched])
        which = " (others may follow)" if len(culprits) == MOST_BLAMED else "" if culprits else " together"
        raise BudamaError(
            f"{named} cannot be pruned{which}: the channels pass through an operation that the dependency graph does "
            f"not follow; leave them out with pruning.ignore: [{named}]"
        ) from error

    def _culprits(self, removals: Sequence[selection.Removal]) -> list[str]:
        """Up to MOST_BLAMED groups that cannot lose their first channel, or what was asked for.

        Groups that can be pruned at once can be pruned alone; those that cannot are halved until one is left.
        """
        found: list[int] = []

        def look(by_group: list[list[selection.Removal]]) -> None:
            if not by_group or len(found) == MOST_BLAMED or self._works_without([r for own in by_group for r in own]):
                return
            if len(by_group) == 1:
                found.append(by_group[0][0].group)
                return
            middle = len(by_group) // 2
            look(by_group[:middle])
            look(by_group[middle:])

        look([[selection.Removal(index, group.at([0]), 0.0)] for index, group in enumerate(self.groups)])
        rest = [index for index in range(len(self.groups)) if index not in found]
        asked = [[removal for removal in removals if removal.group == index] for index in rest]
        look([own for own in asked if own])
        return [self.groups[index].name for index in sorted(found)]

    def _works_without(self, removals: Sequence[selection.Removal]) -> bool:
        try:
            self._verified_without(removals)
        except Exception:
            return False
        finally:
            gc.collect()  # a dependency graph is full of cycles: without this, every trial's copy of the model stays
        return True
