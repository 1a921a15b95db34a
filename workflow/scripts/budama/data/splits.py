"""Who trains, calibrates, selects and tests: decided by the images' content and a seed, never by file order.

An image's content is known by a digest of 64 bits (16 hex digits). Equal images get equal keys and go to the same part,
so that a copy of a training image cannot be scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from budama.errors import BudamaError

if TYPE_CHECKING:
    from budama.data.manifest import ArraySplit, FileSplit, Manifest

SALTS = {"test": 1, "selection": 2, "calibration": 3}
EXAMPLES = 5  # how many images a message or the manifest names


def keys(digests: np.ndarray, seed: int, part: str) -> np.ndarray:
    """A uniform 64-bit key an image from its digest: uint64 [N] to uint64 [N], by SplitMix64 (Steele et al. 2014)."""
    stream = _mix(np.array([(seed << 8) + SALTS[part]], dtype=np.uint64))
    return _mix(digests ^ stream)


def choose(digests: np.ndarray, labels: np.ndarray, wanted: int, seed: int, part: str, leave: int = 1) -> np.ndarray:
    """Choose about `wanted` images (all copies of an image or none), every class in proportion: bool [N].

    At least `leave` different images of each class stay outside.
    """
    unique, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    classes = labels[first]  # a copy that stands under another label follows the first one
    order = np.lexsort((keys(unique, seed, part), classes))
    counts = np.bincount(classes, minlength=int(labels.max()) + 1)
    quota = _proportional(counts, round(wanted * len(unique) / len(digests)), leave)
    rank = np.empty(len(unique), dtype=np.int64)
    rank[order] = np.arange(len(unique)) - np.repeat(np.cumsum(counts) - counts, counts)
    return (rank < quota[classes])[inverse]


def wanted_images(value: float, total: int, key: str) -> int:
    """A share (below 1) or a count of `total` images as a count. Raises BudamaError if one side would be empty."""
    wanted = round(value * total) if value < 1 else int(value)
    if not 0 < wanted < total:
        raise BudamaError(f"{key} is {value}; of {total} images that is {wanted}, and it must leave some on both sides")
    return wanted


def check_disjoint(manifest: Manifest) -> None:
    """Raise BudamaError, naming the images, if one that is scored or selects also stands in another split.

    Images count as the same when their contents are (digests), whatever they are called.
    """
    splits = manifest["splits"]
    for scored, others in (("test", ("train", "selection")), ("selection", ("train",))):
        held = _by_digest(splits.get(scored))
        for other in others:
            leaks = [(held[digest], name) for digest, name in _pairs(splits.get(other)) if digest in held]
            if leaks:
                named = "; ".join(f"{a} in {scored} is {b} in {other}" for a, b in leaks[:EXAMPLES])
                raise BudamaError(
                    f"dataset {manifest['name']}: {len(leaks)} images of {other} also stand in {scored} ({named})"
                )


def names_of(split: ArraySplit | FileSplit) -> Sequence[str]:
    """What a split's images are called: their paths, or ``image N`` by their place in the arrays."""
    return split["paths"] if "paths" in split else [f"image {index}" for index in split["indices"]]


def _pairs(split: ArraySplit | FileSplit | None) -> Iterable[tuple[str, str]]:
    return zip(split["digests"], names_of(split), strict=True) if split else ()


def _by_digest(split: ArraySplit | FileSplit | None) -> dict[str, str]:
    return dict(_pairs(split))


def _mix(value: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        value = value + np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return value ^ (value >> np.uint64(31))


def _proportional(counts: np.ndarray, wanted: int, leave: int) -> np.ndarray:
    """Divide `wanted` among classes in proportion to `counts` (largest remainders), leaving some of each class."""
    exact = counts * (wanted / max(counts.sum(), 1))
    quota = np.floor(exact).astype(np.int64)
    for index in np.argsort(quota - exact, kind="stable")[: wanted - quota.sum()]:
        quota[index] += 1
    return np.minimum(quota, np.maximum(counts - leave, 0))
