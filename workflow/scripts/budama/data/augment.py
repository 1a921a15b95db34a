"""Random crops and mirrors. What happens to an image depends on the seed, the epoch and its place in the epoch alone.

Batch size, threads, device and the number of processes change nothing, so interrupted training resumes bit for bit.
"""

import numpy as np
import torch

DRAWS = 24  # random numbers kept for each image of an epoch, whether it needs them or not
ATTEMPTS = 10  # of RandomResizedCrop
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # area and aspect of random crops (Szegedy et al. 2015)


def order(count: int, shuffle: bool, seed: int, epoch: int) -> np.ndarray:
    """The images' order in an epoch: int64 [count]."""
    if not shuffle:
        return np.arange(count)
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(count)


def draws(start: int, stop: int, seed: int, epoch: int) -> np.ndarray:
    """Uniform numbers in [0, 1) for the images at places start … stop - 1 of an epoch: float64 [stop - start, DRAWS].

    Philox (Salmon et al. 2011) counts: its stream can be entered anywhere; a step gives four numbers.
    """
    key = np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint64)
    stream = np.random.Philox(key=key).advance(start * DRAWS // 4)
    return np.random.Generator(stream).random((stop - start, DRAWS))


def shifts(uniform: np.ndarray, reach: int) -> np.ndarray:
    """Shifts down and right by -reach … reach pixels: int64 [N, 2]."""
    return (uniform[:, 1:3] * (2 * reach + 1)).astype(np.int64) - reach


def mirrors(uniform: np.ndarray, allowed: bool) -> np.ndarray:
    """Which images are mirrored: bool [N], half of them where that is allowed."""
    return (uniform[:, 0] < 0.5) & allowed


def reach(kind: str, side: int) -> int:
    """How far small images are shifted: a pixel (light), or an eighth (standard; 4 of 32 as in He et al. 2016)."""
    return {"none": 0, "light": 1, "standard": max(1, round(side / 8))}[kind]


def gather(pixels: torch.Tensor, rows: torch.Tensor, shift: torch.Tensor, mirror: torch.Tensor, reach: int):
    """Images `rows` [B] of `pixels` [N, H, W, C], shifted (black moves in) and mirrored: uint8 [B, H, W, C]."""
    height, width, channels = pixels.shape[1:]
    padded = torch.nn.functional.pad(pixels[rows], (0, 0, reach, reach, reach, reach))
    down = torch.arange(height, device=pixels.device) + reach + shift[:, :1]
    right = torch.arange(width, device=pixels.device)
    right = torch.where(mirror[:, None], right.flip(0), right) + reach + shift[:, 1:]
    images = torch.arange(len(rows), device=pixels.device)[:, None]
    flat = ((images * padded.shape[1] + down) * padded.shape[2])[:, :, None] + right[:, None, :]
    taken = padded.view(-1, channels).index_select(0, flat.view(-1))  # twice as fast as three index tensors
    return taken.view(len(rows), height, width, channels)


def resized_crops(sizes: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """RandomResizedCrop's boxes, as torchvision draws them: int64 [N, 4], top, left, height, width.

    `sizes` [N, 2] are heights and widths. The first of ten random boxes that fits is taken, else the middle.
    """
    height, width = sizes[:, :1], sizes[:, 1:]
    area = height * width * (SCALE[0] + (SCALE[1] - SCALE[0]) * uniform[:, 4 : 4 + ATTEMPTS])
    low, high = np.log(RATIO)
    aspect = np.exp(low + (high - low) * uniform[:, 4 + ATTEMPTS :])
    widths, heights = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first, row = fits.argmax(axis=1), np.arange(len(sizes))
    fallback_w = np.minimum(width[:, 0], np.rint(height[:, 0] * RATIO[1]))
    fallback_h = np.minimum(height[:, 0], np.rint(width[:, 0] / RATIO[0]))
    any_fits = fits.any(axis=1)
    box_w = np.where(any_fits, widths[row, first], fallback_w).astype(np.int64)
    box_h = np.where(any_fits, heights[row, first], fallback_h).astype(np.int64)
    room_h, room_w = sizes[:, 0] - box_h, sizes[:, 1] - box_w
    top = np.where(any_fits, (uniform[:, 1] * (room_h + 1)).astype(np.int64), room_h // 2)
    left = np.where(any_fits, (uniform[:, 2] * (room_w + 1)).astype(np.int64), room_w // 2)
    return np.stack([top, left, box_h, box_w], axis=1)


def random_crops(sizes: np.ndarray, uniform: np.ndarray, side: int) -> np.ndarray:
    """Boxes of `side` × `side` anywhere in the image, not scaled: int64 [N, 4] as above."""
    corners = (uniform[:, 1:3] * (sizes - side + 1)).astype(np.int64)
    return np.concatenate([corners, np.full_like(corners, side)], axis=1)


def centre_crops(sizes: np.ndarray, side: int) -> np.ndarray:
    """Boxes of `side` × `side` in the middle, rounded as torchvision's CenterCrop does: int64 [N, 4] as above."""
    corners = np.rint((sizes - side) / 2).astype(np.int64)
    return np.concatenate([corners, np.full_like(corners, side)], axis=1)
