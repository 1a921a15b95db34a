"""What calibration costs: all methods' statistics in one pass, against a plain forward and backward pass; Gram matrices
of what every layer reads, in a pass of their own; the algebra of compensation and of the sensitivity curves.

Rival: the loop one would write for gradients alone, `model.eval(); cross_entropy(model(images), labels).backward()`,
over the same images in the same memory format. Both sides take turns, in an order that alternates; the ratio is the
median of five pairs, by CPU time of the process (by the clock on a GPU), so that other jobs do not decide
it. Memory: the greatest resident set (allocated memory on a GPU) of a process that calibrates on some images, and by
how much that of one with four times as many is greater; medians of three processes each. `stage` is all that
calibrate computes, the statistics of all images and the curves, whose Gram matrices are of about 512 of them: how much
that weighs depends on how many there are (`--images`).

    python benchmarks/calibration.py [NAME ...] [--images 2560] [--pairs 5] [--threads 1] [--device cpu]
"""

import argparse
import json
import multiprocessing
import platform
import resource
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import torch
from torch.nn import functional

from budama.networks import models
from budama.pruning import calibration, compensation, curves, gram, pruner
from budama.pruning.working_copy import Original, WorkingCopy

CASES = {  # model, image shape, classes, batch size, batches
    "ResNet-20": (
        {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 20}},
        (3, 32, 32),
        10,
        128,
        4,
    ),
    "ResNet-50": ({"source": "torchvision", "name": "resnet50"}, (3, 224, 224), 1000, 8, 2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"these alone: {', '.join(CASES)}")
    parser.add_argument("--images", type=int, help="how many calibration images (default: a few batches)")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results = {name: measure(*CASES[name], args) for name in args.names or CASES}
    print(
        "| model | images | plain pass | calibration | ratio (least to most of the pairs) | with all Gram matrices | "
        "stage | memory; four times the images | compensation | curves |"
    )
    print(f"|{'---|' * 10}")
    for name, row in results.items():
        spread = f"{row['ratio']:.2f} ({min(row['ratios']):.2f} to {max(row['ratios']):.2f})"
        times = f"{row['plain_seconds']:.2f} s | {row['calibration_seconds']:.2f} s"
        memory_ = f"{row['memory_mib']:.0f}; {row['memory_growth_mib']:+.0f} MiB"
        algebra = f"{row['compensation_seconds']:.1f} s | {row['curves_seconds']:.1f} s"
        shares = f"{row['ratio_with_gram']:.2f} | {row['ratio_of_stage']:.2f}"
        print(f"| {name} | {row['images']} | {times} | {spread} | {shares} | {memory_} | {algebra} |")
    print(f"{platform.machine()}, {args.threads} threads, {args.device}, torch {torch.__version__}")
    if args.output:
        args.output.write_text(json.dumps(results, indent=1) + "\n")


def measure(description: dict, shape, classes: int, size: int, count: int, args) -> dict:
    count = args.images // size if args.images else count
    model, batches = prepared(description, shape, classes, size, count, args.device)

    def plain():
        model.eval()
        for x, y in batches:
            model.zero_grad()
            functional.cross_entropy(model(x), y).backward()

    def calibrate():
        model.zero_grad()
        calibration.collect(model, batches, threshold=0.25, device=args.device)

    whole = WorkingCopy(model, Original.of(model, shape, classes, ()))

    def moments():
        return gram.moments(whole.model, whole.groups, (x for x, _ in batches))

    times = {plain: [], calibrate: [], moments: []}
    for pair in range(-1, args.pairs):  # the first pair warms up
        for side in (plain, calibrate, moments) if pair % 2 else (moments, calibrate, plain):
            times[side].append(seconds(side, args.device))
    times = {side: values[1:] for side, values in times.items()}
    ratios = [ours / theirs for ours, theirs in zip(times[calibrate], times[plain])]
    every = [one + other for one, other in zip(times[calibrate], times[moments])]
    plain_median = statistics.median(times[plain])
    curves_ = emptying(model, shape, classes, batches, args)
    few, many = (memory(description, shape, classes, size, count * times, args) for times in (1, 4))
    return {
        "images": size * count,
        "plain_seconds": plain_median,
        "calibration_seconds": statistics.median(times[calibrate]),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "ratio_with_gram": statistics.median(ours / theirs for ours, theirs in zip(every, times[plain])),
        "ratio_of_stage": statistics.median(ratios) + curves_ / plain_median,
        "compensation_seconds": compensating(whole, shape, classes, batches, args),
        "curves_seconds": curves_,
        "memory_mib": few,
        "memory_growth_mib": many - few,
    }


def compensating(whole: WorkingCopy, shape, classes: int, batches, args) -> float:
    """Seconds of one compensation at half of the channels, passes over the images included."""
    spent = []

    def compensate(before, after, gone):
        spent.append(seconds(lambda: compensation.compensate(before, after, batches, renewed=True), args.device))
        return {"positions": gram.POSITIONS, "folded": [], "left": []}

    pruner.prune(whole.model, shape, classes, "magnitude", {"ratio": 0.5}, compensate=compensate)
    return spent[0]


def emptying(model, shape, classes: int, batches, args) -> float:
    """Seconds of all sensitivity curves, their pass included."""
    found = calibration.collect(model, batches, threshold=0.25, device=args.device)
    return seconds(lambda: curves.measure(model, shape, classes, batches, found), args.device)


def memory(*case) -> float:
    """Greatest memory in MiB of a new process that calibrates once; the median of three."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as processes:
        return statistics.median(processes.starmap(calibrated, [case] * 3, chunksize=1))


def calibrated(description: dict, shape, classes: int, size: int, count: int, args) -> float:
    torch.set_num_threads(args.threads)
    model, batches = prepared(description, shape, classes, size, count, args.device)
    calibration.collect(model, batches, threshold=0.25, device=args.device)
    return peak(args.device)


def prepared(description: dict, shape, classes: int, size: int, count: int, device: str):
    """A model, and `count` times the same batch of random images."""
    model = models.build({"weights": None, **description}, classes, shape, weights=False)
    model = model.to(device, memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(size, *shape, generator=generator).to(device, memory_format=torch.channels_last)
    labels = torch.randint(classes, (size,), generator=generator).to(device)
    return model, [(images, labels)] * count


def seconds(function, device: str) -> float:
    clock = time.process_time if device == "cpu" else time.perf_counter
    if device != "cpu":
        torch.cuda.synchronize()
    start = clock()
    function()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def peak(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
