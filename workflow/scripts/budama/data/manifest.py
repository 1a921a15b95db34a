"""dataset.json: every image that a baseline and its scenarios use, checked once, and the split it belongs to."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypedDict, final

import numpy as np

from budama.data import arrays, catalogue, division, manifest_warnings, splits
from budama.data.catalogue import SOURCES, Source
from budama.data.normalisation import normalisation
from budama.data.pool import Pool, array_pool, file_pool
from budama.errors import BudamaError

LISTED = 10_000  # skipped files that dataset.json names
PHOTO_RESIZE = 256 / 224  # shorter side before the middle is cut out, per image size (He et al. 2016)


@final
class ArraySplit(TypedDict):
    """A row an image, by its index in the arrays. A digest has 16 hexadecimal digits."""

    indices: list[int]
    labels: list[int]
    digests: list[str]


@final
class FileSplit(TypedDict):
    """A row an image file, its path relative to the manifest's `root`; sizes are those of the upright image."""

    paths: list[str]
    labels: list[int]
    digests: list[str]
    widths: list[int]
    heights: list[int]


class Duplicates(TypedDict):
    """Training images that also stand in the test set, and copies in all."""

    policy: str
    dropped: int
    examples: list[dict[str, str]]
    copies: int


class Skipped(TypedDict):
    """What lies in the data set's folders and was not looked at: `count` by reason, and each path (10,000 at most)."""

    count: int
    examples: list[str]
    reasons: dict[str, int]
    files: list[list[str]]


class Manifest(TypedDict):
    """dataset.json. `counts`, `class_counts` and `splits` are by split: train, selection, test. A warning has its
    `code`, and what its sentence needs."""

    name: str
    title: str
    source: str
    stored: str
    root: str | None
    protocol: str
    seed: int
    classes: int
    class_names: list[str]
    input_shape: list[int]
    mean: list[float]
    std: list[float]
    normalisation: str
    resize: int | None
    augment: str
    mirror: bool
    counts: dict[str, int]
    class_counts: dict[str, list[int]]
    parts: dict[str, str]
    unreadable: list[Any]
    skipped: Skipped
    duplicates: Duplicates
    splits: dict[str, ArraySplit | FileSplit]
    warnings: list[dict[str, Any]]


def build_manifest(settings: dict[str, Any], threads: int) -> Manifest:
    """Find or download the data, check every image once, and fix disjoint splits by content.

    `settings` is ``{"data": {...}, "seed": n}``. The result is dataset.json: what the data is
    (classes, input_shape, mean, std, …), `splits` with a row an image (indices or paths, labels, digests), `counts` and
    `class_counts` by split, what was left out (`unreadable`, `skipped`, `duplicates`), and `warnings` for the report.
    Raises BudamaError, in a line a mistake, for data that is missing or cannot serve.
    """
    data, seed = settings["data"], settings["seed"]
    source = SOURCES[data["name"]]
    if source.download:
        arrays.download(data)
    pool = array_pool(data) if source.stored == "arrays" else file_pool(data, threads)
    parts, duplicates = division.divide(pool, data, seed)
    shape = _input_shape(data, source, pool)
    mean, std, origin, histogram = normalisation(data, source, pool, parts["train"], shape[0])
    manifest: Manifest = {
        "name": data["name"],
        "title": source.title if data["name"] != "image_folder" else catalogue.root(data).resolve().name,
        "source": pool.place,
        "stored": source.stored,
        "root": pool.root,
        "protocol": data["protocol"],
        "seed": seed,
        "classes": len(pool.class_names),
        "class_names": pool.class_names,
        "input_shape": shape,
        "mean": mean,
        "std": std,
        "normalisation": origin,
        "resize": _resize(data, source, shape),
        "augment": source.augment if data["augment"] == "auto" else data["augment"],
        "mirror": source.mirror,
        "counts": {name: len(rows) for name, rows in parts.items()},
        "class_counts": {name: _class_counts(pool, rows) for name, rows in parts.items()},
        "unreadable": pool.unreadable,
        "parts": pool.parts,
        "skipped": _skipped(pool),
        "duplicates": duplicates,
        "splits": {name: _split_entry(pool, rows) for name, rows in parts.items()},
        "warnings": [],
    }
    manifest["warnings"] = list(manifest_warnings.warnings(manifest, pool, histogram))
    splits.check_disjoint(manifest)
    return manifest


def _skipped(pool: Pool) -> Skipped:
    return {
        "count": len(pool.skipped),
        "examples": [path for path, _ in pool.skipped[: splits.EXAMPLES]],
        "reasons": dict(Counter(reason for _, reason in pool.skipped)),
        "files": [list(entry) for entry in pool.skipped[:LISTED]],
    }


def _split_entry(pool: Pool, rows: np.ndarray) -> ArraySplit | FileSplit:
    labels = pool.labels[rows].tolist()
    digests = [f"{digest:016x}" for digest in pool.digests[rows].tolist()]
    if pool.paths is None or pool.sizes is None:
        return {"indices": pool.indices[rows].tolist(), "labels": labels, "digests": digests}
    heights, widths = pool.sizes[rows].T.tolist()
    paths = [pool.paths[row] for row in rows]
    return {"paths": paths, "labels": labels, "digests": digests, "heights": heights, "widths": widths}


def _class_counts(pool: Pool, rows: np.ndarray) -> list[int]:
    return np.bincount(pool.labels[rows], minlength=len(pool.class_names)).tolist()


def _input_shape(data: dict, source: Source, pool: Pool) -> list[int]:
    shape = list(catalogue.input_shape(data))
    if data["channels"] is None and source.stored == "files" and pool.grey:
        shape[0] = 1
    return shape


def _resize(data: dict, source: Source, shape: list[int]) -> int | None:
    if data["resize"] is not None:
        if data["resize"] < shape[1]:
            raise BudamaError(f"data.resize is {data['resize']}; it must be at least data.image_size ({shape[1]})")
        return data["resize"]
    return round(shape[1] * PHOTO_RESIZE) if source.stored == "files" else None
