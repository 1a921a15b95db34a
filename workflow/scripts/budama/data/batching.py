"""Batches of images for a model, from arrays in memory or from image files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from budama.data import augment as augmenting
from budama.data.dataset import Data, Split
from budama.errors import BudamaError

if TYPE_CHECKING:
    from budama.data.corruptions import Corruption

KINDS = ("none", "light", "standard")
PORTION = 2**18  # values a CPU thread normalises at a time: 1 MiB as float32


@dataclass(frozen=True)
class Plan:
    """Which images are in which batch of an epoch, and what happens to them."""

    data: Data
    split: Split
    batch_size: int
    kind: str
    shuffle: bool
    seed: int
    epoch: int
    limit: int | None
    rank: int
    world: int
    corruption: Corruption | None

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Places in the epoch, start and stop, of every batch. A shuffled epoch leaves an incomplete last batch out."""
        count, size = len(self.split), self.batch_size
        spans = [(start, min(start + size, count)) for start in range(0, count, size)]
        if self.shuffle and len(spans) > 1 and spans[-1][1] - spans[-1][0] < size:
            spans.pop()
        return spans[: self.limit]

    def order(self) -> np.ndarray:
        return augmenting.order(len(self.split), self.shuffle, self.seed, self.epoch)

    def draws(self, start: int, stop: int) -> np.ndarray | None:
        """Random numbers for this process's share of a batch; None where nothing is random."""
        if self.kind == "none":
            return None
        return augmenting.draws(start, stop, self.seed, self.epoch)[self.rank :: self.world]


class Batches:
    """A sized iterable of (images float32 [B, C, H, W], labels int64 [B]) on a device. Each pass is the same."""

    def __init__(self, plan: Plan, device: torch.device, memory_format: torch.memory_format, workers: int):
        self.plan, self.device, self.memory_format, self.workers = plan, device, memory_format, workers
        self.normalise = Normalise(plan.data, device, memory_format)

    def __len__(self) -> int:
        return len(self.plan.spans)

    @property
    def images(self) -> int:
        """Images of all batches of all processes together."""
        return self.plan.spans[-1][1] if self.plan.spans else 0

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        if self.plan.data.pixels is not None:
            return self._from_arrays()
        return self._from_files()

    def _from_arrays(self):
        plan, device = self.plan, self.device
        pixels = plan.data.pixels_on(device)
        reach = augmenting.reach(plan.kind, pixels.shape[1])
        order = plan.order()
        indices = torch.from_numpy(plan.split.indices[order]).to(device)
        labels = torch.from_numpy(plan.split.labels[order]).to(device)
        for start, stop in plan.spans:
            part = slice(start + plan.rank, stop, plan.world)
            rows, uniform = indices[part], plan.draws(start, stop)
            if uniform is None:
                images = pixels[rows]
            else:
                shift = _sent(augmenting.shifts(uniform, reach), device)
                mirror = _sent(augmenting.mirrors(uniform, plan.data.mirror), device)
                images = augmenting.gather(pixels, rows, shift, mirror, reach)
            yield self.normalise(self._corrupted(images, order[part])), labels[part]

    def _from_files(self):
        """On the CPU normalised by the threads that decode, elsewhere, and where images are corrupted before that, on
        the device: the same values."""
        from budama.data.read_ahead import Affine, read_ahead

        if self.device.type == "cpu" and self.plan.corruption is None:
            planar = self.memory_format == torch.contiguous_format
            affine = Affine(self.normalise.scale.numpy(), self.normalise.offset.numpy(), planar)
            for images, labels in read_ahead(self.plan, self.workers, affine=affine):
                yield images if planar else images.permute(0, 3, 1, 2), labels
            return
        spans, order = iter(self.plan.spans), self.plan.order()
        for images, labels in read_ahead(self.plan, self.workers, pinned=self.device.type == "cuda"):
            start, stop = next(spans)
            images = self._corrupted(images, order[start + self.plan.rank : stop : self.plan.world])
            yield self.normalise(images.to(self.device, non_blocking=True)), _sent(labels.numpy(), self.device)

    def _corrupted(self, images: torch.Tensor, places: np.ndarray) -> torch.Tensor:
        return self.plan.corruption(images, places) if self.plan.corruption else images


def _sent(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """`values` on the device. A GPU fetches them itself: a copy out of ordinary memory would wait until it is idle."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class Normalise:
    """uint8 [B, H, W, C] to float32 [B, C, H, W], (x / 255 - mean) / std, scaled to the size that the model sees."""

    def __init__(self, data: Data, device: torch.device, memory_format: torch.memory_format):
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (data.mean, data.std))
        self.scale = (1 / (255 * std)).float().to(device)
        self.offset = (-mean / std).float().to(device)
        self.memory_format = memory_format
        self.side = data.input_shape[1]
        self.resize = (data.resize or self.side) if data.pixels is not None else self.side

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        batch, height, width, channels = images.shape
        # Rows of W × C values: far faster than broadcasting over a last dimension of 3.
        rows = images.reshape(batch, height, width * channels)
        scale, offset = self.scale.repeat(width), self.offset.repeat(width)
        result = torch.empty(rows.shape, dtype=torch.float32, device=images.device)
        for part in _portions(rows):
            result[part].copy_(rows[part]).mul_(scale).add_(offset)
        if channels == 1 and self.memory_format == torch.contiguous_format:
            result = result.view(batch, 1, height, width)
        else:
            result = result.view(batch, height, width, channels).permute(0, 3, 1, 2)
        if self.resize != height or self.resize != width:
            result = torch.nn.functional.interpolate(result, (self.resize,) * 2, mode="bilinear", antialias=True)
        if self.resize != self.side:
            start = (self.resize - self.side) // 2
            result = result[:, :, start : start + self.side, start : start + self.side]
        return result.contiguous(memory_format=self.memory_format)


def _portions(rows: torch.Tensor) -> list[slice]:
    """A batch in portions that stay in the CPU's cache while they are worked on; whole on other devices."""
    if rows.device.type != "cpu":
        return [slice(None)]
    step = max(1, PORTION * torch.get_num_threads() // rows[0].numel()) if len(rows) else 1
    return [slice(start, start + step) for start in range(0, len(rows), step)]


def batches(
    data: Data,
    split: str | Split,
    batch_size: int,
    *,
    augment: str | bool | None = None,
    shuffle: bool = False,
    seed: int = 0,
    epoch: int = 0,
    device: str | torch.device = "cpu",
    limit: int | None = None,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    memory_format: torch.memory_format = torch.contiguous_format,
    corruption: Corruption | None = None,
) -> Batches:
    """Batches as a sized iterable of (images float32 [B, C, H, W] normalised, labels int64 [B]).

    `split` is one by its name, or some images of one (`data.calibration(n)`).
    Order and augmentation depend on (seed, epoch) and an image's place in the epoch alone. `augment`: None or "none",
    "light", "standard", or "auto" for what the data set's settings say. `limit`: at most so many batches. `workers`:
    threads that read and decode files ahead (0: as many as torch uses); it changes no number. `corruption` is done to
    every image before it is normalised.

    A shuffled epoch leaves an incomplete last batch out, unless it is the only one. With `world` processes,
    `batch_size` is the batch of all together: process `rank` gets every world-th image of each, and their union is
    what one process would get.
    """
    kind = _kind(data, augment)
    if isinstance(split, str):
        if split not in data.splits:
            raise BudamaError(f"{data.title} has no split '{split}'; it has {', '.join(data.splits)}")
        split = data.splits[split]
    if batch_size < 1 or batch_size < world:
        raise BudamaError(f"a batch of {batch_size} images cannot be divided among {world} processes")
    plan = Plan(data, split, batch_size, kind, shuffle, seed, epoch, limit, rank, world, corruption)
    return Batches(plan, torch.device(device), memory_format, workers)


def _kind(data: Data, augment: str | bool | None) -> str:
    kind = {None: "none", False: "none", True: data.augment, "auto": data.augment}.get(augment, augment)
    if kind not in KINDS:
        raise BudamaError(f"augment is {augment}; it must be one of auto, {', '.join(KINDS)}")
    return kind
