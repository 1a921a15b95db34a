"""Gradients of convolutions of the shapes that pruning leaves, against float64: a program, since wrong kernels end it.

Prints each shape before it is computed and how far its gradients are off after it; ends with `all right`. `--plain`
takes PyTorch's own kernels, without budama's context.
"""

import argparse
import itertools
from contextlib import nullcontext

import torch
from torch import nn
from torch.nn import functional

from budama.networks import gradients


class Anything(nn.Module):
    """A model of which nothing is known: its code may call torch.nn.functional."""


WIDTHS = {1: (*range(1, 18), 31, 32, 33), **dict.fromkeys((3, 5, 7), (1, 2, 3, 7, 8, 9, 15, 16, 17, 33))}  # by kernel
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}  # of the largest value


def shapes():
    """(kernel, stride, input channels, output channels, groups); the inputs are 16 × 16 or 8 × 8."""
    for kernel, stride in itertools.product(WIDTHS, (2, 1)):
        for number, width in enumerate(WIDTHS[kernel]):
            yield kernel, stride, width, (3, 8, 11)[number % 3], 1
            yield kernel, stride, width, 2 * width, width
            yield kernel, stride, 2 * width, 6, 2


def difference(kernel, stride, channels, outputs, groups, dtype, context):
    """The largest difference from float64, relative to the largest value, of the input's or the weight's gradient."""
    generator = torch.Generator().manual_seed(channels)
    size = 16 if outputs % 2 else 8
    images = torch.randn(8, channels, size, size, generator=generator).to(dtype)
    weight = torch.randn(outputs, channels // groups, kernel, kernel, generator=generator).to(dtype)
    layout = {"memory_format": torch.channels_last}
    expected = _gradients(images.double(), weight.double(), stride, kernel // 2, groups)
    with context:
        got = _gradients(images.to(**layout), weight.to(**layout), stride, kernel // 2, groups)
    return max(((ours - right).abs().max() / right.abs().max()).item() for ours, right in zip(got, expected))


def _gradients(images, weight, stride, padding, groups):
    images, weight = images.clone().requires_grad_(), weight.clone().requires_grad_()
    output = functional.conv2d(images, weight, None, stride, padding, groups=groups)
    generator = torch.Generator().manual_seed(1)
    gradient = torch.randn(output.shape, generator=generator, dtype=torch.float64).bfloat16().to(output)
    if images.dtype != torch.float64:
        gradient = gradient.contiguous(memory_format=torch.channels_last)
    return [each.double() for each in torch.autograd.grad(output, (images, weight), gradient)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plain", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for dtype, shape in itertools.product(TOLERANCE, shapes()):
        print(*shape, dtype, end=" ", flush=True)
        found = difference(*shape, dtype, nullcontext() if args.plain else gradients.exact(Anything(), "cpu"))
        print(f"{found:.2e}", flush=True)
        assert found < TOLERANCE[dtype]
    print("all right")


if __name__ == "__main__":
    main()
