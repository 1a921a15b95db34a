"""Gradients on a CPU that are right: a context for every forward and backward pass that takes some, of any model.

Where the processor has no AVX-512, oneDNN (as in PyTorch 2.14.1) writes out of bounds when it computes the weight
gradient of some convolutions: float32, channels_last, 1 × 1, a stride above 1, fewer than 8 input channels. The process
dies, or goes on with wrong numbers. Pruning leaves such shortcuts in ResNets.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

SAFE_FROM = 16  # input channels of a group: twice the width below which the kernels fail
LAYERS_ALONE = ("torch.nn.", "torchvision.", "budama.")  # their modules convolve by layers, not by function calls


def exact(model: nn.Module, device: torch.device | str) -> AbstractContextManager:
    """The context for passes through `model` on `device` whose gradients are wanted; backward passes belong inside.

    In it a narrow convolution of kernel 1 that skips positions reads an input without these, with stride 1: the same
    product, from kernels that are right. It holds for layers and for calls of torch.nn.functional in the code of a
    model or of a layer. Where no such convolution can come, nothing is done, and nothing costs time.
    """
    on_cpu = torch.device(device).type == "cpu"
    return _WithoutSkipping() if on_cpu and any(map(_may_skip, model.modules())) else nullcontext()


def _may_skip(module: nn.Module) -> bool:
    if not type(module).__module__.startswith(LAYERS_ALONE):
        return True
    return isinstance(module, nn.modules.conv._ConvNd) and _skips(module.weight, module.stride, module.padding)


class _WithoutSkipping(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        convolves = function in (functional.conv1d, functional.conv2d, functional.conv3d)
        return (_convolution if convolves else _call)(function, *args, **(kwargs or {}))


def _call(function, *args, **kwargs):
    return function(*args, **kwargs)


def _convolution(function, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """`function` of torch.nn.functional with the arguments that it has there."""
    if _skips(weight, stride, padding):
        steps = _tuple(stride) * ((weight.dim() - 2) // len(_tuple(stride)))
        input, stride = input[(..., *(slice(None, None, step) for step in steps))], 1
    return function(input, weight, bias, stride, padding, dilation, groups)


def _skips(weight: torch.Tensor, stride, padding) -> bool:
    """Whether a convolution is narrow, of kernel 1, and leaves out positions of its input."""
    whole = set(weight.shape[2:]) == {1} and {0, "valid"}.issuperset(_tuple(padding))
    return whole and weight.shape[1] < SAFE_FROM and max(_tuple(stride)) > 1


def _tuple(value) -> tuple:
    return (value,) if isinstance(value, int | str) else tuple(value)
