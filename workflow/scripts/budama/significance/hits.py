"""Which test images a model classified rightly, and for what it took the others, as text for a JSON file; and against
which labels that was judged."""

import base64
import hashlib
import zlib
from collections.abc import Iterable

import numpy as np


def packed(hits: np.ndarray) -> str:
    """bool [N], one bit an image, in base64 (`numpy.packbits`)."""
    return base64.b64encode(np.packbits(hits).tobytes()).decode()


def unpacked(text: str, count: int) -> np.ndarray:
    """bool [count] from what `packed` gave for as many images."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), dtype=np.uint8), count=count).astype(bool)


def packed_classes(classes: np.ndarray) -> str:
    """Class numbers, int [M], compressed and in base64."""
    return base64.b64encode(zlib.compress(classes.astype("<u4").tobytes(), 9)).decode()


def unpacked_classes(text: str) -> np.ndarray:
    """int64 [M] from what `packed_classes` gave."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<u4").astype(np.int64)


def labels_digest(labels: np.ndarray) -> str:
    """Hexadecimal sha256 of integer labels [N], the same for every integer type and byte order."""
    return hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()


def split_digest(digests: Iterable[str], labels: np.ndarray) -> str:
    """Hexadecimal sha256 of a split: its images, by the digest of each (16 hexadecimal digits), and their labels [N],
    in their order. Where it is equal, hits [N] of two runs are of the same images."""
    return hashlib.sha256(f"{' '.join(digests)} {labels_digest(labels)}".encode()).hexdigest()
