"""What every output position of a layer reads, as rows: a layer is then a product of matrices.

A convolution's output at one position is W p + b, with p all inputs below its kernel (`[channels · kernel]`, a part for
each block of a grouped one); a linear layer's is W x + b.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from budama.pruning import channels, gram, reading


def weight_rows(module: Any, weight: Tensor) -> Tensor:
    """`weight` of `module` as `[blocks, outputs, features]`."""
    blocks = reading.blocks(module)
    return weight.reshape(blocks, weight.shape[0] // blocks, -1)


def inputs(module: Any, value: Tensor, output: Tensor, wanted: int, start: float) -> Tensor:
    """`[N, positions, blocks, features]`: what `module` read of `value` for its `output`.

    Of the positions at most `wanted`, spread evenly from `start` (0 to 1) on; N is the first axis of `value`.
    """
    if isinstance(module, channels._ConvNd):
        shape = output.shape[2:]
        read = _patches(module, value, shape, _chosen(shape.numel(), wanted, start))
        return read.unflatten(2, (module.groups, -1))
    return _tokens(value, wanted, start)


def outputs(module: Any, output: Tensor, wanted: int, start: float) -> Tensor:
    """`[N, positions, blocks, outputs]`: what `module` gave at the positions of `inputs`."""
    if isinstance(module, channels._ConvNd):
        places = _chosen(output.shape[2:].numel(), wanted, start).to(output.device)
        return output.flatten(2)[..., places].transpose(1, 2).unflatten(2, (module.groups, -1))
    return _tokens(output, wanted, start)


def _tokens(value: Tensor, wanted: int, start: float) -> Tensor:
    rows = value.reshape(len(value), -1, value.shape[-1])
    return rows[:, _chosen(rows.shape[1], wanted, start).to(value.device), None]


def _chosen(here: int, wanted: int, start: float) -> Tensor:
    return torch.arange(here) if here <= wanted else gram.stretches(here, wanted, start)


def _patches(module: Any, value: Tensor, shape: torch.Size, places: Tensor) -> Tensor:
    """`[N, positions, channels · kernel]`: what a convolution reads for its outputs at `places` of `shape`."""
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = functional.pad(value, module._reversed_padding_repeated_twice, mode=mode)
    offsets = torch.cartesian_prod(*(torch.arange(k) * d for k, d in zip(module.kernel_size, module.dilation)))
    offsets = offsets.reshape(-1, len(shape))
    corners = torch.stack(torch.unravel_index(places, shape), 1) * torch.tensor(module.stride)
    steps = torch.tensor([padded.shape[axis + 1 :].numel() for axis in range(2, padded.ndim)])
    flat = ((corners[:, None] + offsets) * steps).sum(2)
    read = padded.flatten(2)[..., flat.flatten().to(value.device)].unflatten(2, flat.shape)
    return read.transpose(1, 2).flatten(2)
