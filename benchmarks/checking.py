"""Checking JPEGs before a run: budama's check of a file against Pillow's two ways, on one core.

Rivals: `Image.open(path).verify()`, which reads a JPEG's header alone and misses a file that is cut off behind it, and
`Image.open(path).load()`, which decodes it. Also says which of three damaged files each of them finds. The images are
generated, 500 × 375 and about 85 kB. Rates are by CPU time, the sides take turns, and
the ratio is the median of the rounds'.

    python benchmarks/checking.py [--images 300] [--rounds 7]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from operator import methodcaller
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import numpy as np
from PIL import Image
from PIL import __version__ as pillow_version

from budama.data import images


def by_pillow(look: Callable[[Image.Image], object], path: Path) -> bool:
    try:
        with Image.open(path) as image:
            look(image)
    except Exception:
        return False
    return True


def checked(path: Path) -> bool:
    return images.check(path).reason is None


SIDES = {
    "budama": checked,
    "pillow_verify": partial(by_pillow, methodcaller("verify")),
    "pillow_load": partial(by_pillow, methodcaller("load")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = [generated(Path(folder), number) for number in range(arguments.images)]
        rates = {name: [] for name in SIDES}
        for round_ in range(arguments.rounds + 1):  # the first warms up
            for name, side in SIDES.items():
                start = time.process_time()
                assert all(map(side, paths))
                rates[name].append(len(paths) / (time.process_time() - start))
                if round_ == 0:
                    rates[name].clear()
        told = {
            "pillow": pillow_version,
            "images": len(paths),
            "mean_kb": round(statistics.mean(path.stat().st_size for path in paths) / 1000, 1),
            "checked_per_second_a_core": {name: round(statistics.median(found)) for name, found in rates.items()},
            "budama_over": {
                name: round(statistics.median(a / b for a, b in zip(rates["budama"], rates[name], strict=True)), 2)
                for name in list(SIDES)[1:]
            },
            "finds": {name: found(side, paths[0]) for name, side in SIDES.items()},
        }
    print(json.dumps(told, indent=1))


def generated(folder: Path, number: int) -> Path:
    """A smooth picture with noise, as large on the disk as a photograph."""
    rng = np.random.default_rng(number)
    smooth = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((500, 375), Image.BICUBIC)
    pixels = np.asarray(smooth).astype(float) + rng.normal(0, 14, (375, 500, 3))
    path = folder / f"{number:04}.jpg"
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return path


def found(side, path: Path) -> dict[str, bool]:
    """Which damaged copies of a file are not taken for whole."""
    data, told = path.read_bytes(), {}
    damaged = {"cut in half": data[: len(data) // 2], "cut by two bytes": data[:-2], "a text": b"<html>"}
    for name, content in damaged.items():
        copy = path.with_name("damaged.jpg")
        copy.write_bytes(content)
        told[name] = not side(copy)
    return told


if __name__ == "__main__":
    main()
