"""Gates of pruning: what must hold before a pruned model is handed on."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from budama.errors import BudamaError
from budama.networks import outputs
from budama.pruning import channels

TOLERANCE = 2e-3  # of the largest logit; float32 rounding over a hundred layers stays below 1e-4 of it

_EXACT = (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.PReLU)


def check_forward(model: nn.Module, images: Tensor, classes: int) -> Tensor:
    """Logits `[N, classes]` of `model` for `images`; BudamaError where they have another shape."""
    with torch.no_grad():
        logits = outputs.logits(model(images))
    if logits.shape != (len(images), classes):
        shape = list(logits.shape)
        raise BudamaError(f"the pruned model gives {shape} for {len(images)} images, not {classes} classes")
    return logits


def check_equivalent(original: nn.Module, logits: Tensor, kept_inputs: dict[str, list[int]], images: Tensor) -> None:
    """The pruned model computes what `original` does when nothing reads the removed channels.

    `logits` are the pruned model's for `images`; `kept_inputs` names the input channels that each layer still reads.
    This finds a channel that was cut from one layer and read as another in the next. Models with layers that mix
    channels without weights (layer and group normalisation, attention) differ by right, and are not looked at.
    """
    if not _is_exact(original):
        return
    silenced = copy.deepcopy(original).eval()
    for name, module in silenced.named_modules():
        if name in kept_inputs and isinstance(module, channels.CONSUMERS) and not channels.is_depthwise(module):
            scale = torch.zeros(channels.width(module, "in"))
            scale[kept_inputs[name]] = 1
            channels.scale_inputs(module, scale)
    with torch.no_grad():
        expected = outputs.logits(silenced(images))
    difference = (expected - logits).abs().max().item()
    if not difference <= TOLERANCE * max(expected.abs().max().item(), 1e-6):
        raise BudamaError(
            f"the pruned model does not compute what the original does without the removed channels (logits differ by "
            f"{difference:.3g})"
        )


def _is_exact(model: nn.Module) -> bool:
    """Whether all of the model's parameters are in layers for which removing is the same as not reading."""
    held = {id(p) for m in model.modules() if isinstance(m, _EXACT) for p in m.parameters(recurse=False)}
    attention = any(isinstance(module, nn.MultiheadAttention) for module in model.modules())
    mixing = any(isinstance(module, nn.LocalResponseNorm | nn.GroupNorm | nn.LayerNorm) for module in model.modules())
    return not (attention or mixing) and all(id(parameter) in held for parameter in model.parameters())
