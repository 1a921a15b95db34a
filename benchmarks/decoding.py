"""Decoding and augmenting ImageNet-like JPEGs on one core: budama against torchvision's usual input pipeline.

Rival: `ImageFolder` + `RandomResizedCrop(224)` + `RandomHorizontalFlip` + `ToTensor` + `Normalize` with Pillow, in a
`DataLoader` (`num_workers=0`), as in torchvision's references. budama: `batches(…, augment="standard")`, one worker,
in the first epoch (JPEGs decoded, and kept decoded) and later ones (out of the memory-mapped cache). Both end in
normalised float32 batches of 64 × 3 × 224 × 224 on the CPU. `later_uint8` stops at what a GPU is sent, which
normalises there; its rival stops at `ToTensor`. The images are generated, 500 × 375 and about 110 kB, as ImageNet's
are on average. Each side lives in a process of its own and works while the other waits; medians of five pairs. Rates
are by CPU time of the whole process, all threads together: what one core does, also beside other jobs.

    python benchmarks/decoding.py [--images 512] [--pairs 5] [--output FILE]
"""

import argparse
import json
import multiprocessing
import operator
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import numpy as np
import torch
import torchvision
from PIL import Image
from PIL import __version__ as pillow_version
from torchvision import transforms

from budama.data.batching import batches
from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.data.read_ahead import read_ahead
from budama.jobs import allocator

SIDE, BATCH = 224, 64
RIVALS = ("rival", "rival_to_tensor")
RIVAL_OF = {"first": "rival", "later": "rival", "later_uint8": "rival_to_tensor"}
EPOCHS = 4  # the first, and three that the cache serves
SETTINGS = {
    "name": "image_folder",
    "image_size": SIDE,
    "resize": None,
    "channels": 3,
    "protocol": "full",
    "selection": 2,
    "test": None,
    "duplicates": "refuse",
    "augment": "standard",
    "mean": None,
    "std": None,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    output = args.output and args.output.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the cache lies in the working directory
        result = measure(args.images, args.pairs)
    print(json.dumps(result, indent=1))
    if output:
        output.write_text(json.dumps(result, indent=1) + "\n")


def measure(count: int, pairs: int) -> dict:
    """Images a second of rival and budama, medians over pairs, and the ratios."""
    count -= count % BATCH  # whole batches: an epoch then sees every image, and the next ones decode none
    kilobytes = generate(Path("images"), count + SETTINGS["selection"])
    context = multiprocessing.get_context("spawn")
    sides = {}
    for name, serve in (("rival", serve_rival), ("budama", serve_budama)):
        sides[name], theirs = context.Pipe()
        context.Process(target=serve, args=(theirs,), daemon=True).start()
    checked = [ask(sides[name], "warm up") for name in sides][1]
    rates: dict[str, list[float]] = {name: [] for name in (*RIVALS, *RIVAL_OF)}
    for pair in range(pairs):
        measured = (*ask(sides["rival"], pair), *ask(sides["budama"], pair))
        for name, value in zip(rates, measured, strict=True):
            rates[name].append(value)
    for side in sides.values():
        side.send(None)
    return {
        "images_per_second_a_core": {name: round(statistics.median(values)) for name, values in rates.items()},
        "ratio_to_rival": {name: ratio(rates[name], rates[rival]) for name, rival in RIVAL_OF.items()},
        "checked_per_second_a_core": round(checked),
        "rates": {name: [round(value) for value in values] for name, values in rates.items()},
        "images": count,
        "kilobytes_an_image": round(kilobytes, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}",
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__, "pillow": pillow_version},
    }


def ratio(ours: list[float], theirs: list[float]) -> float:
    return round(statistics.median(map(operator.truediv, ours, theirs)), 2)


def ask(side, request):
    side.send(request)
    return side.recv()


def serve_rival(requests) -> None:
    """Answer each request with the images a second of an epoch of torchvision's pipeline, whole and to `ToTensor`."""
    torch.set_num_threads(1)
    loaders = rival(normalise=True), rival(normalise=False)
    for loader in loaders:
        next(iter(loader))
    while requests.recv() is not None:
        requests.send([rate(loader) for loader in loaders])


def serve_budama(requests) -> None:
    """Answer "warm up" with the images checked a second, and a pair's number with those of its two epochs."""
    torch.set_num_threads(1)
    allocator.prepare()  # as every stage does
    start = time.process_time()
    manifest = build_manifest({"data": SETTINGS | {"root": "images"}, "seed": 0}, threads=1)
    images = sum(manifest["counts"][split] for split in ("train", "selection", "test"))
    checked = images / (time.process_time() - start)
    consume(batches(open_data(manifest), "selection", 2, workers=1))
    while (pair := requests.recv()) is not None:
        if pair == "warm up":
            requests.send(checked)
            continue
        shutil.rmtree(".cache")
        data = open_data(manifest)
        settings = {"augment": "standard", "shuffle": True, "workers": 1, "memory_format": torch.channels_last}
        rates = [rate(batches(data, "train", BATCH, epoch=epoch, **settings)) for epoch in range(EPOCHS)]
        ahead = rate(read_ahead(batches(data, "train", BATCH, epoch=EPOCHS, **settings).plan, workers=1))
        requests.send((rates[0], statistics.median(rates[1:]), ahead))


def rival(normalise: bool):
    """torchvision's pipeline over the same training images."""
    steps = [transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    if normalise:
        steps.append(transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    folder = torchvision.datasets.ImageFolder("images/train", transforms.Compose(steps))
    return torch.utils.data.DataLoader(folder, BATCH, shuffle=True, drop_last=True)


def rate(loader) -> float:
    start = time.process_time()
    return consume(loader) / (time.process_time() - start)


def consume(loader) -> int:
    return sum(len(images) for images, _ in loader)


def generate(folder: Path, count: int) -> float:
    """Write `count` training images (and two for validation) in two classes; returns kB an image."""
    rng = np.random.default_rng(0)
    for part, images in (("train", count), ("val", 4)):
        for index in range(images):
            path = folder / part / f"class{index % 2}" / f"{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(rng).save(path, quality=94, subsampling="4:2:0")
    return statistics.mean(path.stat().st_size for path in folder.rglob("*.jpg")) / 1000


def generate_many(folder: Path, count: int, different: int = 64) -> None:
    """The same with some `different` pictures, each of them many times in files that differ by a comment."""
    generate(folder, different)
    pictures = [path.read_bytes() for path in sorted((folder / "train").rglob("*.jpg"))]
    for number in range(different, count):
        start, rest = pictures[number % different][:2], pictures[number % different][2:]
        comment = b"\xff\xfe\x00\x0a%08d" % number  # marker, length, text
        (folder / "train" / f"class{number % 2}" / f"{number}.jpg").write_bytes(start + comment + rest)


def picture(rng: np.random.Generator) -> Image.Image:
    """Waves and grain, 500 × 375: as many bytes as a photograph."""
    y, x = np.mgrid[0:375, 0:500]
    pixels = np.full((375, 500, 3), 128.0)
    for _ in range(6):
        down, right = rng.uniform(0.005, 0.1, 2)
        pixels += 14 * np.sin(down * y + right * x + rng.uniform(0, 6))[..., None] * rng.uniform(0.3, 1, 3)
    pixels += rng.normal(0, 15, (375, 500, 1)) + rng.normal(0, 4, (375, 500, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
