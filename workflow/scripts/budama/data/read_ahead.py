"""Batches of image files, read, decoded and cropped ahead of their use on threads (which leave Python's lock)."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from budama.data import augment, resampling
from budama.data.cache import Store

AHEAD, AHEAD_NORMALISED = (
    3,
    1,
)  # batches that are being prepared while one is used; normalised ones are four times as large
CHUNK = 8  # images that a thread does at a time


@dataclass(frozen=True)
class Affine:
    """What a batch is normalised with while it is made: value · scale + offset, both float32 [C]."""

    scale: np.ndarray
    offset: np.ndarray
    planar: bool  # [B, C, H, W] in memory, else [B, H, W, C]


def read_ahead(plan, workers: int, pinned: bool = False, affine: Affine | None = None) -> Iterator[tuple]:
    """The batches of a batching.Plan over image files: (images, labels int64 [B]), in order, on the CPU.

    Images are uint8 [B, H, W, C]; with `affine` they are normalised float32, [B, C, H, W] or [B, H, W, C]. `workers`
    threads (0: as many as torch uses); `pinned` puts the images where a GPU can fetch them by itself.
    """
    store, order = plan.data.store, plan.order()
    pool = ThreadPoolExecutor(workers or torch.get_num_threads(), thread_name_prefix="decode")
    waiting: deque[tuple[torch.Tensor, torch.Tensor, list[Future]]] = deque()
    try:
        for start, stop in plan.spans:
            rows = order[start + plan.rank : stop : plan.world]
            images = _space(plan, len(rows), pinned, affine)
            jobs = _start(plan, store, pool, rows, plan.draws(start, stop), images.numpy(), affine)
            waiting.append((images, torch.from_numpy(plan.split.labels[rows]), jobs))
            if len(waiting) > (AHEAD if affine is None else AHEAD_NORMALISED):
                yield _finished(waiting.popleft())
        while waiting:
            yield _finished(waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _space(plan, count: int, pinned: bool, affine: Affine | None) -> torch.Tensor:
    channels, side, _ = plan.data.input_shape
    shape = (count, channels, side, side) if affine and affine.planar else (count, side, side, channels)
    return torch.empty(shape, dtype=torch.float32 if affine else torch.uint8, pin_memory=pinned)


def _start(plan, store: Store, pool: ThreadPoolExecutor, rows, uniform, images: np.ndarray, affine) -> list[Future]:
    places = plan.split.indices[rows]
    boxes = _boxes(plan, store.kept[plan.split.name][places], uniform, plan.data.input_shape[1])
    mirrored = np.zeros(len(rows), bool) if uniform is None else augment.mirrors(uniform, plan.data.mirror)
    parts = (slice(at, at + CHUNK) for at in range(0, len(rows), CHUNK))
    return [
        pool.submit(_fill, images[part], store, plan.split.name, places[part], boxes[part], mirrored[part], affine)
        for part in parts
    ]


def _boxes(plan, sizes: np.ndarray, uniform: np.ndarray | None, side: int) -> np.ndarray:
    if uniform is None:
        return augment.centre_crops(sizes, side)
    if plan.kind == "light":
        return augment.random_crops(sizes, uniform, side)
    return augment.resized_crops(sizes, uniform)


def _fill(target: np.ndarray, store: Store, split: str, places, boxes, mirrored, affine: Affine | None) -> None:
    for out, place, box, mirror in zip(target, places.tolist(), boxes.tolist(), mirrored.tolist(), strict=True):
        image = store.get(split, place)
        if affine is None:
            resampling.crop(image, tuple(box), mirror, out)
        else:
            scale, offset, planar = affine.scale, affine.offset, affine.planar
            resampling.crop_normalised(image, tuple(box), mirror, scale, offset, planar, out)


def _finished(batch: tuple[torch.Tensor, torch.Tensor, list[Future]]) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels, jobs = batch
    for job in jobs:
        job.result()
    return images, labels
