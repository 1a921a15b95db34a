"""Test images as bad cameras and connections deliver them: noise, blur, brightness, contrast and JPEG compression.

They are those of Hendrycks and Dietterich (2019), "Benchmarking neural network robustness to common corruptions and
perturbations", in three of the five strengths (1, 3 and 5), with their parameters for ImageNet, and those for CIFAR-10
where images have sides of at most 64 pixels. All work on the uint8 images that are fed to a model, cut and before
normalisation, and give an image the same result in whatever batch it comes.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

STRENGTHS = (1, 3, 5)
SMALL = 64  # pixels a side

# By corruption: the three strengths for large images, and for small ones.
PARAMETERS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "gaussian_noise": ((0.08, 0.18, 0.38), (0.04, 0.08, 0.10)),  # standard deviation; of the range 0 to 1
    "gaussian_blur": ((1, 3, 6), (0.4, 0.7, 1)),  # standard deviation in pixels
    "brightness": ((0.1, 0.3, 0.5), (0.05, 0.15, 0.3)),  # added to the brightest channel; of the range 0 to 1
    "contrast": ((0.4, 0.2, 0.05), (0.75, 0.4, 0.15)),  # factor of the distance to an image's mean
    "jpeg_compression": ((25, 15, 7), (80, 58, 40)),  # quality
}


@dataclass(frozen=True)
class Corruption:
    """One kind at one of `STRENGTHS`. It is called with uint8 images [B, H, W, C] and their places in the split [B]."""

    kind: str
    strength: int

    def __str__(self) -> str:
        return f"{self.kind} of strength {self.strength}"

    def __call__(self, images: Tensor, places: np.ndarray) -> Tensor:
        small = max(images.shape[1:3]) <= SMALL
        parameter = PARAMETERS[self.kind][small][STRENGTHS.index(self.strength)]
        channels_first = images.cpu().permute(0, 3, 1, 2)
        changed = KINDS[self.kind](channels_first, parameter, places)
        return changed.permute(0, 2, 3, 1).contiguous().to(images.device)


def every() -> list[Corruption]:
    """All kinds at all strengths."""
    return [Corruption(kind, strength) for kind in PARAMETERS for strength in STRENGTHS]


def _noise(images: Tensor, deviation: float, places: np.ndarray) -> Tensor:
    shape = images.shape[1:]
    drawn = [np.random.default_rng([place, 3]).standard_normal(shape, dtype=np.float32) for place in places.tolist()]
    return _rounded(images + 255 * deviation * torch.from_numpy(np.stack(drawn)))


def _blur(images: Tensor, sigma: float, places: np.ndarray) -> Tensor:
    from scipy import ndimage

    blurred = ndimage.gaussian_filter(images.float().numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=4)
    return _rounded(torch.from_numpy(blurred))


def _brightness(images: Tensor, added: float, places: np.ndarray) -> Tensor:
    """The value of HSV, an image's brightest channel, is raised; hue and saturation stay."""
    value = images.amax(dim=1, keepdim=True).float()
    raised = (value + 255 * added).clamp(max=255)
    return _rounded(torch.where(value > 0, images * (raised / value.clamp(min=1)), raised))


def _contrast(images: Tensor, factor: float, places: np.ndarray) -> Tensor:
    mean = images.float().mean(dim=(2, 3), keepdim=True)
    return _rounded((images - mean) * factor + mean)


def _jpeg(images: Tensor, quality: float, places: np.ndarray) -> Tensor:
    """Images of neither one nor three channels are compressed channel by channel."""
    colour = images.shape[1] == 3
    pixels = images.permute(0, 2, 3, 1) if colour else images.reshape(-1, *images.shape[2:])
    compressed = np.stack([_compressed(one, int(quality)) for one in pixels.numpy()])
    return torch.from_numpy(compressed.transpose(0, 3, 1, 2) if colour else compressed).reshape(images.shape)


def _compressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    """An image, uint8 [H, W, 3] or [H, W], written as JPEG and read again."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def _rounded(images: Tensor) -> Tensor:
    return images.round().clamp(0, 255).to(torch.uint8)


KINDS: dict[str, Callable[[Tensor, float, np.ndarray], Tensor]] = {
    "gaussian_noise": _noise,
    "gaussian_blur": _blur,
    "brightness": _brightness,
    "contrast": _contrast,
    "jpeg_compression": _jpeg,
}
