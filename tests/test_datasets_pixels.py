"""What a pixel means follows from its file's header, never from its values."""

import io

import numpy as np
import pytest
from imagefolders import encoded, settings, write
from PIL import Image, features

from budama.data import images
from budama.data.decoding import decode
from budama.data.manifest import build_manifest

RAMP = np.linspace(0, 65_535, 40 * 50).astype(np.uint16).reshape(40, 50)
COLOURS = np.stack([RAMP >> 8, RAMP.T.reshape(40, 50) >> 8, 255 - (RAMP >> 8)], axis=-1).astype(np.uint8)


def tiff(values: np.ndarray, **tags) -> bytes:
    return encoded(Image.fromarray(values), "TIFF", tiffinfo={int(tag[1:]): value for tag, value in tags.items()})


def packed_12_bits(values: np.ndarray) -> bytes:
    """An uncompressed TIFF of 12 bits a pixel, written by hand (TIFF 6.0, section 8); rows of an even length."""
    first, second = values[:, ::2].astype(np.uint16), values[:, 1::2].astype(np.uint16)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1).astype(np.uint8).tobytes()
    height, width = values.shape
    tags = {256: width, 257: height, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(packed)}
    directory = b"".join(
        tag.to_bytes(2, "little") + (4).to_bytes(2, "little") + (1).to_bytes(4, "little") + value.to_bytes(4, "little")
        for tag, value in tags.items()
    )
    start = (8 + len(packed)).to_bytes(4, "little")
    return b"II*\0" + start + packed + len(tags).to_bytes(2, "little") + directory + bytes(4)


def written(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


# (name, file, the 8-bit grey values that it shows: black 0, white the most that the header allows 255)
UNITS = [
    ("16 bits, PNG", encoded(Image.fromarray(RAMP), "PNG"), RAMP >> 8),
    ("16 bits, TIFF", tiff(RAMP), RAMP >> 8),
    ("16 bits, dark PNG", encoded(Image.fromarray(RAMP // 100), "PNG"), RAMP // 100 >> 8),
    ("16 bits, dark TIFF", tiff(RAMP // 100), RAMP // 100 >> 8),
    ("12 bits, dark TIFF", packed_12_bits(RAMP // 1600), RAMP // 1600 >> 4),
    ("16 bits, PGM", encoded(Image.fromarray(RAMP), "PPM"), RAMP >> 8),
    ("PGM up to 1,023", b"P5 3 1 1023\n" + np.array([0, 512, 1023], ">u2").tobytes(), [[0, 128, 255]]),
    ("PGM up to 15", b"P5 3 1 15\n" + bytes([0, 8, 15]), [[0, 136, 255]]),
    ("16 bits where white is 0", tiff(RAMP, t262=0), 255 - (RAMP >> 8)),
    ("8 bits where white is 0", tiff((RAMP >> 8).astype(np.uint8), t262=0), RAMP >> 8),  # Pillow turns them back
    ("12 bits, TIFF", packed_12_bits(RAMP >> 4), RAMP >> 8),
    ("8 bits", encoded(Image.fromarray((RAMP >> 8).astype(np.uint8)), "PNG"), RAMP >> 8),
    ("1 bit", encoded(Image.fromarray(RAMP > 30_000), "PNG"), 255 * (RAMP > 30_000)),
    ("alpha", encoded(Image.merge("LA", [Image.fromarray((RAMP >> 8).astype(np.uint8))] * 2), "PNG"), RAMP >> 8),
]  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), [row[1:] for row in UNITS], ids=[row[0] for row in UNITS])
def test_grey_values_have_the_unit_of_the_header(tmp_path, content, expected):
    expected = np.asarray(expected)
    path = write(tmp_path / "x.png", content)
    checked = images.check(path)
    assert checked.reason is None
    assert checked.grey
    shape = expected.shape
    shown = decode(path, shape, shape, 1)[..., 0]
    assert np.abs(shown.astype(int) - expected).max() <= 1  # of rounding, as Pillow scales a PGM's values
    assert np.array_equal(decode(path, shape, shape, 3), np.repeat(shown[..., None], 3, axis=-1))


@pytest.mark.parametrize("maximum", [250, 255, 256, 260, 4_095, 65_535])
def test_an_images_own_maximum_scales_nothing(tmp_path, maximum):
    values = np.zeros((8, 8), np.uint16)
    values[0, 0], values[1, 1] = maximum, 200
    path = write(tmp_path / "x.png", encoded(Image.fromarray(values), "PNG"))
    shown = decode(path, (8, 8), (8, 8), 1)
    assert (shown[0, 0, 0], shown[1, 1, 0]) == (maximum >> 8, 0)


def palette() -> Image.Image:
    return Image.fromarray(COLOURS).quantize(16)


COLOURED = [
    ("palette", encoded(palette(), "PNG"), np.asarray(palette().convert("RGB"))),
    ("transparent", written(palette(), "PNG", transparency=3), np.asarray(palette().convert("RGB"))),
    ("alpha", encoded(Image.fromarray(np.dstack([COLOURS, COLOURS[..., :1]])), "PNG"), COLOURS),
    ("alpha of 0", encoded(Image.fromarray(np.dstack([COLOURS, 0 * COLOURS[..., :1]])), "PNG"), COLOURS),
    ("CMYK", encoded(Image.fromarray(255 - COLOURS).convert("RGB").convert("CMYK"), "TIFF"), 255 - COLOURS),
]  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), [row[1:] for row in COLOURED], ids=[row[0] for row in COLOURED])
def test_colours_are_those_that_the_header_says(tmp_path, content, expected):
    path = write(tmp_path / "x.png", content)
    assert images.check(path).reason is None
    assert not images.check(path).grey
    assert np.array_equal(decode(path, (40, 50), (40, 50), 3), expected)


def lab() -> bytes:
    image = Image.frombytes("LAB", (50, 40), COLOURS.tobytes())
    return encoded(image, "TIFF")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tiff(RAMP.astype(np.float32)), "pixels are floating-point numbers, not 8 or 16 bits"),
        (tiff(RAMP.astype(np.int32)), "pixels are signed or 32-bit integers, not 8 or 16 bits"),
        (lab(), "pixels of mode LAB are not served"),
    ],
    ids=["floating point", "32 bits", "LAB"],
)
def test_pixels_whose_unit_is_not_known_are_refused_when_the_file_is_checked(tmp_path, content, reason):
    """And not when it is decoded, in the middle of a training."""
    path = write(tmp_path / "x.tif", content)
    assert images.check(path).reason.startswith(reason)
    assert images.is_grey(path) is False or "LAB" not in reason


def folder_of(root, values, format="PNG", **options):
    rng = np.random.default_rng(0)
    for place in ("train/a", "train/b", "val/a", "val/b"):
        for number in range(6):
            image = Image.fromarray(values(rng, number))
            write(root / place / f"{number}.{format.lower()}", encoded(image, format, **options))
    return root


# (name, an image's values, the warning)
LEVELS = [
    ("12 bits in 16", lambda rng, n: rng.integers(0, 4096, (32, 32)).astype(np.uint16), "dark_images"),
    ("8 bits in 16", lambda rng, n: rng.integers(0, 256, (32, 32)).astype(np.uint16), "dark_images"),
    ("numbers of classes", lambda rng, n: rng.integers(0, 10, (32, 32)).astype(np.uint8), "dark_images"),
    ("dark colours", lambda rng, n: rng.integers(0, 20, (32, 32, 3)).astype(np.uint8), "dark_images"),
    ("cut off", lambda rng, n: rng.integers(240, 400, (32, 32)).clip(0, 255).astype(np.uint8), "bright_images"),
    ("16 bits", lambda rng, n: rng.integers(0, 65_536, (32, 32)).astype(np.uint16), None),
    ("a drawing on white", lambda rng, n: np.where(rng.random((32, 32)) < 0.03, 0, 255).astype(np.uint8), None),
    ("stars", lambda rng, n: np.where(rng.random((32, 32)) < 0.03, 255, 0).astype(np.uint8), None),
]


@pytest.mark.parametrize(("values", "code"), [row[1:] for row in LEVELS], ids=[row[0] for row in LEVELS])
def test_a_set_that_stays_dark_or_bright_is_told(tmp_path, values, code):
    manifest = build_manifest(settings(folder_of(tmp_path, values)), threads=1)
    codes = {warning["code"] for warning in manifest["warnings"]} & {"dark_images", "bright_images"}
    assert codes == ({code} if code else set())


def test_further_pictures_of_a_file_are_told(tmp_path):
    root = folder_of(tmp_path, lambda rng, n: rng.integers(0, 256, (32, 32, 3)).astype(np.uint8))
    frames = [Image.fromarray(np.full((9, 9), n * 50, np.uint8)) for n in range(3)]
    for format, name in (("TIFF", "stack.tif"), ("GIF", "film.gif"), ("PNG", "film.png"), ("WEBP", "film.webp")):
        if format != "WEBP" or features.check("webp"):
            write(root / "train" / "a" / name, encoded(frames[0], format, save_all=True, append_images=frames[1:]))
    manifest = build_manifest(settings(root), threads=1)
    told = next(warning for warning in manifest["warnings"] if warning["code"] == "more_frames")
    assert told["count"] == 4
    assert "train/a/stack.tif" in told["examples"]
