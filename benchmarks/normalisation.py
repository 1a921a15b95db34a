"""BatchNorm with ReLU in training on a CPU: budama's kernels against PyTorch's own operations, by number of channels.

    python benchmarks/normalisation.py [--pairs 5] [--threads 2] [--dtype bfloat16]

Rival: `relu(batch_norm(x))` and its backward pass, on channels_last tensors, as convolutions on CPUs want them, and
on contiguous ones (NCHW). The activation is 128 × C × 28 × 28. Sides take turns; medians of five pairs.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import torch
from torch import nn

from budama.jobs import allocator
from budama.training import fusion

CHANNELS = (8, 11, 16, 22, 32, 45, 64)
REPEATS = 10  # passes that one measurement is made of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    args = parser.parse_args()
    allocator.prepare()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.threads} threads, {args.dtype}, 128 × C × 28 × 28, forward and backward")
    print("| channels | kernels | PyTorch, channels_last | ratio | PyTorch, contiguous | ratio |")
    print("|---:|---:|---:|---:|---:|---:|")
    for channels in CHANNELS:
        print(row(channels, getattr(torch, args.dtype), args.pairs), flush=True)


def row(channels: int, dtype: torch.dtype, pairs: int) -> str:
    sides = [passes(channels, dtype, *how) for how in ((True, torch.channels_last), (False, torch.channels_last))]
    sides.append(passes(channels, dtype, False, torch.contiguous_format))
    measured = [[milliseconds(side) for side in sides] for _ in range(pairs + 1)][1:]
    ours, last, contiguous = (statistics.median(values) for values in zip(*measured))
    ratios = [statistics.median(times[side] / times[0] for times in measured) for side in (1, 2)]
    return f"| {channels} | {ours:.2f} ms | {last:.2f} ms | {ratios[0]:.1f} | {contiguous:.2f} ms | {ratios[1]:.1f} |"


def passes(channels: int, dtype: torch.dtype, kernels: bool, memory_format: torch.memory_format):
    norm = (fusion.BatchNorm if kernels else nn.BatchNorm2d)(channels)
    images = torch.randn(128, channels, 28, 28).to(dtype).contiguous(memory_format=memory_format).requires_grad_()
    gradient = torch.randn_like(images)

    def one() -> None:
        result = norm(images, relu=True) if kernels else torch.relu_(norm(images))
        result.backward(gradient)
        images.grad = None

    return one


def milliseconds(function) -> float:
    started = time.perf_counter()
    for _ in range(REPEATS):
        function()
    return 1000 * (time.perf_counter() - started) / REPEATS


if __name__ == "__main__":
    main()
