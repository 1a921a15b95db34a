"""Gates of pruning: what must hold before a pruned model is handed on."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from budama.errors import BudamaError
from budama.networks import outputs
from budama.pruning import channels

TOLERANCE = 2e-3  # of the largest logit; float32 rounding over a hundred layers stays below 1e-4 of it

_EXACT = (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.PReLU)
_NORMALISING = (nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)
_MIXING = {
    *("softmax", "log_softmax", "scaled_dot_product_attention", "multi_head_attention_forward"),
    *("matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "baddbmm", "einsum", "bilinear"),
    *("normalize", "norm", "vector_norm", "layer_norm", "group_norm", "instance_norm", "cumsum", "sort", "topk"),
}


def check_forward(model: nn.Module, images: Tensor, classes: int) -> Tensor:
    """Logits `[N, classes]` of `model` for `images`; BudamaError where they have another shape."""
    with torch.no_grad():
        logits = outputs.logits(model(images))
    if logits.shape != (len(images), classes):
        shape = list(logits.shape)
        raise BudamaError(f"the pruned model gives {shape} for {len(images)} images, not {classes} classes")
    return logits


def check_equivalent(original: nn.Module, pruned: nn.Module, kept_inputs: dict[str, list[int]], images: Tensor) -> None:
    """The pruned model computes what `original` does when nothing reads the removed channels.

    `kept_inputs` names the input channels that each layer still reads. This finds a channel that was cut from one layer
    and read as another in the next. Normalisations over channels differ by right, so both models are compared without
    them: what is asked is how the layers are wired. Models that mix channels by products of activations (attention) or
    by matrices that belong to no layer are not looked at.
    """
    exact = _is_exact(original)
    if exact:
        expected, logits = _silenced_and_pruned(original, pruned, kept_inputs, images)
    elif _mixes(original, images):
        return
    else:
        original, pruned = _without_normalisation(original), _without_normalisation(pruned)
        try:  # nothing keeps values small now: float32's rounding would grow with every layer
            expected, logits = _silenced_and_pruned(original.double(), pruned.double(), kept_inputs, images.double())
        except RuntimeError:  # a model that makes float32 tensors of its own
            expected, logits = _silenced_and_pruned(original.float(), pruned.float(), kept_inputs, images)
    difference, largest = (expected - logits).abs().max().item(), expected.abs().max().item()
    overflown = not exact and not math.isfinite(largest)  # without its normalisations a deep model may
    if not difference <= TOLERANCE * max(largest, 1e-6) and not overflown:
        raise BudamaError(
            f"the pruned model does not compute what the original does without the removed channels (logits differ by "
            f"{difference:.3g})"
        )


def _silenced_and_pruned(
    original: nn.Module, pruned: nn.Module, kept_inputs: dict[str, list[int]], images: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits of the original in which no layer reads a removed channel, and of the pruned model."""
    silenced = copy.deepcopy(original).eval()
    for name, module in silenced.named_modules():
        if name in kept_inputs and isinstance(module, channels.CONSUMERS) and not channels.is_depthwise(module):
            scale = torch.zeros(channels.width(module, "in"), dtype=images.dtype)
            scale[kept_inputs[name]] = 1
            channels.scale_inputs(module, scale)
    with torch.no_grad():
        return outputs.logits(silenced(images)), outputs.logits(pruned(images))


def _is_exact(model: nn.Module) -> bool:
    """Whether all of the model's parameters are in layers for which removing is the same as not reading."""
    attention = any(isinstance(module, nn.MultiheadAttention) for module in model.modules())
    mixing = any(isinstance(module, _NORMALISING) for module in model.modules())
    return not (attention or mixing or list(_free_parameters(model)))


def _free_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters that are in no layer of which the gate knows what it reads."""
    held = {id(p) for m in model.modules() if isinstance(m, _EXACT) for p in m.parameters(recurse=False)}
    return (parameter for parameter in model.parameters() if id(parameter) not in held)


def _mixes(model: nn.Module, images: Tensor) -> bool:
    """Whether channels are mixed where no layer does it: by products of activations, or by a matrix of its own.

    A free parameter of at most one dimension scales or shifts what passes: nothing reads a channel by it.
    """
    normalising = {id(p) for m in model.modules() if isinstance(m, _NORMALISING) for p in m.parameters(recurse=False)}
    free = [parameter for parameter in _free_parameters(model) if id(parameter) not in normalising]
    if any(sum(size > 1 for size in parameter.shape) > 1 for parameter in free):
        return True
    with _Watch() as watch, torch.no_grad():
        _without_normalisation(model)(images)
    return watch.mixes


class _Watch(TorchFunctionMode):
    """Notes whether a function was called that mixes channels without a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.mixes = False

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.mixes = self.mixes or getattr(func, "__name__", "") in _MIXING
        return func(*args, **(kwargs or {}))


def _without_normalisation(model: nn.Module) -> nn.Module:
    """A copy in which layer, group and local response normalisation let everything pass."""
    copied = copy.deepcopy(model).eval()
    for module in copied.modules():
        for name, child in module.named_children():
            if isinstance(child, _NORMALISING):
                setattr(module, name, nn.Identity())
    return copied
