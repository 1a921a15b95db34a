"""What a layer makes of its input: its weights by the channels that they read, and who reads its output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from budama.pruning import channels

if TYPE_CHECKING:
    from budama.pruning.dependency import Graph

_BATCHNORM = nn.modules.batchnorm._BatchNorm


def transposed(module: Any) -> bool:
    return isinstance(module, channels._ConvNd) and module.transposed


def blocks(module: Any) -> int:
    """Into how many blocks a layer divides its input, each of which its own outputs read."""
    return module.groups if isinstance(module, channels._ConvNd) else 1


def owners(model: nn.Module) -> Counter[int]:
    """How many layers hold a parameter, by its id."""
    return Counter(id(p) for module in model.modules() for p in module.parameters(recurse=False))


def of_outputs(module: Any, kept: Sequence[int] | None) -> Tensor | None:
    """The weights that produce the outputs `kept` (None: all); None where blocks of a transposed layer lost some."""
    weight = module.weight.detach()
    if kept is None:
        return weight
    if transposed(module):
        return weight[:, list(kept)] if module.groups == 1 else None
    return weight[list(kept)]


def same(module: Any, weight: Tensor, layer: Any, kept: Sequence[int]) -> bool:
    """Whether `layer` has those columns of `weight`, one of `module`'s form, that read the features `kept`."""
    if blocks(module) != blocks(layer):
        return False
    rows, left = channels.input_rows(module, weight), channels.input_rows(layer, layer.weight.detach())
    return left.shape == (len(kept), rows.shape[1]) and torch.equal(rows[list(kept)], left)


def from_input_rows(module: Any, rows: Tensor) -> Tensor:
    """The weight of `module` of which `rows`, `[in_channels, weights that consume the channel]`, are the input rows."""
    shape = module.weight.shape
    if transposed(module):
        return rows.reshape(shape)
    if isinstance(module, channels._ConvNd):
        outs = shape[0] // module.groups
        return rows.reshape(module.groups, shape[1], outs, -1).transpose(1, 2).reshape(shape)
    return rows.T.contiguous()


def sum_of_kernel(shifts: Sequence[Tensor], module: Any) -> Tensor:
    """What a constant input adds to every output `[out_channels]`: of each block `[its outputs · kernel]`, summed."""
    outs = channels.width(module, "out") // len(shifts)
    return torch.cat([shift.reshape(outs, -1).sum(1) for shift in shifts])


def normalised(graph: Graph, module: nn.Module) -> bool:
    """Whether all that reads a layer's output are BatchNorms that keep running statistics."""
    following = graph.traced.module2node[module].outputs
    norms = [node.module for node in following if isinstance(node.module, _BATCHNORM)]
    return 0 < len(norms) == len(following) and all(norm.track_running_stats for norm in norms)
