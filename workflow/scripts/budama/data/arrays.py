"""Data sets of small images, read whole into memory as uint8."""

import io
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy._core.multiarray import _reconstruct

from budama.data import catalogue
from budama.data.catalogue import SOURCES
from budama.errors import BudamaError
from budama.progress import log

FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
IN_TORCHVISION = {"fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100", "food101": "Food101"}


@dataclass(frozen=True)
class Arrays:
    """All images of a data set: training images first, then its own test images (none where `test_start` is None)."""

    images: np.ndarray  # uint8 [N, H, W, C]
    labels: np.ndarray  # int64 [N]
    test_start: int | None
    class_names: tuple[str, ...]
    place: str  # where they were found, for people


def load(data: dict) -> Arrays:
    """The images of an array data set. Never downloads: see `download`. Raises BudamaError."""
    if data["name"] == "digits":
        return _digits()
    folder = catalogue.find_files(data)
    if folder is None:
        raise BudamaError(f"{_missing(data)}; run the dataset stage again, which downloads them")
    read = _fashion_mnist if data["name"] == "fashion_mnist" else _cifar
    try:
        return read(data["name"], folder)
    except (OSError, ValueError, EOFError, KeyError, TypeError, IndexError, pickle.UnpicklingError) as error:
        raise BudamaError(f"{folder}: not the files of {SOURCES[data['name']].title} ({error})") from error


def download(data: dict) -> None:
    """Download a data set through torchvision to its root, unless it is there already. Raises BudamaError."""
    if catalogue.find_files(data) is not None:
        return
    root = catalogue.root(data)
    log(f"{SOURCES[data['name']].title}: downloading to {root}")
    try:
        from torchvision import datasets

        getattr(datasets, IN_TORCHVISION[data["name"]])(root, download=True)
    except Exception as error:  # torchvision raises whatever urllib, tarfile or its own checks do
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BudamaError(f"{_missing(data)}, and the download failed ({reason})") from error
    if catalogue.find_files(data) is None:
        raise BudamaError(f"{_missing(data)}, although torchvision downloaded there")


def with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """uint8 images [..., C] with 1 or 3 channels: grey is repeated, colours are weighted as Pillow does (ITU-R 601)."""
    have = pixels.shape[-1]
    if have == channels:
        return pixels
    if have == 1:
        return np.repeat(pixels, channels, axis=-1)
    weights = np.array([19595, 38470, 7471], dtype=np.uint32)
    return ((pixels.astype(np.uint32) @ weights + 0x8000) >> 16).astype(np.uint8)[..., None]


def _missing(data: dict) -> str:
    source = SOURCES[data["name"]]
    hint = " (or install Debian's package dataset-fashion-mnist)" if data["name"] == "fashion_mnist" else ""
    return f"{source.title}: '{catalogue.root(data)}' does not hold {', '.join(source.files)}{hint}"


def _digits() -> Arrays:
    """1,797 scans of 8×8 with 17 grey levels, spread over 0–255 (Alpaydin and Kaynak 1998, from scikit-learn)."""
    path = catalogue.digits_file()
    rows = np.loadtxt(path, delimiter=",", dtype=np.int16)
    images = ((rows[:, :64] * 255 + 8) // 16).astype(np.uint8).reshape(-1, 8, 8, 1)
    return Arrays(images, rows[:, 64].astype(np.int64), None, tuple("0123456789"), "scikit-learn")


def _fashion_mnist(name: str, folder: Path) -> Arrays:
    parts = [_idx(catalogue.open_maybe_gz(folder / file)) for file in SOURCES[name].files]
    images = np.concatenate([parts[0], parts[2]])[..., None]
    labels = np.concatenate([parts[1], parts[3]]).astype(np.int64)
    if images.ndim != 4 or len(images) != len(labels):
        raise ValueError(f"{len(images)} images but {len(labels)} labels")
    return Arrays(images, labels, len(parts[1]), FASHION_CLASSES, str(folder))


def _idx(data: bytes) -> np.ndarray:
    """An array in LeCun's idx format: 0, 0, type (8: uint8), dimensions, sizes as big-endian uint32, values."""
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise ValueError("not an idx file of bytes")
    start = 4 + 4 * data[3]
    shape = np.frombuffer(data[4:start], dtype=">u4").astype(int)
    if len(data) - start != shape.prod():
        raise ValueError(f"an idx file is truncated: {len(data) - start} of {shape.prod()} bytes")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def _cifar(name: str, folder: Path) -> Arrays:
    *batches, meta = SOURCES[name].files
    parts = [_cifar_file(folder / file) for file in batches]
    key, names = ("labels", "label_names") if name == "cifar10" else ("fine_labels", "fine_label_names")
    images = np.concatenate([np.asarray(part["data"], dtype=np.uint8).reshape(-1, 3, 32, 32) for part in parts])
    labels = np.concatenate([np.asarray(part[key], dtype=np.int64) for part in parts])
    test_start = len(images) - len(parts[-1]["data"])
    class_names = tuple(str(text) for text in _cifar_file(folder / meta)[names])
    return Arrays(np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels, test_start, class_names, str(folder))


class _ArraysOnly(pickle.Unpickler):
    """CIFAR is published as pickles (Krizhevsky 2009). This reads their arrays, texts and lists, and runs no code."""

    ALLOWED = ("_reconstruct", "ndarray", "dtype")

    def find_class(self, module: str, name: str):
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in self.ALLOWED:
            return _reconstruct if name == "_reconstruct" else getattr(np, name)
        raise pickle.UnpicklingError(f"a pickle that asks for {module}.{name} is refused")


def _cifar_file(path: Path) -> dict:
    return _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
