"""Pictures of every kind, decoded."""

import numpy as np
import pytest
from imagefolders import encoded, picture, write
from PIL import Image, ImageOps

from budama.data import decoding, images


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_exif_says(tmp_path, orientation):
    image = picture(5, size=(60, 40))
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    path = write(tmp_path / "turned.jpg", encoded(image, quality=95, exif=exif))
    checked = images.check(path)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert (checked.height, checked.width) == expected.shape[:2]
    shown = decoding.decode(path, expected.shape[:2], expected.shape[:2], 3)
    assert np.abs(shown.astype(int) - expected).max() <= 8  # Pillow's and torchvision's JPEG decoders


def test_only_a_jpeg_that_says_nothing_of_how_it_was_held_is_decoded_unopened():
    plain = encoded(picture(5), quality=95)
    exif = Image.Exif()
    exif[images.ORIENTATION] = 6
    assert images.is_plain_jpeg(plain)
    assert images.is_plain_jpeg(encoded(picture(5), progressive=True, comment="garden", icc_profile=bytes(70_000)))
    assert not images.is_plain_jpeg(encoded(picture(5), exif=exif))
    assert not images.is_plain_jpeg(encoded(picture(5), exif=exif, icc_profile=bytes(70_000)))
    assert not images.is_plain_jpeg(encoded(picture(5), "PNG"))
    assert not any(images.is_plain_jpeg(plain[:length]) for length in range(300))
    assert not images.is_plain_jpeg(plain[:2] + b"\xff" + plain[2:])  # filling: Pillow knows


KINDS = ("RGB PNG", "L PNG", "1 PNG", "P PNG", "RGBA PNG", "CMYK JPEG", "CMYK TIFF", "L JPEG", "RGB WEBP")

KINDS += ("RGB BMP", "P GIF", "RGB TIFF", "YCbCr JPEG")


@pytest.mark.parametrize(("mode", "format"), [kind.split() for kind in KINDS])
def test_every_kind_of_picture_ends_as_8_bit_colour(tmp_path, mode, format):
    image = picture(6, mode=mode)
    path = write(tmp_path / "x.jpg", encoded(image, format))  # the content counts, not the name
    assert images.check(path).reason is None
    shown = decoding.decode(path, (40, 50), (40, 50), 3).astype(int)
    expected = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert np.abs(shown - expected).max() <= 8


def test_16_bit_pictures_keep_their_brightest_8_bits(tmp_path):
    values = (np.arange(40 * 50).reshape(40, 50) * 32).astype(np.uint16)
    path = write(tmp_path / "deep.png", encoded(Image.fromarray(values), "PNG"))
    assert images.check(path).reason is None
    assert np.array_equal(decoding.decode(path, (40, 50), (40, 50), 1)[..., 0], values >> 8)


def test_large_jpegs_are_scaled_while_they_are_decoded_and_look_the_same(tmp_path):
    image = picture(8, size=(1600, 1200))
    path = write(tmp_path / "large.jpg", encoded(image, quality=95))
    kept = tuple(decoding.kept_sizes(np.array([[1200, 1600]]), 64)[0].tolist())
    shown = decoding.decode(path, (1200, 1600), kept, 3).astype(int)
    expected = np.asarray(image.resize(kept[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(shown - expected).max() <= 6


def test_a_strip_is_cut_to_four_times_its_height(tmp_path):
    path = write(tmp_path / "strip.jpg", encoded(picture(9, size=(2000, 20))))
    kept = tuple(decoding.kept_sizes(np.array([[20, 2000]]), 64)[0].tolist())
    assert kept == (64, 256)
    assert decoding.decode(path, (20, 2000), kept, 3).shape == (64, 256, 3)
