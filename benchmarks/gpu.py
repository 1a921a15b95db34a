"""ResNet-50 at 224 on one GPU: training, calibration, scoring and latency, as one JSON.

    python benchmarks/gpu.py [SECTION ...] [--output FILE] [--images 20480] [--workers N]

`training`: images a second, bfloat16, batches of 256. The ceiling is a plain loop (autocast, channels_last,
torch.optim.SGD, cuDNN's kernels tried) over batches that lie on the GPU; budama's step runs on the same batches, in
turn with it, and budama's whole training reads JPEG files that this program writes (500 × 375, about 110 kB, as
ImageNet's are): the first epoch decodes them, later ones have them from the cache. A profiler's trace of a later epoch
counts the gaps above a millisecond in which the GPU did nothing.
`calibration`: all statistics of one pass, and the Gram matrices, against a plain forward and backward pass, float32.
`scoring`: per-image results against a plain loop in inference mode, float32, on the GPU and from files.
`latency`: the A/A control in runs of its own, and ResNet-50 pruned by 10, 20 and 50 % at multiples of 1, 8, 16, 32.
What `round_to: auto` would choose: `width_latency.py --device cuda --batch 64 --precision bfloat16`.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import decoding
import torch
import torchvision
from torch.nn import functional

from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.jobs import allocator
from budama.measuring import latency, scoring
from budama.measuring.evaluation import evaluate
from budama.networks import models
from budama.pruning import calibration, gram, pruner
from budama.pruning.working_copy import Original, WorkingCopy
from budama.training import loop, steps

RESNET50 = {"source": "torchvision", "name": "resnet50", "arguments": {}, "weights": None}
SHAPE, CLASSES, BATCH, PAIRS, STEPS = (3, 224, 224), 1000, 256, 5, 20
RATIOS, MULTIPLES = (0.1, 0.2, 0.5), (1, 8, 16, 32)
LAYERWISE = {"scope": "layerwise", "match": "channels", "max_ratio": 0.95, "steps": 1}
GAP_MS = 1.0
SETTINGS = {
    "epochs": 4, "batch_size": BATCH, "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 1e-4,
    "schedule": "cosine", "warmup_epochs": 0, "label_smoothing": 0.0, "distill": 0.0, "distill_temperature": 2.0,
    "weight_averaging": None, "precision": "bfloat16", "max_batches": None,
}  # fmt: skip
DEVICE = torch.device("cuda")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--images", type=int, default=20480, help="JPEG files to train on (default: 20480)")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="CPU threads that decode")
    parser.add_argument("--runs", type=int, default=5, help="of the A/A control at each setting (default: 5)")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    output = args.output and args.output.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was measured is written
    allocator.prepare()
    torch.set_num_threads(args.workers)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # as every stage says
    done: dict = {
        "gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "torchvision": torchvision.__version__,
        "cudnn": torch.backends.cudnn.version(), "workers": args.workers,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # the cache lies in the working directory
        for name in args.sections or SECTIONS:
            started = time.perf_counter()
            done[name] = found = {}
            try:
                SECTIONS[name](args, found)
            finally:
                found["seconds"] = round(time.perf_counter() - started, 1)
                print(f"{name}: {json.dumps(found)}", file=sys.stderr, flush=True)
                if output:
                    output.write_text(json.dumps(done, indent=1) + "\n")
    print(json.dumps(done))


def training(args, found: dict) -> None:
    found["steps"] = _steps()
    data = _jpegs(args.images)
    next(iter(loop.batches(data, "train", BATCH, augment="standard", device=DEVICE, limit=1)))  # compiles
    model = models.build(RESNET50, data.classes, SHAPE)
    own = loop._Loop(model, data, SETTINGS, 0, DEVICE, "standard", None)
    rates = [_rate(lambda epoch=epoch: own._train(epoch)) for epoch in (1, 2, 3)]
    ceiling = found["steps"]["plain_images_per_second"]
    found["from_files_images_per_second"] = [round(rate) for rate in rates]
    found["from_files_ratio"] = [round(rate / ceiling, 3) for rate in rates]
    found["trace"] = _gaps(lambda: own._train(4))


def _rate(epoch) -> float:
    started = time.perf_counter()
    _, _, images = epoch()
    torch.cuda.synchronize()
    return images / (time.perf_counter() - started)


def _steps() -> dict:
    """budama's step and the plain loop's in turn, on the same batches."""
    generator = torch.Generator(DEVICE).manual_seed(0)
    batches = [
        (
            torch.randn(BATCH, *SHAPE, generator=generator, device=DEVICE).to(memory_format=torch.channels_last),
            torch.randint(CLASSES, (BATCH,), generator=generator, device=DEVICE),
        )
        for _ in range(4)
    ]
    sides = {"plain": _plain(batches, True), "plain_untried": _plain(batches, False), "budama": _budama(batches)}
    seconds = _in_turn(sides)
    rates = {
        f"{name}_images_per_second": round(BATCH * STEPS / statistics.median(own)) for name, own in seconds.items()
    }
    return rates | {name: _ratio(seconds["plain"], own) for name, own in seconds.items() if name != "plain"}


def _plain(batches, tried: bool):
    model = models.build(RESNET50, CLASSES, SHAPE).to(DEVICE, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, nesterov=True)

    def run() -> None:
        torch.backends.cudnn.benchmark = tried
        for number in range(STEPS):
            images, labels = batches[number % len(batches)]
            with torch.autocast("cuda", torch.bfloat16):
                loss = functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        torch.backends.cudnn.benchmark = False

    return run


def _budama(batches):
    model = models.build(RESNET50, CLASSES, SHAPE).to(DEVICE, memory_format=torch.channels_last).train()
    stepper = steps.Stepper(model, None, SETTINGS, DEVICE)

    def run() -> None:
        for number in range(STEPS):
            stepper.step(*batches[number % len(batches)], BATCH, 0.01)

    return run


def _in_turn(sides: dict) -> dict[str, list[float]]:
    """Seconds that each side takes, PAIRS times, in an order that alternates."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for pair in range(-1, PAIRS):  # the first warms up
        for name in list(sides)[:: 1 if pair % 2 else -1]:
            torch.cuda.synchronize()
            started = time.perf_counter()
            sides[name]()
            torch.cuda.synchronize()
            if pair >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def _ratio(theirs: list[float], ours: list[float]) -> list[float]:
    """Median, least and greatest of the pairs' own ratios; above 1 ours is faster."""
    ratios = sorted(their / our for their, our in zip(theirs, ours))
    return [round(value, 4) for value in (statistics.median(ratios), ratios[0], ratios[-1])]


def _jpegs(count: int):
    """A data set of `count` JPEG files and a batch to select by."""
    root = Path(tempfile.mkdtemp(dir="."))
    decoding.generate_many(root, count + BATCH)
    settings = {**decoding.SETTINGS, "root": str(root), "selection": BATCH}
    return open_data(build_manifest({"data": settings, "seed": 0}, threads=torch.get_num_threads()))


def _gaps(run) -> dict:
    """When the GPU did nothing during `run`, by a profiler's trace."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        run()
    results = profiler.profiler.kineto_results
    spans = sorted(
        (event.start_ns(), event.start_ns() + event.duration_ns())
        for event in results.events()
        if event.device_type() == torch.autograd.DeviceType.CUDA
    )
    gaps, end = [], spans[0][1]
    for start, stop in spans:
        if start > end:
            gaps.append((start - end) / 1e6)
        end = max(end, stop)
    whole, long = (end - spans[0][0]) / 1e6, [gap for gap in gaps if gap > GAP_MS]
    return {
        "kernels": len(spans), "milliseconds": round(whole), "idle_percent": round(100 * sum(gaps) / whole, 2),
        "gaps_above_1_ms": len(long), "their_milliseconds": round(sum(long), 1),
        "longest_ms": [round(gap, 1) for gap in sorted(long)[-5:]],
    }  # fmt: skip


def calibrating(_args, found: dict) -> None:
    model = models.build(RESNET50, CLASSES, SHAPE).to(DEVICE, memory_format=torch.channels_last).eval()
    images = torch.randn(BATCH // 2, *SHAPE, device=DEVICE).to(memory_format=torch.channels_last)
    batches = [(images, torch.randint(CLASSES, (BATCH // 2,), device=DEVICE))] * 4

    def plain() -> None:
        for x, y in batches:
            model.zero_grad()
            functional.cross_entropy(model(x), y).backward()

    groups = WorkingCopy(model, Original.of(model, SHAPE, CLASSES, ())).groups

    def statistics_() -> None:
        calibration.collect(model, batches, threshold=0.25, device=DEVICE)

    def grams() -> None:
        gram.moments(model, groups, [x for x, _ in batches])

    found |= _against(plain, {"statistics": statistics_, "gram": grams})


def _against(plain, sides: dict) -> dict:
    sides = {"plain": plain, **sides}
    seconds = _in_turn(sides)
    found: dict = {f"{name}_seconds": round(statistics.median(own), 4) for name, own in seconds.items()}
    return found | {name: _ratio(own, seconds["plain"]) for name, own in seconds.items() if name != "plain"}


def scored(args, found: dict) -> None:
    model = models.build(RESNET50, CLASSES, SHAPE).to(DEVICE, memory_format=torch.channels_last).eval()
    images = torch.randn(BATCH, *SHAPE, device=DEVICE).to(memory_format=torch.channels_last)
    batches = [(images, torch.randint(CLASSES, (BATCH,), device=DEVICE))] * 8

    def plain() -> None:
        with torch.inference_mode():
            hits = [model(x).argmax(1) == y for x, y in batches]
        torch.cat(hits).cpu()

    found |= _against(plain, {"budama": lambda: evaluate(model, batches, device=DEVICE)})
    found["plain_images_per_second"] = round(8 * BATCH / found["plain_seconds"])
    data = _jpegs(args.images)
    test = loop.batches(data, "train", BATCH, device=DEVICE)
    next(iter(test))  # compiles
    for when in ("first", "later"):
        started = time.perf_counter()
        scoring.evaluate_together({"one": model}, test, DEVICE)
        found[f"from_files_{when}_images_per_second"] = round(test.images / (time.perf_counter() - started))


def timed(args, found: dict) -> None:
    """The A/A control, and pruned models: ratios with intervals."""
    shapes = _pruned(args.workers)
    original = models.build(RESNET50, CLASSES, SHAPE)
    settings = [
        (batch, precision, graph)
        for batch in (1, 64)
        for precision in ("float32", "bfloat16", "float16")
        for graph in (False, True)
    ]
    found |= {"aa": {}, "pruned": {}}
    for batch, precision, graph in settings:
        images, name = torch.randn(batch, *SHAPE, device=DEVICE), f"{batch} {precision} {'graph' if graph else 'eager'}"
        ratios = []
        for seed in range(args.runs):
            run = latency.compare(
                {"baseline": original}, images, rounds=15, precision=precision, cuda_graph=graph, seed=seed,
                limit_seconds=1,
            )  # fmt: skip
            ratios.append(round(run.aa.ratio, 4) if run.aa else run.timings["baseline"].error)
        found["aa"][name] = {"ms": run.timings["baseline"].median_ms, "ratios": ratios}
    for batch, precision, graph in ((1, "float32", True), (64, "float32", False), (64, "bfloat16", False)):
        images, name = torch.randn(batch, *SHAPE, device=DEVICE), f"{batch} {precision} {'graph' if graph else 'eager'}"
        group = {"baseline": original, **{f"{ratio} {unit}": model for (ratio, unit), model in shapes.items()}}
        run = latency.compare(group, images, rounds=15, precision=precision, cuda_graph=graph, limit_seconds=8)
        found["pruned"][name] = {
            label: [timing.ratio, *(timing.ratio_interval or ())] if timing.ratio else timing.error
            for label, timing in run.timings.items()
        }
    found["parameters"] = {f"{r} {u}": sum(p.numel() for p in model.parameters()) for (r, u), model in shapes.items()}


def _pruned(workers: int) -> dict:
    cases = [(ratio, unit) for ratio in RATIOS for unit in MULTIPLES]
    with multiprocessing.get_context("spawn").Pool(min(workers, len(cases))) as pool:
        return dict(zip(cases, pool.starmap(_prune, cases)))


def _prune(ratio: float, unit: int):
    torch.set_num_threads(1)
    settings = {**LAYERWISE, "ratio": ratio, "round_to": unit}
    return pruner.prune(models.build(RESNET50, CLASSES, SHAPE), SHAPE, CLASSES, "magnitude", settings).model


SECTIONS = {"training": training, "calibration": calibrating, "scoring": scored, "latency": timed}


if __name__ == "__main__":
    main()
