"""Batches of image files, read, decoded and cropped ahead of their use on threads (decoding leaves Python's lock)."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from budama.datasets import augment, decoding
from budama.datasets.cache import Store

AHEAD = 3  # batches that are being prepared while one is used
CHUNK = 8  # images that a thread does at a time


def read_ahead(plan, workers: int, pinned: bool) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The batches of a batching.Plan over image files: (uint8 [B, H, W, C], labels int64 [B]), in order, on the CPU.

    `workers` threads (0: as many as torch uses); `pinned` puts the images where a GPU can fetch them by itself.
    """
    store, order = plan.data.store, plan.order()
    pool = ThreadPoolExecutor(workers or torch.get_num_threads(), thread_name_prefix="decode")
    waiting: deque[tuple[torch.Tensor, torch.Tensor, list[Future]]] = deque()
    try:
        for start, stop in plan.spans:
            waiting.append(_start(plan, store, pool, order, start, stop, pinned))
            if len(waiting) > AHEAD:
                yield _finished(waiting.popleft())
        while waiting:
            yield _finished(waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@torch.inference_mode(False)  # the threads that fill the tensor are not in the caller's inference mode
def _start(plan, store: Store, pool: ThreadPoolExecutor, order: np.ndarray, start: int, stop: int, pinned: bool):
    rows = order[start + plan.rank : stop : plan.world]
    places = plan.split.indices[rows]
    channels, side, _ = plan.data.input_shape
    images = torch.empty((len(rows), side, side, channels), dtype=torch.uint8, pin_memory=pinned)
    uniform = plan.draws(start, stop)
    boxes = _boxes(plan, store.kept[plan.split.name][places], uniform, side)
    mirrored = np.zeros(len(rows), bool) if uniform is None else augment.mirrors(uniform, plan.data.mirror)
    jobs = []
    for at in range(0, len(rows), CHUNK):
        part = slice(at, at + CHUNK)
        jobs.append(pool.submit(_fill, images[part], store, plan.split.name, places[part], boxes[part], mirrored[part]))
    return images, torch.from_numpy(plan.split.labels[rows]), jobs


def _boxes(plan, sizes: np.ndarray, uniform: np.ndarray | None, side: int) -> np.ndarray:
    if plan.kind == "none":
        return augment.centre_crops(sizes, side)
    if plan.kind == "light":
        return augment.random_crops(sizes, uniform, side)
    return augment.resized_crops(sizes, uniform)


def _fill(target: torch.Tensor, store: Store, split: str, places, boxes, mirrored) -> None:
    side = tuple(target.shape[1:3])
    for out, place, (top, left, height, width), mirror in zip(target, places, boxes.tolist(), mirrored, strict=True):
        crop = store.get(split, place)[top : top + height, left : left + width]
        out.copy_(decoding.scaled(_mirrored(crop) if mirror else crop, side))


def _mirrored(image: torch.Tensor) -> torch.Tensor:
    return image[None].permute(0, 3, 1, 2).flip(3)[0].permute(1, 2, 0)  # torch's fast kernel for channels_last uint8


def _finished(batch: tuple[torch.Tensor, torch.Tensor, list[Future]]) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels, jobs = batch
    for job in jobs:
        job.result()
    return images, labels
