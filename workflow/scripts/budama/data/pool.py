"""Every readable image of a data set with its content's digest, before it is split."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from budama.data import arrays, folders, images
from budama.data.arrays import Arrays
from budama.errors import BudamaError
from budama.progress import track


@dataclass(frozen=True)
class Pool:
    """Every readable image of a data set, before it is split. One row an image in each array."""

    class_names: list[str]
    place: str  # where the images lie, for people
    digests: np.ndarray  # uint64 [N]
    labels: np.ndarray  # int64 [N]
    test: np.ndarray | None  # bool [N]: the set's own test images; None: to be cut from the rest
    selection: np.ndarray | None  # bool [N]: the set's own images that choose the best epoch; None: cut from the rest
    indices: np.ndarray  # int64 [N]: place in the arrays, or in `paths`
    paths: list[str] | None = None  # relative to root
    root: str | None = None
    sizes: np.ndarray | None = None  # int64 [N, 2]: height, width, upright
    grey: bool = False
    arrays: Arrays | None = None
    unreadable: list[dict] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)  # path, reason
    parts: dict[str, str] = field(default_factory=dict)  # folders of the splits, relative to root
    alike: list[str] = field(default_factory=list)  # classes that people would take for one
    many_frames: list[str] = field(default_factory=list)  # films and stacks, of which the first picture is used

    def name(self, row: int) -> str:
        """What an image is called: its path, or ``image N`` by its place in the arrays."""
        return self.paths[row] if self.paths is not None else f"image {self.indices[row]}"

    def label_conflicts(self) -> list[str]:
        """Images that also stand under another class with the same content."""
        _, first, inverse = np.unique(self.digests, return_index=True, return_inverse=True)
        return [self.name(row) for row in np.flatnonzero(self.labels != self.labels[first][inverse]).tolist()]


def array_pool(data: dict) -> Pool:
    """The images of an array data set. Raises BudamaError."""
    loaded = arrays.load(data)
    rows = np.arange(len(loaded.images))
    if data["protocol"] == "validation_only" and loaded.test_start is not None:
        rows = rows[loaded.test_start :]
    test = None
    if loaded.test_start is not None and data["protocol"] != "validation_only":
        test = rows >= loaded.test_start
    return Pool(
        class_names=list(loaded.class_names),
        place=loaded.place,
        digests=digests_of(loaded.images[rows]),
        labels=loaded.labels[rows],
        test=test,
        selection=None,
        indices=rows,
        root=data["root"],
        arrays=loaded,
    )


def digests_of(pixels: np.ndarray) -> np.ndarray:
    """BLAKE2b digests (64 bits) of images [N, H, W, C]: uint64 [N]."""
    rows = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    joined = b"".join(blake2b(row.data, digest_size=8).digest() for row in rows)
    return np.frombuffer(joined, dtype=">u8").astype(np.uint64)


def file_pool(data: dict, threads: int) -> Pool:
    """The images of a data set of files, each read once, on `threads` threads. Raises BudamaError."""
    listing = folders.list_images(data)
    paths = [str(listing.root / path) for path in listing.paths]
    checked = list(track(_checked(paths, threads), "checking images", total=len(paths), unit="images"))
    good = np.array([row for row, result in enumerate(checked) if result.reason is None], dtype=np.int64)
    unreadable = [{"path": path, "reason": reason} for path, reason in listing.unreadable]
    unreadable += [
        {"path": listing.paths[row], "reason": result.reason} for row, result in enumerate(checked) if result.reason
    ]
    labels = np.array(listing.labels, dtype=np.int64)
    splits = np.array(listing.splits)[good]
    _every_class_has_images(listing, labels[good], splits, unreadable)
    return Pool(
        class_names=listing.class_names,
        place=str(listing.root),
        digests=np.array([checked[row].digest for row in good], dtype=np.uint64),
        labels=labels[good],
        test=splits == "test" if "test" in listing.parts else None,
        selection=splits == "selection" if "selection" in listing.parts else None,
        indices=np.arange(len(good)),
        paths=[listing.paths[row] for row in good],
        root=str(listing.root),
        sizes=np.array([(checked[row].height, checked[row].width) for row in good], dtype=np.int64).reshape(-1, 2),
        grey=all(checked[row].grey for row in good),
        unreadable=unreadable,
        skipped=listing.skipped,
        parts=listing.parts,
        alike=listing.alike,
        many_frames=[listing.paths[row] for row in good if checked[row].frames > 1],
    )


def _checked(paths: list[str], threads: int, chunk: int = 64) -> Iterator[images.Checked]:
    """Check files on `threads` threads (reading, hashing and decoding leave Python's lock), in order."""
    chunks = [paths[start : start + chunk] for start in range(0, len(paths), chunk)]
    with ThreadPoolExecutor(threads) as pool:
        for results in pool.map(lambda part: [images.check(path) for path in part], chunks):
            yield from results


def _every_class_has_images(
    listing: folders.Listing, labels: np.ndarray, splits: np.ndarray, unreadable: list[dict]
) -> None:
    lines = []
    for split, folder in listing.parts.items():
        name = f"{folder}: " if len(listing.parts) > 1 else ""
        counts = np.bincount(labels[splits == split], minlength=len(listing.class_names))
        for empty in np.flatnonzero(counts == 0):
            example = f", for example {unreadable[0]['path']}: {unreadable[0]['reason']}" if unreadable else ""
            lines.append(
                f"{listing.root}: {name}the class '{listing.class_names[empty]}' holds no readable image"
                f" ({len(unreadable)} unreadable in all{example})"
            )
    if lines:
        raise BudamaError(*lines[:10])
