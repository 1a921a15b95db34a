"""What the report must say of a data set beside its numbers. Each warning has a `code` and what its sentence needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from budama.data import folders, splits
from budama.data.catalogue import SOURCES
from budama.data.pool import Pool

if TYPE_CHECKING:
    from budama.data.manifest import Manifest

FEW_IMAGES = 1000  # below this a test set's accuracy has a standard error of more than about a point
DARK, BRIGHT = 32, 223  # of 255: where 99 % of the pixels lie on one side, most of the range stays unused


def warnings(manifest: Manifest, pool: Pool, histogram: np.ndarray) -> Iterator[dict[str, Any]]:
    """The warnings of a data set. `histogram`: how often each pixel value stands in training images, int64 [C, 256]."""
    counts = manifest["counts"]
    if manifest["protocol"] == "validation_only":
        yield {"code": "validation_only", "images": counts["train"] + counts["selection"] + counts["test"]}
    if pool.unreadable:
        yield {"code": "unreadable_images", "count": len(pool.unreadable), "readable": len(pool.digests)}
    if manifest["duplicates"]["dropped"]:
        yield {"code": "duplicates", "count": manifest["duplicates"]["dropped"]}
    if counts["test"] < FEW_IMAGES:
        yield {"code": "few_images", "split": "test", "images": counts["test"]}
    conflicts = pool.label_conflicts()
    if conflicts:
        yield {"code": "label_conflicts", "count": len(conflicts), "examples": conflicts[: splits.EXAMPLES]}
    expected = SOURCES[manifest["name"]].classes
    if expected is not None and expected != manifest["classes"]:
        yield {"code": "unexpected_classes", "classes": manifest["classes"], "expected": expected}
    yield from _of_files(pool)
    yield from _of_classes(manifest)
    yield from _of_levels(histogram)


def _of_files(pool: Pool) -> Iterator[dict[str, Any]]:
    skipped = [path for path, _ in pool.skipped if not folders.made_by_a_system(path)]
    if skipped:
        yield {"code": "skipped_files", "count": len(skipped), "examples": skipped[: splits.EXAMPLES]}
    if pool.many_frames:
        examples = pool.many_frames[: splits.EXAMPLES]
        yield {"code": "more_frames", "count": len(pool.many_frames), "examples": examples}
    if pool.alike:
        yield {"code": "alike_classes", "count": len(pool.alike), "examples": pool.alike[: splits.EXAMPLES]}


def _of_classes(manifest: Manifest) -> Iterator[dict[str, Any]]:
    for split in ("test", "selection"):
        pairs = zip(manifest["class_names"], manifest["class_counts"][split], strict=True)
        without = [name for name, count in pairs if count == 0]
        if without:
            examples = without[: splits.EXAMPLES]
            yield {"code": "class_without_images", "split": split, "count": len(without), "examples": examples}


def _of_levels(histogram: np.ndarray) -> Iterator[dict[str, Any]]:
    """Whether nearly all pixels are dark or bright, as where 12 bits lie in a file of 16, or labels in one of greys."""
    shares = histogram.sum(axis=0) / max(histogram.sum(), 1)
    below = np.cumsum(shares)
    if below[DARK - 1] >= 0.99:
        yield {"code": "dark_images", "level": int(np.searchsorted(below, 0.99))}
    elif 1 - below[BRIGHT - 1] >= 0.99:
        yield {"code": "bright_images", "level": int(np.searchsorted(below, 0.01))}
