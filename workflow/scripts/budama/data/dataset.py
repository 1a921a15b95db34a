"""The images that a manifest names, ready to be made into batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from budama.data import arrays, splits
from budama.data.pool import digests_of
from budama.errors import BudamaError

if TYPE_CHECKING:
    from budama.data.cache import Store
    from budama.data.manifest import ArraySplit, FileSplit, Manifest

SAMPLE = 1000  # images of an array data set whose content is compared with the manifest
KEYS = (  # of dataset.json
    *("name", "title", "stored", "root", "seed", "classes", "class_names", "input_shape", "mean", "std", "resize"),
    *("augment", "mirror", "splits"),
)


@dataclass(frozen=True, eq=False)
class Split:
    """Images of one split, in the manifest's order, or some of them in another one (`Data.calibration`)."""

    name: str
    indices: np.ndarray  # int64 [N]: place in the arrays, or in the split for image files
    labels: np.ndarray  # int64 [N]
    digests: list[str]  # 16 hex digits an image
    paths: list[str] | None = None  # relative to the data's root; None for arrays
    sizes: np.ndarray | None = None  # int64 [N, 2]: height, width, upright

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: np.ndarray) -> Split:
        """The images at `rows`, int64 [M], in that order."""
        return Split(
            self.name,
            self.indices[rows],
            self.labels[rows],
            [self.digests[row] for row in rows],
            self.paths and [self.paths[row] for row in rows],
            None if self.sizes is None else self.sizes[rows],
        )


@dataclass(frozen=True, eq=False)
class Data:
    """An opened data set: what models need to know of it, its splits, and where its pixels are."""

    name: str
    title: str
    classes: int
    class_names: tuple[str, ...]
    input_shape: tuple[int, int, int]  # channels, height, width
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None  # shorter side before the middle is cut out; None: images are not cut
    augment: str  # what `augment="auto"` means here: none, light or standard
    mirror: bool  # a mirrored image keeps its class
    splits: dict[str, Split]
    root: str | None
    seed: int
    pixels: np.ndarray | None = None  # uint8 [N, H, W, C]: every image of an array data set
    tensors: dict[torch.device, torch.Tensor] = field(default_factory=dict, repr=False)  # pixels by device

    def split(self, name: str) -> Split:
        """The split `train`, `selection` or `test`."""
        return self.splits[name]

    def calibration(self, images: int) -> Split:
        """About `images` of the training images (all where there are fewer), every class in proportion, mixed.

        Content and the baseline's seed choose them, so that asking for more or fewer changes no other split.
        """
        train = self.splits["train"]
        digests = np.array([int(digest, 16) for digest in train.digests], dtype=np.uint64)
        rows = np.arange(len(train))
        if images < len(train):
            rows = rows[splits.choose(digests, train.labels, images, self.seed, "calibration", leave=0)]
        rows = rows[np.argsort(splits.keys(digests[rows], self.seed, "calibration"), kind="stable")]
        return train.part(rows)

    def pixels_on(self, device: torch.device) -> torch.Tensor:
        """All images of an array data set, uint8 [N, H, W, C], moved to `device` once."""
        if device not in self.tensors:
            self.tensors[device] = torch.from_numpy(self.pixels).to(device)
        return self.tensors[device]

    @cached_property
    def store(self) -> Store:
        """Decoded images of a data set of files (see `cache.Store`)."""
        from budama.data.cache import Store

        return Store(self)


def open_data(manifest: Manifest) -> Data:
    """Open what `manifest` (dataset.json) names. Raises BudamaError if it is no such thing, if splits overlap, or if
    the data has changed."""
    missing = [key for key in KEYS if not isinstance(manifest, dict) or key not in manifest]
    if missing:
        raise BudamaError(f"dataset.json has no {missing[0]}: it is not of this budama; make it anew (dataset.py)")
    splits.check_disjoint(manifest)
    stored = manifest["stored"] == "arrays"
    channels, height, width = manifest["input_shape"]
    return Data(
        name=manifest["name"],
        title=manifest["title"],
        classes=manifest["classes"],
        class_names=tuple(manifest["class_names"]),
        input_shape=(channels, height, width),
        mean=tuple(manifest["mean"]),
        std=tuple(manifest["std"]),
        resize=manifest["resize"],
        augment=manifest["augment"],
        mirror=manifest["mirror"],
        splits={name: _split(name, entry) for name, entry in manifest["splits"].items()},
        root=manifest["root"],
        seed=manifest["seed"],
        pixels=_pixels(manifest) if stored else None,
    )


def _split(name: str, entry: ArraySplit | FileSplit) -> Split:
    labels = np.array(entry["labels"], dtype=np.int64)
    if "paths" not in entry:
        return Split(name, np.array(entry["indices"], dtype=np.int64), labels, entry["digests"])
    sizes = np.stack([entry["heights"], entry["widths"]], axis=1).astype(np.int64)
    return Split(name, np.arange(len(labels)), labels, entry["digests"], entry["paths"], sizes)


def _pixels(manifest: Manifest) -> np.ndarray:
    loaded = arrays.load({"name": manifest["name"], "root": manifest["root"]})
    for name, entry in manifest["splits"].items():
        if "indices" in entry:
            _same_content(manifest["name"], name, entry, loaded.images)
    channels = manifest["input_shape"][0]
    return np.ascontiguousarray(arrays.with_channels(loaded.images, channels))


def _same_content(data_name: str, name: str, entry: ArraySplit, images: np.ndarray) -> None:
    step = max(1, len(entry["indices"]) // SAMPLE)
    indices = np.array(entry["indices"][::step], dtype=np.int64)
    expected = np.array([int(digest, 16) for digest in entry["digests"][::step]], dtype=np.uint64)
    if indices.max(initial=-1) >= len(images) or (digests_of(images[indices]) != expected).any():
        raise BudamaError(
            f"{data_name}: the images of {name} are not those of dataset.json; run the dataset stage again"
        )
