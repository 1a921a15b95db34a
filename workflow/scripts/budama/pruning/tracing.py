"""Torch-Pruning's search for the layers that share channels, with an end.

The search passes lists of channel indices from layer to layer. Where a model lays channels along another axis (a
convolution over channels, a product of a map with its own transpose) each pass yields a new list, and the library goes
on until memory is gone. The limits count what the search holds, so that they are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from budama.errors import one_line
from budama.slow_imports import without

with without("timm"):  # as in `dependency`
    from torch_pruning import ops
    from torch_pruning.dependency import graph as library
    from torch_pruning.dependency import index_mapping

STEPS = 20_000  # layers and operations that one search passes; the largest of docs/models.md stay below 2,000
INDICES = 5_000_000  # channel indices in the lists of one search: 0.5 GB


class Endless(Exception):
    """A search went past a limit. `reached`: (dependency, channel indices), in its order."""

    def __init__(self, reached: Sequence[tuple[Any, Sequence[Any]]]) -> None:
        super().__init__("the search for the layers that share these channels does not end")
        self.reached = reached


class Lost(Exception):
    """The library failed in a search, on a layer that gives several outputs, say."""


def group(graph: library.DependencyGraph, layer: nn.Module, widest: int) -> library.Group:
    """The group of all output channels of `layer`. `widest`: channels of the model's widest layer.

    Raises Endless where a list names more channels than any layer has, or the search is too long or too large; Lost
    where the library itself fails.
    """
    pruner = graph.get_pruner_of_module(layer)
    channels = list(range(pruner.get_out_channels(layer)))
    with _limits(widest):
        try:
            return graph.get_pruning_group(layer, pruner.prune_out_channels, channels)
        except (Endless, MemoryError):
            raise
        except Exception as error:
            raise Lost(f"{type(error).__name__}: {one_line(error)}") from error


def split_in_three(graph: library.DependencyGraph, layers: Iterable[nn.Module]) -> None:
    """Tell the library where the outputs of `layers` (queries, keys and values) are split: it leaves a split out behind
    a class token, and does not follow one as channels go."""
    for layer in layers:
        node = graph.module2node.get(layer)
        for split in (after for after in node.outputs if after.type == ops.OPTYPE.SPLIT) if node else ():
            width = graph.get_out_channels(layer) // 3
            split.enable_index_mapping = True
            split.module.split_sizes, split.module.offsets = [width] * 3, [0, width, 2 * width, 3 * width]
            index_mapping.update_split_index_mapping(graph, split)


@contextmanager
def _limits(widest: int) -> Iterator[None]:
    """Groups that the library makes meanwhile count what is put into them, and know at once what they have.

    The library looks through a whole group for each step of its search: minutes, where shortcuts join parts of layers.
    """

    class Limited(library.Group):
        def __init__(self) -> None:
            super().__init__()
            self.indices = 0
            self.counted: set[int] = set()
            self.known: set[tuple] = set()

        def has_pruning_op(self, dep: Any, idxs: Any) -> bool:
            return (dep.target, dep.handler, tuple(idxs)) in self.known

        def add_dep(self, dep: Any, idxs: Any) -> None:
            super().add_dep(dep, idxs)
            self.known.add((dep.target, dep.handler, tuple(idxs)))
            if id(idxs) not in self.counted:  # operations that move no channel hand on the same list
                self.counted.add(id(idxs))
                self.indices += len(idxs)
            if len(idxs) > widest or len(self) > STEPS or self.indices > INDICES:
                raise Endless(self.items)

    own = library.Group
    library.Group = Limited
    try:
        yield
    finally:
        library.Group = own
