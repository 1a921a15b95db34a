"""Generated image files for the tests: small JPEGs, each one different, each the same in every run."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

DATA = {
    "name": "image_folder",
    "root": None,
    "folders": None,
    "image_size": 32,
    "resize": None,
    "channels": None,
    "protocol": "full",
    "selection": 0.2,
    "test": None,
    "duplicates": None,
    "augment": "auto",
    "mean": None,
    "std": None,
}


def settings(root: Path | str | None = None, seed: int = 0, **data) -> dict:
    """Settings of the dataset stage for `image_folder` (or `name=…`), with other keys of `data` as given."""
    root = None if root is None else str(root)
    return {"data": DATA | {"root": root} | data, "seed": seed}


def picture(number: int, size: tuple[int, int] = (50, 40), mode: str = "RGB") -> Image.Image:
    """A smooth picture that `number` decides."""
    rng = np.random.default_rng(number)
    small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, format: str = "JPEG", **options) -> bytes:
    """The image's file as bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def train_and_val(root: Path, classes=("cat", "dog"), train: int = 10, val: int = 5, **picture_options) -> Path:
    """`root`/train and `root`/val with `classes`, so many images a class."""
    for part, count, start in (("train", train, 0), ("val", val, 10_000)):
        one_folder(root / part, classes, count, start, **picture_options)
    return root


def one_folder(root: Path, classes=("cat", "dog"), count: int = 20, start: int = 0, **picture_options) -> Path:
    """`root` with a folder a class, so many images in each."""
    for row, name in enumerate(classes):
        for number in range(count):
            data = encoded(picture(start + 1000 * row + number, **picture_options), quality=90)
            write(root / name / f"{number:03}.jpg", data)
    return root
