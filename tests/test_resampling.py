"""Crops are scaled as exact arithmetic would, mirrored and normalised, whatever their size and shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imagefolders import picture
from PIL import Image

from budama.data import resampling

SCALE, OFFSET = np.array([0.017, 0.018, 0.019], np.float32), np.array([-2.1, -2.0, -1.8], np.float32)


def cropped(image, box, size, mirror=False):
    out = np.full((*size, image.shape[2]), 77, np.uint8)
    resampling.crop(image, box, mirror, out)
    return out


def exact(image, box, size):
    """The same by Pillow on floating-point numbers, a channel at a time."""
    top, left, height, width = box
    values = image[top : top + height, left : left + width].astype(np.float32)
    channels = [Image.fromarray(np.ascontiguousarray(values[..., channel])) for channel in range(image.shape[2])]
    return np.stack([channel.resize(size[::-1], Image.Resampling.BILINEAR) for channel in channels], axis=2)


@st.composite
def crops(draw):
    """An image of noise, a box in it, and a size."""
    height, width, channels = draw(st.integers(1, 90)), draw(st.integers(1, 90)), draw(st.sampled_from((1, 3)))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    box = (top, left, draw(st.integers(1, height - top)), draw(st.integers(1, width - left)))
    image = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return image, box, (draw(st.integers(1, 60)), draw(st.integers(1, 60)))


@settings(max_examples=300, deadline=None)
@given(crops())
def test_a_crop_is_what_exact_arithmetic_gives_rounded_once(case):
    image, box, size = case
    assert np.abs(cropped(image, box, size) - exact(image, box, size)).max() < 0.501


@settings(max_examples=100, deadline=None)
@given(crops())
def test_a_mirrored_crop_is_the_crop_mirrored(case):
    image, box, size = case
    assert np.array_equal(cropped(image, box, size, mirror=True), cropped(image, box, size)[:, ::-1])


@settings(max_examples=100, deadline=None)
@given(crops(), st.booleans(), st.booleans())
def test_a_normalised_crop_is_the_crop_normalised(case, mirror, planar):
    image, box, size = case
    channels = image.shape[2]
    scale, offset = SCALE[:channels], OFFSET[:channels]
    out = np.full((channels, *size) if planar else (*size, channels), np.nan, np.float32)
    resampling.crop_normalised(image, box, mirror, scale, offset, planar, out)
    expected = cropped(image, box, size, mirror).astype(np.float32) * scale + offset
    assert np.array_equal(out.transpose(1, 2, 0) if planar else out, expected)


def test_a_crop_of_the_asked_size_is_copied():
    image = np.asarray(picture(3, (60, 50))).copy()
    assert np.array_equal(cropped(image, (4, 7, 32, 40), (32, 40)), image[4:36, 7:47])


@pytest.mark.parametrize("value", [0, 1, 128, 254, 255])
def test_an_even_picture_stays_as_it_is(value):
    image = np.full((375, 500, 3), value, np.uint8)
    for size in ((256, 341), (224, 224), (31, 500), (700, 900)):
        assert (cropped(image, (0, 0, 375, 500), size) == value).all()
