"""Training ResNet-20 at 32 × 32: budama's loop against the plain float32 loop that a user would otherwise write.

    python benchmarks/training.py                  # images a second, medians of five interleaved pairs
    python benchmarks/training.py --accuracy       # and test accuracy at the end, three seeds each

The rival is written as torchvision's reference for classification is (references/classification/train.py): PIL images
through torchvision's transforms in a DataLoader, float32, NCHW, torch.optim.SGD, the loss read at every step. It gets
the same images (Fashion-MNIST, enlarged to 32 × 32 and three channels beforehand), augmentation, learning rates, weight
decay and model; its DataLoader's processes are `--workers`. Each side is a process of its own, since budama's stages
set the C library's allocator (`budama.jobs.allocator`), which an ordinary script does not.
`training` is a whole one of two epochs, with what it evaluates on the selection split after each (budama also before
the first); `step` is the steps alone on a batch that lies ready: what precision and memory layout give by themselves.
On a machine with other work, `--threads 1 --clock cpu` counts the process's own CPU time (with `--workers 0`, the whole
cost of both sides).
"""

import argparse
import dataclasses
import multiprocessing
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import numpy as np
import torch
from torch.nn import functional

from budama import machine
from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.jobs import allocator
from budama.measuring.evaluation import evaluate
from budama.networks import models
from budama.settings import stages
from budama.training.loop import batches, train
from budama.training.optimisation import learning_rate
from budama.training.steps import Stepper

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
BASELINE = Path(__file__).parents[1] / "config" / "baselines" / "fashion_mnist_resnet.yaml"
MODEL = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 20, "width": 16}, "weights": None}
SETTINGS = {
    "epochs": 2, "batch_size": 128, "optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4,
    "schedule": "cosine", "warmup_epochs": 0.5, "label_smoothing": 0.0, "distill": 0.0, "distill_temperature": 2.0,
    "weight_averaging": None, "precision": "auto", "max_batches": None,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--images", type=int, default=10240, help="training images of an epoch (default: 10240)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="of the rival's DataLoader")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--accuracy", action="store_true", help="compare test accuracy over three seeds, too")
    parser.add_argument("--accuracy-images", type=int, default=10240)
    parser.add_argument("--accuracy-epochs", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.threads} threads, {args.clock} clock, {_processor()}")
    sides = [_Side(side, args) for side in SIDES]
    _speed("step", *sides, args.pairs)
    _speed("training", *sides, args.pairs)
    for side in sides:
        side.end()
    if args.accuracy:
        _accuracy(_data(args.accuracy_images), {**SETTINGS, "epochs": args.accuracy_epochs}, args.workers)


class _Side:
    """A process that does its side's work when asked, and answers with the images a second."""

    def __init__(self, side: str, args) -> None:
        context = multiprocessing.get_context("spawn")
        self.requests, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(side, args, theirs))
        self.process.start()

    def rate(self, what: str) -> float:
        self.requests.send(what)
        return self.requests.recv()

    def end(self) -> None:
        self.requests.send(None)
        self.process.join()


def _serve(side: str, args, requests) -> None:
    torch.set_num_threads(args.threads)
    if side == "budama":
        allocator.prepare()  # as every stage does
    data, clock = _data(args.images), CLOCKS[args.clock]
    steps, loop, *rest = SIDES[side]
    rest = [getattr(args, name) for name in rest]
    work = {
        "step": (steps(data), 8 * 128),
        "training": (
            lambda: loop(_model(data, 0), data, SETTINGS, 0, *rest),
            SETTINGS["epochs"] * (len(data.split("train")) // 128 * 128),
        ),
    }
    while (what := requests.recv()) is not None:
        function, images = work[what]
        started = clock()
        function()
        requests.send(images / (clock() - started))


def _speed(name: str, ours: _Side, theirs: _Side, pairs: int) -> None:
    """Both in turn; a pair to warm up is not counted."""
    measured = [(ours.rate(name), theirs.rate(name)) for _ in range(pairs + 1)][1:]
    ratios = sorted(first / second for first, second in measured)
    budama, plain = (statistics.median(values) for values in zip(*measured))
    print(
        f"{name}: budama {budama:.0f} images/s, plain float32 {plain:.0f} images/s, ratio "
        f"{statistics.median(ratios):.2f} (median of {pairs} pairs, {ratios[0]:.2f} to {ratios[-1]:.2f})",
        flush=True,
    )


def _accuracy(data, settings: dict, workers: int) -> None:
    found = {"budama": [], "plain float32": []}
    for seed in range(3):
        for name, loop in (("budama", _budama), ("plain float32", lambda *rest: _plain(*rest, workers=workers))):
            model = _model(data, seed)
            loop(model, data, settings, seed)
            found[name].append(evaluate(model, batches(data, "test", 256)).accuracy_percent)
    for name, values in found.items():
        mean, deviation = statistics.mean(values), statistics.stdev(values)
        print(f"test accuracy, {name}: {mean:.2f} ± {deviation:.2f} % ({', '.join(f'{one:.2f}' for one in values)})")


def _budama(model, data, settings: dict, seed: int) -> None:
    train(model, data, settings, seed=seed, augment="standard")


def _plain(model, data, settings: dict, seed: int, workers: int = 0) -> None:
    """An ordinary PyTorch loop."""
    from torch.utils.data import DataLoader
    from torchvision import transforms

    normalise = [transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
    augment = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    loaders = [
        DataLoader(
            _Pictures(data, split, transforms.Compose([*(augment if training else []), *normalise])),
            batch_size=settings["batch_size"], shuffle=training, drop_last=training, num_workers=workers,
            generator=torch.Generator().manual_seed(seed),
        )
        for split, training in (("train", True), ("selection", False))
    ]  # fmt: skip
    torch.manual_seed(seed)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=settings["learning_rate"], momentum=settings["momentum"], nesterov=True,
        weight_decay=settings["weight_decay"],
    )  # fmt: skip
    for epoch in range(settings["epochs"]):
        model.train()
        for step, (images, labels) in enumerate(loaders[0], epoch * len(loaders[0])):
            optimizer.param_groups[0]["lr"] = learning_rate(settings, step, len(loaders[0]))
            loss = functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
        model.eval()
        with torch.inference_mode():
            for images, labels in loaders[1]:
                (model(images).argmax(1) == labels).sum().item()


class _Pictures(torch.utils.data.Dataset):
    """A split as torchvision's CIFAR10 gives it: a PIL image of the array, then the transforms."""

    def __init__(self, data, split: str, transform) -> None:
        from PIL import Image

        self.image, self.transform = Image.fromarray, transform
        self.pixels, self.labels = data.pixels[data.split(split).indices], data.split(split).labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        return self.transform(self.image(self.pixels[index])), int(self.labels[index])


def _budama_steps(data):
    model = _model(data, 0).train().to(memory_format=torch.channels_last)
    stepper = Stepper(model, None, SETTINGS, torch.device("cpu"))
    (images, labels), *_ = batches(data, "train", 128, memory_format=torch.channels_last, limit=1)
    return lambda: [stepper.step(images, labels, 128, 0.01).item() for _ in range(8)]


def _plain_steps(data):
    model = _model(data, 0).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    (images, labels), *_ = batches(data, "train", 128, limit=1)

    def step() -> None:
        loss = functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return lambda: [step() for _ in range(8)]


SIDES = {"budama": (_budama_steps, _budama), "plain float32": (_plain_steps, _plain, "workers")}


def _model(data, seed: int):
    return models.build(MODEL, data.classes, data.input_shape, seed=seed)


def _data(images: int):
    """Fashion-MNIST at 32 × 32 and three channels, with `images` training images and a ninth of them to select by."""
    settings = {**stages.load_baseline(BASELINE).data, "augment": "standard", "channels": 3}
    data = open_data(build_manifest({"data": settings, "seed": 0}, threads=2))
    pixels = torch.from_numpy(data.pixels).permute(0, 3, 1, 2)[:, :1].float()
    pixels = functional.interpolate(pixels, (32, 32), mode="bilinear", antialias=True).round().to(torch.uint8)
    pixels = np.ascontiguousarray(pixels.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy())
    counts = {"train": images, "selection": images // 9}
    splits = {name: _first(split, counts.get(name)) for name, split in data.splits.items()}
    return dataclasses.replace(data, pixels=pixels, input_shape=(3, 32, 32), resize=None, splits=splits, tensors={})


def _first(split, count: int | None):
    return dataclasses.replace(
        split, indices=split.indices[:count], labels=split.labels[:count], digests=split.digests[:count]
    )


def _processor() -> str:
    return f"{machine.cpu()} ({', '.join(sorted(machine.BFLOAT16_FLAGS & machine.cpu_flags())) or 'no bfloat16'})"


if __name__ == "__main__":
    main()
