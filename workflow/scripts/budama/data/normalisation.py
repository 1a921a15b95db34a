"""Mean and standard deviation of a data set's channels: given, known, or computed from its training images."""

from collections.abc import Iterator

import numpy as np

from budama.data import arrays, images
from budama.data.catalogue import IMAGENET_MEAN, IMAGENET_STD, Source
from budama.data.pool import Pool
from budama.errors import BudamaError

SAMPLE = 2000  # training images that mean and std of image files are computed from
GLANCE = 100  # that show whether a set is dark, where mean and std are known


def normalisation(
    data: dict, source: Source, pool: Pool, train: np.ndarray, channels: int
) -> tuple[list[float], list[float], str, np.ndarray]:
    """Mean, std, where they are from, and how often each value stands in a sample of training images, int64 [C, 256].

    Photographs in colour take ImageNet's mean and std, which pretrained weights expect.
    """
    given = data["mean"], data["std"]
    if any(given):
        lengths = [len(values or ()) for values in given]
        if lengths != [channels, channels]:
            have = f"{lengths[0]} and {lengths[1]}"
            raise BudamaError(f"data.mean and data.std hold {have} values; both must hold {channels}, one a channel")
        return *given, "given", histogram(pool, train, channels, GLANCE)
    known = _known(source, channels)
    if known is not None:
        return *known, histogram(pool, train, channels, GLANCE)
    counted = histogram(pool, train, channels, SAMPLE)
    return *_computed(counted), "computed", counted


def _known(source: Source, channels: int) -> tuple[list[float], list[float], str] | None:
    if source.mean is not None and source.std is not None:
        if len(source.mean) == channels:
            return list(source.mean), list(source.std), "known"
        if len(source.mean) == 1:
            return list(source.mean) * channels, list(source.std) * channels, "known"
    if source.stored == "files" and channels == 3:
        return list(IMAGENET_MEAN), list(IMAGENET_STD), "imagenet"
    return None


def histogram(pool: Pool, train: np.ndarray, channels: int, most: int) -> np.ndarray:
    """How often each value stands in each channel, int64 [C, 256], of `most` training files, or of all in arrays."""
    batches: Iterator[np.ndarray]
    counted = np.zeros((channels, 256), dtype=np.int64)
    if pool.arrays is not None:
        batches = iter([arrays.with_channels(pool.arrays.images[pool.indices[train]], channels)])
    else:
        sample = train[np.argsort(pool.digests[train], kind="stable")[:most]]
        batches = (_sampled_pixels(f"{pool.root}/{pool.name(row)}", channels) for row in sample)
    for batch in batches:
        for channel in range(channels):
            counted[channel] += np.bincount(batch[..., channel].ravel(), minlength=256)
    return counted


def _computed(histogram: np.ndarray) -> tuple[list[float], list[float]]:
    """Exact mean and std over pixels, scaled to 0–1, by way of histograms: no sum depends on the order."""
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
