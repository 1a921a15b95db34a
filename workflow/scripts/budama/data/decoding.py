"""Image files to pixels, at the one size that they are kept in: shorter side `resize`, aspect as it is.

Every use of an image starts from that form, fresh from the file or from the cache, so that a number never depends on
what happened to be cached. It is just what scoring needs (`Resize`, then the middle); random crops are cut out of it.
"""

from pathlib import Path

import numpy as np
import simplejpeg

from budama.data import images, resampling
from budama.data.images import Unreadable
from budama.errors import BudamaError

WIDEST = 4  # aspect beyond which an image's ends are cut off, so that a strip does not become gigantic
SPARE = 2  # libjpeg may scale by 1/2, 1/4, 1/8 while this many times `resize` is left, which resizing does not show


def kept_sizes(sizes: np.ndarray, shorter: int) -> np.ndarray:
    """Heights and widths [N, 2] of images as they are kept; the longer side is rounded as torchvision's Resize does."""
    sizes = np.minimum(sizes, WIDEST * sizes.min(axis=1, keepdims=True))
    return shorter * sizes // sizes.min(axis=1, keepdims=True)


def decode(path: str | Path, size: tuple[int, int], kept: tuple[int, int], channels: int) -> np.ndarray:
    """The image in `path`, upright, as uint8 [H, W, C] of size `kept`.

    `size` is its height and width as the manifest has them. Raises BudamaError, naming the file, if it has changed
    since, or cannot be decoded after all.
    """
    try:
        data = images.read(path)
        pixels = _decoded(data, min(kept), channels)
    except Unreadable as error:
        raise BudamaError(f"{path}: {error}; remove it, or run the dataset stage anew") from None
    height, width = pixels.shape[:2]
    if abs(height * size[1] - width * size[0]) > 8 * max(size):  # scaled by eighths, rounded up
        raise BudamaError(f"{path}: {width}×{height} pixels where dataset.json has {size[1]}×{size[0]}; it has changed")
    return _resized(pixels, kept)


def _decoded(data: bytes, shorter: int, channels: int) -> np.ndarray:
    """uint8 [H, W, C], upright, perhaps smaller than the file's. simplejpeg is the fastest at hand where it serves."""
    if images.is_plain_jpeg(data):
        pixels = _fast(data, channels, SPARE * 2 * shorter)
        if pixels is not None:
            return pixels
    image = images.opened(data)
    turned = images.orientation(image)
    if image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L"):
        scale = min(image.size) // (SPARE * shorter)
        if scale < 2:
            pixels = _fast(data, channels)
            if pixels is not None:
                return images.upright(pixels, turned)
        image.draft(image.mode, (image.width // scale, image.height // scale) if scale > 1 else image.size)
    return images.upright(images.pixels(image, channels), turned)


def _fast(data: bytes, channels: int, limit: float = float("inf")) -> np.ndarray | None:
    """uint8 [H, W, C] by libjpeg-turbo; None where it finds fault: Pillow is more lenient, or tells what is wrong.

    None, too, for CMYK, and where the shorter side reaches `limit` pixels.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if min(height, width) >= limit or colours not in ("YCbCr", "RGB", "Gray"):
            return None
        return simplejpeg.decode_jpeg(data, "GRAY" if channels == 1 else "RGB")
    except ValueError:
        return None


def _resized(pixels: np.ndarray, kept: tuple[int, int]) -> np.ndarray:
    height, width = pixels.shape[:2]
    pixels = np.require(pixels, requirements=("C", "W"))
    if (height, width) == kept:
        return pixels
    longest = WIDEST * min(height, width)
    top, left = max(height - longest, 0) // 2, max(width - longest, 0) // 2
    box = (top, left, height - 2 * top, width - 2 * left)
    result = np.empty((*kept, pixels.shape[2]), np.uint8)
    resampling.crop(pixels, box, False, result)
    return result
