"""One image file: is it whole, how large is it, what are its pixels. Pillow alone, no torch.

The unit of a pixel follows from the file's header (mode, bits, photometric interpretation), never from the values:
black is 0 and white is the most that the header allows, so an image of 16 bits that never passes 4,095 is a dark one.

| mode | its pixels |
|---|---|
| 1 | black 0, white 255 |
| L, RGB, and LA, RGBA and their like | as they are; alpha is left out, as torchvision's ImageFolder does |
| I;16 (and I of PNG and PGM) | 65,535 is white (4,095 in a TIFF of 12 bits); a TIFF whose white is 0 is turned round |
| P, PA | the palette's colours |
| CMYK, YCbCr, HSV | Pillow's conversion to RGB; colour profiles are not applied |
| F, I of other files, LAB | refused: floating-point numbers and signed or 32-bit integers have no known unit |
"""

import errno
import io
import warnings
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N", "I")
SERVED = (*GREY_MODES, "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")
FILMS = ("GIF", "TIFF", "WEBP", "PNG")  # formats whose files may hold further pictures (a JPEG's is a small copy)
BITS, PHOTOMETRIC = 258, 262  # TIFF 6.0: BitsPerSample; PhotometricInterpretation, where 0 says that white is zero
ORIENTATION = 0x0112  # EXIF tag: how the camera was held
START_OF_SCAN, APP1 = 0xDA, 0xE1  # JPEG markers
WITHOUT_LENGTH = (*range(0xC0), *range(0xD0, 0xDA), 0xFF)  # JPEG markers that no segment follows, and filling
TRAILER = 1024  # bytes behind a JPEG's end marker that are still ordinary (padding of cameras)


class Unreadable(Exception):
    """Why a file cannot serve as an image, in a few words for people."""


@dataclass(frozen=True)
class Checked:
    """A file that was looked at once. `reason` is None for a good image; width and height are as it is seen upright."""

    reason: str | None
    digest: int = 0
    width: int = 0
    height: int = 0
    grey: bool = False
    frames: int = 1


def check(path: str | Path) -> Checked:
    """Read a file once: digest of its bytes (BLAKE2b, 64 bits), header, and whether it is whole.

    A JPEG is whole when its end marker follows the scan; where that is not plain, and for formats without
    checksums, the pixels are decoded. The content counts, not the name: a PNG called .jpg is a PNG.
    """
    try:
        data = read(path)
        image = opened(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            width, height = image.size
            if orientation(image) >= 5:
                width, height = height, width
            frames = _frames(image)
            _whole(image, data)
    except Unreadable as error:
        return Checked(str(error))
    digest = int.from_bytes(blake2b(data, digest_size=8).digest(), "big")
    return Checked(None, digest, width, height, image.mode in GREY_MODES, frames)


def is_grey(path: str | Path) -> bool | None:
    """Whether a file's header says that the image is grey; None where it cannot serve. Less is read than by `check`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return image.mode in GREY_MODES
    except Exception:  # damaged headers raise whatever Pillow's parsers run into
        return None


def read(path: str | Path) -> bytes:
    """A file's bytes; Unreadable where there are none."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        named = {errno.ELOOP: "a link loop", errno.ENOENT: "no such file, or a broken link"}
        raise Unreadable(named.get(error.errno or 0, f"cannot be read ({error.strerror})")) from None
    if not data:
        raise Unreadable("empty (0 bytes)")
    return data


def opened(data: bytes) -> ImageFile:
    """The image in `data`, header read and pixels not yet; Unreadable where it is none, or one that is not served."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decompression bombs: the limit for errors is enough
            image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise Unreadable("a text file, not an image" if _is_text(data) else "not an image") from None
    except Image.DecompressionBombError:
        raise Unreadable("more pixels than Pillow's safety limit") from None
    except Exception as error:  # damaged headers raise whatever Pillow's parsers run into
        reason = _first_line(error)
        cut = "truncated" in reason.lower()
        raise Unreadable("truncated in the header" if cut else f"damaged header ({reason})") from None
    unknown = _without_unit(image)
    if unknown:
        raise Unreadable(unknown)
    return image


def _without_unit(image: ImageFile) -> str | None:
    """Why the header does not say what a pixel's values mean; None where it does."""
    if image.mode == "F":
        return "pixels are floating-point numbers, not 8 or 16 bits: which one is white is not known"
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        return "pixels are signed or 32-bit integers, not 8 or 16 bits: which one is white is not known"
    return None if image.mode in SERVED else f"pixels of mode {image.mode} are not served; save it in grey or RGB"


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) to 8."""
    if not image.info.get("exif"):
        return 1
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF data does not make the picture worse
        return 1
    return value if value in range(1, 9) else 1


def is_plain_jpeg(data: bytes) -> bool:
    """Whether this is a JPEG without EXIF data, thus upright; False where that is not plain from its segments.

    They are walked up to the first scan (ITU-T T.81, annex B), in a tenth of the time that `opened` takes.
    """
    at = 2
    if data[:at] != b"\xff\xd8":
        return False
    while data[at : at + 1] == b"\xff" and len(data) > at + 4:
        marker = data[at + 1]
        if marker == START_OF_SCAN:
            return True
        if marker in WITHOUT_LENGTH or (marker == APP1 and data[at + 4 : at + 8] == b"Exif"):
            return False
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels [H, W, C] as EXIF orientation says (CIPA DC-008, table "Orientation")."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def pixels(image: Image.Image, channels: int) -> np.ndarray:
    """All pixels as uint8 [H, W, channels]: 16 bits cut to 8, CMYK and palettes to colours, colours to grey.

    The table at the head of this module says what each mode's values mean.
    """
    try:
        if image.mode.startswith("I"):
            image = Image.fromarray(_eight_bits(image))
        elif image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
        elif image.mode in ("La", "RGBa"):  # multiplied by alpha
            image = image.convert(image.mode.upper())
        values = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    except (OSError, SyntaxError, ValueError, MemoryError) as error:
        raise Unreadable(_first_line(error)) from None
    return values if values.ndim == 3 else values[..., None]


def _eight_bits(image: Image.Image) -> np.ndarray:
    """The upper 8 of 16 bits (of 12 where a TIFF says so), as Pillow takes them of colours: uint8 [H, W]."""
    tags = getattr(image, "tag_v2", {})  # TIFF's
    values = np.asarray(image).astype(np.int64)
    values = (values >> (tags.get(BITS, (16,))[0] - 8)).clip(0, 255).astype(np.uint8)
    return 255 - values if tags.get(PHOTOMETRIC) == 0 else values  # which Pillow does for 8 bits alone


def _frames(image: ImageFile) -> int:
    """How many pictures a file holds."""
    if image.format not in FILMS:
        return 1
    try:
        return getattr(image, "n_frames", 1)
    except Exception:  # a damaged second picture does not make the first one worse
        return 1


def _whole(image: ImageFile, data: bytes) -> None:
    try:
        if image.format in ("JPEG", "MPO"):
            end = data.rfind(b"\xff\xd9", image.fp.tell() if image.fp else 0)  # Pillow has read up to the first scan
            if end < 0 or len(data) - end > TRAILER:
                image.draft(None, (1, 1))
                image.load()
        elif image.format == "PNG":
            image.verify()  # checksums of all chunks
        else:
            image.load()
    except Exception as error:  # damaged data raises whatever Pillow's decoders run into
        reason = "truncated" if "truncated" in str(error).lower() else f"damaged: {_first_line(error)}"
        raise Unreadable(f"{reason} ({image.format})") from None


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data[:1024].decode("utf-8", "strict" if len(data) <= 1024 else "ignore")
    except UnicodeDecodeError:
        return False


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
