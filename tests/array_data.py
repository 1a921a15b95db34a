"""Array data sets for the tests: digits, and files of Fashion-MNIST and CIFAR as they are published."""

import gzip
import pickle
from pathlib import Path

import numpy as np
from imagefolders import settings

from budama.data import catalogue
from budama.data.manifest import build_manifest


def digits(**data) -> dict:
    return build_manifest(settings(**{"name": "digits", "image_size": None} | data), threads=1)


def write_idx(path: Path, values: np.ndarray, compress=True) -> None:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    data = header + values.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    if compress:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(data))
    else:
        path.write_bytes(data)


def write_fashion_mnist(folder: Path, train: int = 60, test: int = 20, compress=True) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("train", train), ("t10k", test)):
        write_idx(folder / f"{name}-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28)), compress)
        write_idx(folder / f"{name}-labels-idx1-ubyte", np.arange(count) % 10, compress)


def write_cifar(folder: Path, name: str, train: int = 10, test: int = 20) -> None:
    rng = np.random.default_rng(1)
    *batch_names, meta = catalogue.SOURCES[name].files
    key, names = ("labels", "label_names") if name == "cifar10" else ("fine_labels", "fine_label_names")
    for file in batch_names:
        count = test if file.startswith("test") else train
        pixels = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        labels = [number % 10 for number in range(count)]
        written = pickle.dumps({"data": pixels, key: labels}, protocol=3)
        (folder / file).write_bytes(written.replace(b"numpy._core", b"numpy.core"))  # as numpy was laid out in 2009
    (folder / meta).write_bytes(pickle.dumps({names: [f"class {number}" for number in range(10)]}))
