"""Gram matrices of what layers read: which channels of an input can be predicted from which others.

For the input x of a consuming layer, over images and positions: G = Σ x xᵀ, `[C, C]`, and Σ x, `[C]`. Both are summed
in float64, and the products are float64, too: least squares divide by differences of these sums, in which the small
channels must not be lost. The cost stays below that of the layers, since at most `POSITIONS` positions an image are
looked at, one drawn from each of as many equal stretches, the same ones for every layer of that size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from budama.networks import calls, modes
from budama.pruning import channels
from budama.pruning.dependency import Group

POSITIONS = 128  # an image and layer, at most


@dataclass
class Gram:
    """Sums over `count` positions: `total` `[C]`, `product` `[C, C]`; float64."""

    count: int
    total: Tensor
    product: Tensor

    @property
    def mean(self) -> Tensor:
        """`[C]`."""
        return self.total / self.count

    def moment(self, *, centred: bool) -> Tensor:
        """E[x xᵀ] `[C, C]`, or the covariance where `centred`."""
        second = self.product / self.count
        return second - torch.outer(self.mean, self.mean) if centred else second


@dataclass(frozen=True)
class Reader:
    """How a layer's input is seen as channels: `features[c]` are the places of channel c on the input's axis.

    `[C, 1]` for most; a flattened channel has one place a pixel, `[C, pixels]`, which count as positions.
    """

    name: str
    module: Any
    features: Tensor

    @property
    def view(self) -> tuple:
        """Equal for readers whose `rows` of one tensor are equal."""
        conv = isinstance(self.module, channels._ConvNd)
        flattened = tuple(self.features.flatten().tolist()) if self.features.shape[1] > 1 else None
        return conv, _steps(self.module) if conv else None, flattened

    def rows(self, value: Tensor) -> Tensor:
        """An input as `[batch or 1, positions, C]`: a batch's images are looked at at the same positions."""
        if isinstance(self.module, channels._ConvNd):
            steps = _steps(self.module)
            read = value[(slice(None), slice(None), *(slice(None, None, step) for step in steps))] if steps else value
            return read.flatten(2).transpose(1, 2)
        flat = value.reshape(1, -1, value.shape[-1]) if value.ndim != 3 else value
        if self.features.shape[1] == 1:
            return flat
        places = self.features.T.flatten().to(value.device)
        return flat[..., places].reshape(1, -1, len(self.features))


def readers(model: nn.Module, groups: Sequence[Group], kept_inputs: Mapping[str, Sequence[int]]) -> list[Reader]:
    """The convolutions and linear layers of which `kept_inputs` names the inputs that stay, in the model's order.

    Depthwise convolutions, which read each channel for itself, are left out; `groups` are the model's.
    """
    found = []
    for name, module in model.named_modules():
        if name in kept_inputs and isinstance(module, channels.READERS) and not channels.is_depthwise(module):
            found.append(Reader(name, module, _features(name, module, groups, set(kept_inputs[name]))))
    return found


def _features(name: str, module: Any, groups: Sequence[Group], kept: set[int]) -> Tensor:
    """The places of each channel on a layer's input, `[C, places]`; `[all, 1]` where they are not equally many."""
    width = channels.width(module, "in")
    single = torch.arange(width)[:, None]
    if not isinstance(module, nn.Linear):
        return single
    found = []
    for member in (m for group in groups for m in group.members if m.name == name and m.role == "in"):
        order = torch.argsort(member.roots * width + member.idxs)
        found.append(member.idxs[order].reshape(len(member.roots.unique()), -1))
    if not found or len({part.shape[1] for part in found}) > 1 or sum(part.numel() for part in found) != width:
        return single
    features = torch.cat(found)
    whole = all(len(kept.intersection(places)) in (0, len(places)) for places in features.tolist())
    return features if whole and len(features.unique()) == width else single


def _steps(module: Any) -> tuple[int, ...] | None:
    """The stride of a convolution that passes over some positions, being of kernel 1; None where it reads all."""
    wide = any(k > 1 for k in module.kernel_size) or module.padding == "same" or any(module.padding)
    return None if module.transposed or wide or max(module.stride) == 1 else module.stride


def moments(model: nn.Module, groups: Sequence[Group], batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """For every layer that reads channels: ``LAYER/covariance`` `[C, C]` and ``LAYER/channel`` `[features]`.

    The latter is the channel that each place of the input belongs to; float64 and int64, on the CPU. Depthwise
    convolutions are left out.
    """
    layers = readers(model, groups, {name: [] for name, _ in model.named_modules()})
    values: dict[str, Tensor] = {}
    for name, found in collect(model, layers, batches).items():
        features = next(reader.features for reader in layers if reader.name == name)
        channel = torch.empty(features.numel(), dtype=torch.long)
        channel[features.flatten()] = torch.arange(len(features)).repeat_interleave(features.shape[1])
        values |= {f"{name}/covariance": found.moment(centred=True).cpu(), f"{name}/channel": channel}
    return values


def collect(
    model: nn.Module, layers: Sequence[Reader], batches: Iterable[Tensor], *, positions: int = POSITIONS, seed: int = 0
) -> dict[str, Gram]:
    """The Gram matrix of every layer's input by its name, over `batches` of images `[N, C, H, W]`, in one pass.

    A layer that the model does not call has none; one that it calls twice has both inputs. An input that several layers
    read is looked at once. The model is in evaluation mode, and is left as it was.
    """
    sums: dict[str, Gram] = {}
    seen: dict[tuple, tuple[Tensor, Gram]] = {}
    draw = torch.Generator().manual_seed(seed)
    start = 0.0

    def add(reader: Reader, value: Tensor) -> None:
        key = (value.data_ptr(), value.shape, value.stride(), value._version, reader.view)
        if key not in seen:  # the tensor is kept, so that its address is not given to another one in this batch
            seen[key] = (value, _sums(_spread(reader.rows(value), positions, images, start)))
        own = seen[key][1]
        known = sums.get(reader.name)
        sums[reader.name] = own if known is None else _added(known, own)

    device = next(model.parameters()).device
    with modes.evaluation(model), torch.no_grad(), calls.through_layers(model), ExitStack() as hooks:
        for reader in layers:
            hooks.enter_context(
                reader.module.register_forward_pre_hook(lambda _, args, reader=reader: add(reader, args[0]))
            )
        for batch in batches:
            images, start = len(batch), float(torch.rand(1, generator=draw))
            model(batch.to(device, non_blocking=True))
            seen.clear()
    return sums


def _spread(rows: Tensor, positions: int, images: int, start: float) -> Tensor:
    """At most `positions` rows an image of `[batch, positions, C]`, as `[rows, C]`: see `stretches`."""
    batch, here, width = rows.shape
    wanted = positions * images // batch
    if here > wanted:
        rows = rows[:, stretches(here, wanted, start).to(rows.device)]
    return rows.reshape(-1, width)


def stretches(here: int, wanted: int, start: float) -> Tensor:
    """Of `here` positions `[wanted]`, one in each of as many equal stretches.

    Within its stretch a position is where the golden ratio's multiples, from `start` (0 to 1) on, put it: evenly over
    all columns of an image, whose width may be a multiple of the stretch.
    """
    stretch = torch.arange(wanted, dtype=torch.float64)
    within = (start + stretch * 0.6180339887498949) % 1
    return ((stretch + within) * here / wanted).long().clamp_max(here - 1)


def _sums(rows: Tensor) -> Gram:
    exact = rows.double()
    return Gram(len(exact), exact.sum(0), exact.T @ exact)


def _added(one: Gram, other: Gram) -> Gram:
    return Gram(one.count + other.count, one.total + other.total, one.product + other.product)
