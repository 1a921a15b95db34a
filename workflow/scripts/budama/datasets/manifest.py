"""dataset.json: every image that a baseline and its scenarios use, checked once, and the split it belongs to."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from budama import locations
from budama.datasets import folders, images, sources, splits
from budama.errors import BudamaError
from budama.locations import IMAGENET_MEAN, IMAGENET_STD, SOURCES, Source
from budama.progress import track

TEST_SHARE = 0.2  # of images that come without a test set
FEW_IMAGES = 1000  # below this a test set's accuracy has a standard error of more than about a point
STATISTICS_SAMPLE = 2000  # training images that mean and std of image files are computed from
PHOTO_RESIZE = 256 / 224  # shorter side before the middle is cut out, per image size (He et al. 2016)


@dataclass(frozen=True)
class Pool:
    """Every readable image of a data set, before it is split. One row an image in each array."""

    class_names: list[str]
    place: str  # where the images lie, for people
    digests: np.ndarray  # uint64 [N]
    labels: np.ndarray  # int64 [N]
    test: np.ndarray | None  # bool [N]: the set's own test images; None: to be cut from the rest
    indices: np.ndarray  # int64 [N]: place in the arrays, or in `paths`
    paths: list[str] | None = None  # relative to root
    root: str | None = None
    sizes: np.ndarray | None = None  # int64 [N, 2]: width, height upright
    grey: bool = False
    arrays: sources.Arrays | None = None
    unreadable: list[dict] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def build_manifest(settings: dict, threads: int) -> dict:
    """Find or download the data, check every image once, and fix disjoint splits by content.

    `settings` is ``{"data": {...}, "calibration_images": n, "seed": n}``; returns dataset.json (see the README).
    Raises BudamaError, in a line a mistake, for data that is missing or cannot serve.
    """
    data, seed = settings["data"], settings["seed"]
    source = SOURCES[data["name"]]
    if source.download:
        sources.download(data)
    pool = _array_pool(data) if source.stored == "arrays" else _file_pool(data, threads)
    parts, duplicates = _split(pool, data, settings["calibration_images"], seed)
    shape = _input_shape(data, source, pool)
    mean, std, origin = _normalisation(data, source, pool, parts["train"], shape[0])
    manifest = {
        "name": data["name"],
        "title": source.title if data["name"] != "image_folder" else locations.root(data).resolve().name,
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
        "cache_gib": data["cache_gib"],
        "counts": {name: len(rows) for name, rows in parts.items()},
        "class_counts": {name: _class_counts(pool, rows) for name, rows in parts.items()},
        "unreadable": pool.unreadable,
        "skipped": {"count": len(pool.skipped), "examples": pool.skipped[: splits.EXAMPLES]},
        "duplicates": duplicates,
        "splits": {name: _split_entry(pool, rows) for name, rows in parts.items()},
    }
    manifest["warnings"] = list(_warnings(manifest, pool, settings))
    splits.check_disjoint(manifest)
    return manifest


def _array_pool(data: dict) -> Pool:
    arrays = sources.load(data)
    rows = np.arange(len(arrays.images))
    if data["protocol"] == "validation_only" and arrays.test_start is not None:
        rows = rows[arrays.test_start :]
    own_test = arrays.test_start is not None and data["protocol"] != "validation_only"
    return Pool(
        class_names=list(arrays.class_names),
        place=arrays.place,
        digests=digests_of(arrays.images[rows]),
        labels=arrays.labels[rows],
        test=rows >= arrays.test_start if own_test else None,
        indices=rows,
        root=data["root"],
        arrays=arrays,
    )


def digests_of(pixels: np.ndarray) -> np.ndarray:
    """BLAKE2b digests (64 bits) of images [N, H, W, C]: uint64 [N]."""
    rows = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    joined = b"".join(blake2b(row, digest_size=8).digest() for row in rows)
    return np.frombuffer(joined, dtype=">u8").astype(np.uint64)


def _file_pool(data: dict, threads: int) -> Pool:
    listing = folders.list_images(data)
    paths = [str(listing.root / path) for path in listing.paths]
    checked = list(track(_checked(paths, threads), "checking images", total=len(paths), unit="images"))
    good = np.array([row for row, result in enumerate(checked) if result.reason is None], dtype=np.int64)
    unreadable = [{"path": path, "reason": reason} for path, reason in listing.unreadable]
    unreadable += [
        {"path": listing.paths[row], "reason": result.reason} for row, result in enumerate(checked) if result.reason
    ]
    labels = np.array(listing.labels, dtype=np.int64)
    test = None if listing.test is None else np.array(listing.test, dtype=bool)
    _every_class_has_images(listing, labels[good], None if test is None else test[good], unreadable)
    return Pool(
        class_names=listing.class_names,
        place=str(listing.root),
        digests=np.array([checked[row].digest for row in good], dtype=np.uint64),
        labels=labels[good],
        test=None if test is None else test[good],
        indices=np.arange(len(good)),
        paths=[listing.paths[row] for row in good],
        root=str(listing.root),
        sizes=np.array([(checked[row].width, checked[row].height) for row in good], dtype=np.int64).reshape(-1, 2),
        grey=all(checked[row].grey for row in good),
        unreadable=unreadable,
        skipped=listing.skipped,
    )


def _checked(paths: list[str], threads: int, chunk: int = 64) -> Iterator[images.Checked]:
    """Check files on `threads` threads (reading, hashing and decoding leave Python's lock), in order."""
    chunks = [paths[start : start + chunk] for start in range(0, len(paths), chunk)]
    with ThreadPoolExecutor(threads) as pool:
        for results in pool.map(lambda part: [images.check(path) for path in part], chunks):
            yield from results


def _every_class_has_images(listing: folders.Listing, labels, test, unreadable: list[dict]) -> None:
    lines = []
    for name, chosen in (("", labels),) if test is None else (("train: ", labels[~test]), ("val: ", labels[test])):
        counts = np.bincount(chosen, minlength=len(listing.class_names))
        for empty in np.flatnonzero(counts == 0):
            example = f", for example {unreadable[0]['path']}: {unreadable[0]['reason']}" if unreadable else ""
            lines.append(
                f"{listing.root}: {name}the class '{listing.class_names[empty]}' holds no readable image"
                f" ({len(unreadable)} unreadable in all{example})"
            )
    if lines:
        raise BudamaError(*lines[:10])


def _split(pool: Pool, data: dict, calibration_images: int, seed: int) -> tuple[dict[str, np.ndarray], dict]:
    """Rows of the pool by split, and what was done about test images that also stand among the training images."""
    rows = np.arange(len(pool.digests))
    if pool.test is None:
        share = TEST_SHARE if data["test"] is None else data["test"]
        wanted = splits.wanted_images(share, len(rows), "data.test")
        test = splits.choose(pool.digests, pool.labels, wanted, seed, "test")
    elif data["test"] is not None:
        raise BudamaError(f"data.test is {data['test']}, but {pool.place} holds its own test images; it must be null")
    else:
        test = pool.test
    copies = ~test & np.isin(pool.digests, pool.digests[test])
    duplicates = _duplicates(pool, data, test, copies)
    rest = rows[~test & ~copies]
    wanted = splits.wanted_images(data["selection"], len(rest), "data.selection")
    chosen = splits.choose(pool.digests[rest], pool.labels[rest], wanted, seed, "selection")
    train, selection = rest[~chosen], rest[chosen]
    if min(len(train), len(selection), test.sum()) == 0:
        counts = f"train {len(train)}, selection {len(selection)}, test {test.sum()}"
        raise BudamaError(f"{pool.place}: too few images to split ({counts}); every split needs at least one")
    calibration = train
    if calibration_images < len(train):
        digests, labels = pool.digests[train], pool.labels[train]
        calibration = train[splits.choose(digests, labels, calibration_images, seed, "calibration", leave=0)]
    mixed = np.argsort(splits.keys(pool.digests[calibration], seed, "calibration"), kind="stable")
    return {"train": train, "calibration": calibration[mixed], "selection": selection, "test": rows[test]}, duplicates


def _duplicates(pool: Pool, data: dict, test: np.ndarray, copies: np.ndarray) -> dict:
    policy = data["duplicates"] or ("refuse" if data["name"] == "image_folder" else "drop")
    in_test = dict(zip(pool.digests[test].tolist(), np.flatnonzero(test).tolist(), strict=True)) if copies.any() else {}
    pairs = [
        {"train": _name(pool, row), "test": _name(pool, in_test[int(pool.digests[row])])}
        for row in np.flatnonzero(copies)[: splits.EXAMPLES]
    ]
    if pairs and policy == "refuse":
        named = "; ".join(f"{pair['train']} = {pair['test']}" for pair in pairs)
        raise BudamaError(
            f"{pool.place}: {copies.sum()} training images also stand in the test set ({named});"
            " remove them, or set data.duplicates: drop"
        )
    _, first = np.unique(pool.digests, return_index=True)
    return {"policy": policy, "dropped": int(copies.sum()), "examples": pairs, "copies": len(pool.digests) - len(first)}


def _name(pool: Pool, row: int) -> str:
    return pool.paths[row] if pool.paths is not None else f"image {pool.indices[row]}"


def _split_entry(pool: Pool, rows: np.ndarray) -> dict:
    entry = {"indices": pool.indices[rows].tolist()} if pool.paths is None else {"paths": [pool.paths[r] for r in rows]}
    entry["labels"] = pool.labels[rows].tolist()
    entry["digests"] = [f"{digest:016x}" for digest in pool.digests[rows].tolist()]
    if pool.sizes is not None:
        entry["widths"], entry["heights"] = pool.sizes[rows].T.tolist()
    return entry


def _class_counts(pool: Pool, rows: np.ndarray) -> list[int]:
    return np.bincount(pool.labels[rows], minlength=len(pool.class_names)).tolist()


def _input_shape(data: dict, source: Source, pool: Pool) -> list[int]:
    shape = list(locations.input_shape(data))
    if data["channels"] is None and source.stored == "files" and pool.grey:
        shape[0] = 1
    return shape


def _resize(data: dict, source: Source, shape: list[int]) -> int | None:
    if data["resize"] is not None:
        if data["resize"] < shape[1]:
            raise BudamaError(f"data.resize is {data['resize']}; it must be at least data.image_size ({shape[1]})")
        return data["resize"]
    return round(shape[1] * PHOTO_RESIZE) if source.stored == "files" else None


def _normalisation(data: dict, source: Source, pool: Pool, train: np.ndarray, channels: int) -> tuple:
    """Mean, std and where they are from. Photographs in colour take ImageNet's, which pretrained weights expect."""
    given = data["mean"], data["std"]
    if any(given):
        lengths = [len(values or ()) for values in given]
        if lengths != [channels, channels]:
            have = f"{lengths[0]} and {lengths[1]}"
            raise BudamaError(f"data.mean and data.std hold {have} values; both must hold {channels}, one a channel")
        return *given, "given"
    if source.mean is not None and len(source.mean) == channels:
        return list(source.mean), list(source.std), "known"
    if source.mean is not None and len(source.mean) == 1:
        return list(source.mean) * channels, list(source.std) * channels, "known"
    if source.stored == "files" and channels == 3:
        return list(IMAGENET_MEAN), list(IMAGENET_STD), "imagenet"
    return *_computed(pool, train, channels), "computed"


def _computed(pool: Pool, train: np.ndarray, channels: int) -> tuple[list[float], list[float]]:
    """Exact mean and std over pixels, scaled to 0–1, by way of histograms: no sum depends on the order."""
    histogram = np.zeros((channels, 256), dtype=np.int64)
    if pool.arrays is not None:
        batches = (sources.with_channels(pool.arrays.images[pool.indices[train]], channels),)
    else:
        sample = train[np.argsort(pool.digests[train], kind="stable")[:STATISTICS_SAMPLE]]
        batches = (_sampled_pixels(f"{pool.root}/{pool.paths[row]}", channels) for row in sample)
    for batch in batches:
        for channel in range(channels):
            histogram[channel] += np.bincount(batch[..., channel].ravel(), minlength=256)
    values, weights = np.arange(256) / 255, histogram / histogram.sum(axis=1, keepdims=True)
    mean = weights @ values
    std = np.sqrt((weights * (values - mean[:, None]) ** 2).sum(axis=1)).clip(1 / 255)
    return np.round(mean, 6).tolist(), np.round(std, 6).tolist()


def _sampled_pixels(path: str, channels: int) -> np.ndarray:
    try:
        image = images.opened(images.read(path))
        image.draft(None, (64, 64))
        return images.pixels(image, channels)
    except images.Unreadable as error:
        raise BudamaError(f"{path}: {error}; it changed or is damaged inside: remove it") from None


def _warnings(manifest: dict, pool: Pool, settings: dict) -> Iterator[dict]:
    counts = manifest["counts"]
    if manifest["protocol"] == "validation_only":
        yield {"code": "validation_only", "images": counts["train"] + counts["selection"] + counts["test"]}
    if pool.unreadable:
        yield {"code": "unreadable_images", "count": len(pool.unreadable), "readable": len(pool.digests)}
    if manifest["duplicates"]["dropped"]:
        yield {"code": "duplicates", "count": manifest["duplicates"]["dropped"]}
    if counts["test"] < FEW_IMAGES:
        yield {"code": "few_images", "split": "test", "images": counts["test"]}
    asked = settings["calibration_images"]
    if counts["calibration"] < asked:
        yield {"code": "few_calibration_images", "asked": asked, "images": counts["calibration"]}
    conflicts = _label_conflicts(pool)
    if conflicts:
        yield {"code": "label_conflicts", "count": len(conflicts), "examples": conflicts[: splits.EXAMPLES]}
    expected = SOURCES[manifest["name"]].classes
    if expected is not None and expected != manifest["classes"]:
        yield {"code": "unexpected_classes", "classes": manifest["classes"], "expected": expected}


def _label_conflicts(pool: Pool) -> list[str]:
    """Images that stand under two classes with the same content, one name each."""
    _, first, inverse = np.unique(pool.digests, return_index=True, return_inverse=True)
    return [_name(pool, row) for row in np.flatnonzero(pool.labels != pool.labels[first][inverse])]
