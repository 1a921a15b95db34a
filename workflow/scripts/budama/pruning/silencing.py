"""The original as it would be if nothing read the channels that pruning removes: what a pruned model must compute.

Where channels meet in convolutions, linear layers and BatchNorm alone, it is enough that no layer reads a removed
channel. Where they meet elsewhere, that layer's reading is not all there is:

- in products of activations (attention) and matrices of no layer: there a removed channel must be 0, so all that
  produces it gives 0;
- in normalisations over channels, whose statistics are over fewer channels by right: in both models they only divide
  an image's features by their length, which zeros do not change; a model's own layers get the kept channels alone.

Where removing is still not the same (a softmax over channels, standardised weights), a channel that is exactly dead
would change the logits by its removal; such groups are refused.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from budama.networks import calls
from budama.pruning import attention, channels

Kept = dict[str, list[int]]  # the channels of the original that layers still have, by their names

_EXACT = (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.PReLU)
_OVER_CHANNELS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)


STILL = 1e-4  # of the largest activation: rounding is below


def is_exact(model: nn.Module) -> bool:
    """Whether all of the model's parameters are in layers for which removing is the same as not reading."""
    if any(isinstance(module, (*_OVER_CHANNELS, nn.MultiheadAttention)) for module in model.modules()):
        return False
    held = {id(p) for m in model.modules() if isinstance(m, _EXACT) for p in m.parameters(recurse=False)}
    return all(id(parameter) in held for parameter in model.parameters())


def consumers_alone(original: nn.Module, kept_inputs: Kept) -> nn.Module:
    """A copy in which no layer reads a removed channel."""
    silenced = copy.deepcopy(original).eval()
    for name, module in silenced.named_modules():
        if name in kept_inputs and isinstance(module, channels.READERS) and not channels.is_depthwise(module):
            channels.scale_inputs(module, _scale(kept_inputs[name], channels.width(module, "in")))
    return silenced


def all_that_is_gone(original: nn.Module, pruned: nn.Module, kept: Kept, kept_inputs: Kept) -> nn.Module:
    """A copy in which a removed channel is read by no layer, 0 where it is produced, and in no normalisation."""
    return producers_alone(consumers_alone(original, kept_inputs), pruned, kept)


def producers_alone(original: nn.Module, pruned: nn.Module, kept: Kept) -> nn.Module:
    """A copy in which a removed channel is 0 where it is produced, and in no normalisation."""
    silenced = with_neutral_norms(original)
    smaller, shapes = dict(pruned.named_modules()), {name: one.shape for name, one in pruned.named_parameters()}
    for name, parameter in silenced.named_parameters():
        if name in kept and name in shapes:
            _silence_parameter(parameter, kept[name], shapes[name])
    for name, module in list(silenced.named_modules()):
        if name in kept and isinstance(module, nn.MultiheadAttention):
            _silence_attention(module, kept[name])
        elif name in kept and isinstance(module, (*_EXACT, _Neutral)):
            _silence_outputs(module, kept[name])
        elif over := _channels_of(name, module, kept):
            parent, _, child = name.rpartition(".")
            setattr(silenced.get_submodule(parent), child, _OnKept(module, smaller[name], over))
        elif attention.is_embedding(module) and f"{name}.qkv" in kept:
            attention.widen_queries(module, len(kept[f"{name}.qkv"]))
    return silenced


def living(
    original: nn.Module,
    pruned: nn.Module,
    kept: Kept,
    kept_inputs: Kept,
    images: Tensor,
) -> list[str]:
    """The layers at which a removed channel tells images apart although nothing produces it: an operation between
    (a cumulative sum, a sum over channels that is added to all) writes other channels into its place."""
    silenced, found = producers_alone(original, pruned, kept), []

    def look(name: str, module: nn.Module, given: Tensor) -> None:
        axis = -1 if isinstance(module, nn.Linear) else 1
        gone = sorted(set(range(channels.width(module, "in"))) - set(kept_inputs[name]))
        read = given.index_select(axis, torch.tensor(gone, device=given.device, dtype=torch.long))
        if read.numel() and (read.amax(0) - read.amin(0)).max() > STILL * given.abs().max():
            found.append(name)

    for name, module in silenced.named_modules():
        if name in kept_inputs and isinstance(module, channels.READERS) and not channels.is_depthwise(module):
            calls.watch_input(module, partial(look, name, module))
    with calls.through_layers(silenced):
        silenced(images)
    return list(dict.fromkeys(found))


def with_neutral_norms(model: nn.Module) -> nn.Module:
    """A copy in which normalisations over channels do the same to all channels of an image."""
    copied = copy.deepcopy(model).eval()
    for module in copied.modules():
        for name, child in module.named_children():
            if isinstance(child, _OVER_CHANNELS) and not attention.within_a_head(module, name):
                setattr(module, name, _Neutral(child))
    return copied


class _Neutral(nn.Module):
    """A normalisation that divides an image's features by their length, and keeps the scale and shift of channels."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
        self.trailing = type(norm) in (nn.LayerNorm, nn.RMSNorm)

    def forward(self, x: Tensor) -> Tensor:
        positions = x[0].numel() // (x.shape[1] if self.weight is None else self.weight.numel())
        length = x.flatten(1).norm(dim=1).clamp_min(1e-12) / positions**0.5
        x = x / length.view(-1, *[1] * (x.ndim - 1))
        if self.weight is not None:
            x = x * self._laid(self.weight, x)
        return x if self.bias is None else x + self._laid(self.bias, x)

    def _laid(self, value: Tensor, x: Tensor) -> Tensor:
        trailing = self.trailing or x.shape[1] != len(value)
        return value if trailing else value.view(-1, *[1] * (x.ndim - 2))


class _OnKept(nn.Module):
    """A layer that knows channels by its parameters alone, on the kept channels; the others become 0.

    Its class may keep their number in any attribute, so it is the pruned model's layer with the original's parameters.
    """

    def __init__(self, module: nn.Module, pruned: nn.Module, kept: list[int]) -> None:
        super().__init__()
        self.inner, self.kept = copy.deepcopy(pruned).eval(), kept
        self.width = max(parameter.numel() for parameter in module.parameters(recurse=False))
        for name, parameter in self.inner.named_parameters(recurse=False):
            whole = getattr(module, name).data
            axis = next((i for i, size in enumerate(whole.shape) if size == self.width), None)
            if axis is not None and parameter.shape[axis] == len(kept):
                parameter.data = whole.index_select(axis, torch.tensor(kept, device=whole.device)).to(parameter)

    def forward(self, x: Tensor, *args, **kwargs) -> Tensor:
        fitting = [axis for axis in range(x.ndim) if x.shape[axis] == self.width]
        axis = 1 if 1 in fitting else fitting[-1]
        kept = torch.tensor(self.kept, device=x.device)
        given = self.inner(x.index_select(axis, kept), *args, **kwargs)
        return torch.zeros_like(x).index_copy(axis, kept, given)


def _channels_of(name: str, module: nn.Module, kept: Kept) -> list[int] | None:
    """The kept channels of a layer that has nothing but vectors of one length: a normalisation, a scale, a shift."""
    parameters = dict(module.named_parameters(recurse=False))
    books = [kept[key] for own in parameters if (key := f"{name}.{own}" if name else own) in kept]
    vectors = all(sum(size > 1 for size in one.shape) <= 1 for one in parameters.values())
    leaf = not any(True for _ in module.children())
    return books[0] if name and leaf and vectors and books and all(book == books[0] for book in books) else None


def _silence_outputs(module: nn.Module, kept: list[int]) -> None:
    """What produces a removed channel gives 0."""
    scale = _scale(kept, channels.width(module, "out"))
    for name in ("weight", "bias"):
        value = channels.parameter(module, name)
        if value is not None and (name == "bias" or not isinstance(module, nn.PReLU)):
            channels.scale_outputs(module, name, scale)


def _silence_parameter(parameter: Tensor, kept: list[int], shape: torch.Size) -> None:
    """A parameter that is in no layer (a class token, positions) is 0 in the removed channels."""
    axis = next((i for i, (before, after) in enumerate(zip(parameter.shape, shape)) if before != after), None)
    if axis is not None:
        gone = sorted(set(range(parameter.shape[axis])) - set(kept))
        parameter.data.index_fill_(axis, torch.tensor(gone, device=parameter.device), 0)


def _silence_attention(module: nn.MultiheadAttention, kept: list[int]) -> None:
    """The removed channels of the embedding are 0 in queries, keys, values and outputs, and not read. Heads become
    narrower by right, and scores are divided by the root of their width: so queries are multiplied for it."""
    width = module.embed_dim
    scale, wider = _scale(kept, width), (width / len(kept)) ** 0.5
    for name, side in channels.slices(module, "both"):
        value = channels.parameter(module, name)
        if value is None:
            continue
        data, factor = value.data, scale.to(value)
        if side == "in":
            data.mul_(factor)
        elif name.startswith("in_proj"):
            rows = torch.cat([factor * wider, factor, factor])
            data.mul_(rows if data.ndim == 1 else rows[:, None])
        else:
            rows = factor * wider if name.startswith("q_proj") else factor
            data.mul_(rows if data.ndim == 1 else rows[:, None])


def _scale(kept: list[int], width: int) -> Tensor:
    scale = torch.zeros(width)
    scale[kept] = 1
    return scale
