"""Which part of a layer's weights belongs to which of its channels.

Every weight is laid out as a matrix with one row a channel: row c of `output_rows` holds the weights that produce
output channel c, row c of `input_rows` the weights that consume input channel c. Grouped, depthwise and transposed
convolutions are exact: an input channel of a grouped convolution is consumed by the filters of its own group alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

READERS = (_ConvNd, nn.Linear)
CONSUMERS = (*READERS, nn.MultiheadAttention)


def is_depthwise(module: nn.Module) -> bool:
    """Whether a layer filters each channel on its own, so that its input and output channels are the same ones."""
    return isinstance(module, _ConvNd) and module.groups == module.out_channels == module.in_channels > 1


def output_rows(module: nn.Module, weight: Tensor) -> Tensor:
    """`weight` (or anything of its shape) of `module` as `[out_channels, weights that produce the channel]`."""
    if isinstance(module, _ConvNd) and module.transposed:
        return _grouped(weight, module.groups).transpose(1, 2).flatten(2).flatten(0, 1)
    return weight.reshape(weight.shape[0], -1)


def input_rows(module: nn.Module, weight: Tensor) -> Tensor:
    """`weight` (or anything of its shape) of `module` as `[in_channels, weights that consume the channel]`."""
    if isinstance(module, _ConvNd) and module.transposed:
        return weight.flatten(1)
    if isinstance(module, _ConvNd):
        return _grouped(weight, module.groups).transpose(1, 2).flatten(2).flatten(0, 1)
    return weight.transpose(0, 1)


def slices(module: nn.Module, role: str) -> list[tuple[str, str]]:
    """The parameters that hold channels of `module` in this role, as (parameter name, "out" or "in").

    `role` is "out" (the layer produces the channel), "in" (it consumes it) or "both" (it passes it through:
    normalisation, depthwise convolution, attention over an embedding). Biases belong to the produced channel.
    """
    if isinstance(module, nn.MultiheadAttention):
        packed = ["in_proj_weight"] if module.in_proj_weight is not None else [f"{x}_proj_weight" for x in "qkv"]
        pairs = [(name, side) for name in [*packed, "out_proj.weight"] for side in ("out", "in")]
        return [*pairs, ("in_proj_bias", "out"), ("out_proj.bias", "out")]
    if role == "in":
        return [("weight", "in")]
    return [("weight", "out"), ("bias", "out")]


def rows(module: nn.Module, name: str, side: str, value: Tensor) -> Tensor:
    """`value`, shaped like parameter `name` of `module`, as `[channels, n]`: one row a channel of the given side."""
    if value.ndim == 1 and name != "in_proj_bias":
        return value[:, None]
    if name.startswith("in_proj") and side == "out":  # query, key and value stand below one another
        return value.reshape(3, value.shape[0] // 3, -1).transpose(0, 1).flatten(1)
    return output_rows(module, value) if side == "out" else input_rows(module, value)


def parameter(module: nn.Module, name: str) -> Tensor | None:
    """Parameter `name` of `module` ("out_proj.weight" too), or None where the layer has none."""
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, torch.Tensor) else None


def _grouped(weight: Tensor, groups: int) -> Tensor:
    """A convolution's weight as `[groups, first axis / groups, second axis, kernel]`."""
    return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)


def width(module: Any, side: str) -> int:
    """Number of channels of `module` on a side, "out" or "in"."""
    if isinstance(module, _ConvNd):
        return module.out_channels if side == "out" else module.in_channels
    if isinstance(module, nn.Linear):
        return module.out_features if side == "out" else module.in_features
    if isinstance(module, nn.MultiheadAttention):
        return module.embed_dim
    if isinstance(module, nn.LayerNorm):
        return module.normalized_shape[-1]
    for name in ("num_features", "num_channels", "num_parameters", "embedding_dim"):
        if hasattr(module, name):
            return getattr(module, name)
    return module.weight.shape[-1]


def has_width(module: Any) -> bool:
    """Whether this is a layer of which the number of channels is known; of a recurrent one it is not."""
    try:
        return isinstance(width(module, "out"), int)
    except AttributeError:
        return False


def scale_inputs(module: Any, scale: Tensor) -> None:
    """Multiply the weights that consume input channel c by `scale[c]`, in place (convolutions and linear layers)."""
    weight = module.weight.data
    scale = scale.to(weight)
    if isinstance(module, nn.Linear):
        weight.mul_(scale)
    elif module.transposed:
        weight.mul_(scale.view(-1, *[1] * (weight.ndim - 1)))
    else:
        grouped = _grouped(weight, module.groups)
        weight.copy_((grouped * scale.view(module.groups, 1, -1, 1)).reshape(weight.shape))


def scale_outputs(module: Any, name: str, scale: Tensor) -> None:
    """Multiply what parameter `name` ("weight" or "bias") gives to output channel c by `scale[c]`, in place."""
    value = getattr(module, name).data
    scale = scale.to(value)
    if name == "weight" and isinstance(module, _ConvNd) and module.transposed:
        grouped = _grouped(value, module.groups)
        value.copy_((grouped * scale.view(module.groups, 1, -1, 1)).reshape(value.shape))
    else:
        value.mul_(scale.view(-1, *[1] * (value.ndim - 1)))
