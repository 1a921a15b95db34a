"""Image files that are missing or damaged: each is read, or named with the reason and left out."""

import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from imagefolders import encoded, picture, settings, train_and_val, write
from PIL import Image

from budama.data import images
from budama.data.manifest import build_manifest

HERE = Path(__file__).parents[1]
JPEG, PNG = encoded(picture(1), quality=90), encoded(picture(1), "PNG")


def floating() -> bytes:
    return encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF")


def bomb() -> bytes:
    """A PNG header that announces 60,000 × 60,000 pixels."""
    data = bytearray(encoded(picture(1, mode="1"), "PNG"))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


# What lies in one file of a class folder: (name of the case, bytes, why it is left out; None: it is read).
FILES = [
    ("a JPEG", JPEG, None),
    ("JPEG cut in the scan", JPEG[: len(JPEG) * 2 // 3], "truncated (JPEG)"),
    ("JPEG cut by two bytes", JPEG[:-2], "truncated (JPEG)"),
    ("JPEG cut in the header", JPEG[:100], "truncated in the header"),
    ("JPEG whose end is zeros", JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2), "truncated (JPEG)"),
    ("JPEG with padding behind", JPEG + bytes(100), None),
    ("JPEG with a film behind", JPEG + b"\1" * 50_000, None),
    ("zero bytes", b"", "empty (0 bytes)"),
    ("a text file", b"<html>404 not found</html>", "a text file, not an image"),
    ("Turkish text", "Bu bir görüntü değil.".encode(), "a text file, not an image"),
    ("random bytes", bytes(range(256)) * 4, "not an image"),
    ("PNG named .jpg", PNG, None),
    ("PNG cut", PNG[: len(PNG) // 2], "truncated (PNG)"),
    ("PNG with a flipped bit", PNG[:900] + bytes([PNG[900] ^ 1]) + PNG[901:], "damaged: "),
    ("PNG without pixels", PNG[:40], "not an image"),
    ("PNG of 3.6 billion pixels", bomb(), "more pixels than Pillow's safety limit"),
    ("BMP cut", encoded(picture(1), "BMP")[:500], "truncated (BMP)"),
    ("TIFF cut", encoded(picture(1), "TIFF")[:300], "truncated (TIFF)"),
    ("GIF cut", encoded(picture(1, mode="P"), "GIF")[:300], "not an image"),
    ("WebP cut", encoded(picture(1), "WEBP")[:100], "damaged"),
    ("CMYK", encoded(picture(1, mode="CMYK")), None),
    ("16 bit", encoded(Image.fromarray(np.full((40, 50), 40_000, np.uint16)), "PNG"), None),
    ("floating point", floating(), "pixels are floating-point numbers, not 8 or 16 bits"),
    ("grey", encoded(picture(1, mode="L")), None),
    ("a zip file", b"PK\3\4" + bytes(200), "not an image"),
    ("one pixel", encoded(picture(1, size=(1, 1))), None),
]


@pytest.mark.parametrize(("content", "reason"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_a_file_is_read_or_named_with_the_reason(tmp_path, content, reason):
    path = write(tmp_path / "x.jpg", content)
    found = images.check(path).reason
    if reason is None:
        assert found is None
    else:
        assert found.startswith(reason)
        assert "\n" not in found


def test_everything_unreadable_is_named_left_out_and_counted(tmp_path):
    train_and_val(tmp_path)
    for number, (name, content, _) in enumerate(FILES):
        write(tmp_path / "train" / "cat" / f"{number:02} {name}.jpg", content + b"" if content else content)
    os.symlink("loop.jpg", tmp_path / "train" / "cat" / "loop.jpg")
    os.symlink("nowhere.jpg", tmp_path / "train" / "cat" / "broken.jpg")
    os.symlink("..", tmp_path / "train" / "cat" / "parent")
    manifest = build_manifest(settings(tmp_path), threads=2)
    reasons = {Path(entry["path"]).name: entry["reason"] for entry in manifest["unreadable"]}
    assert reasons["loop.jpg"] == "a link loop"
    assert reasons["broken.jpg"] == "no such file, or a broken link"
    assert "a link loop" in reasons.values()
    bad = [f"{number:02} {name}.jpg" for number, (name, _, reason) in enumerate(FILES) if reason]
    assert set(bad) <= set(reasons)
    used = {path for part in manifest["splits"].values() for path in part["paths"]}
    assert not used & {entry["path"] for entry in manifest["unreadable"]}
    warning = next(warning for warning in manifest["warnings"] if warning["code"] == "unreadable_images")
    assert warning["count"] == len(manifest["unreadable"])


def test_files_that_may_not_be_read_are_named():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to other users
        Path(folder).chmod(0o755)
        path = write(Path(folder) / "x.jpg", JPEG)
        path.chmod(0)
        code = f"""
import os, sys
sys.path.insert(0, {str(HERE / "workflow" / "scripts")!r})
from budama.data import images
if os.geteuid() == 0: os.seteuid(65534)  # root may read everything
print(images.check({str(path)!r}).reason)
"""
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == "cannot be read (Permission denied)"


def test_a_name_that_is_not_utf8_is_named_readably(tmp_path):
    train_and_val(tmp_path)
    with open(os.fsencode(tmp_path / "train" / "cat") + b"/\xff.jpg", "wb") as file:
        file.write(JPEG)
    manifest = build_manifest(settings(tmp_path), threads=1)
    assert manifest["unreadable"] == [{"path": "train/cat/�.jpg", "reason": "the name is not UTF-8"}]
