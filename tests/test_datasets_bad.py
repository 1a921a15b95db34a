"""Data that is missing, damaged or contradictory: each gives one clear line, or is named and left out."""

import gzip
import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from imagefolders import encoded, one_folder, picture, settings, train_and_val, write
from PIL import Image
from test_datasets import write_cifar, write_fashion_mnist, write_idx

from budama.data import images
from budama.data.catalogue import fingerprint, locate
from budama.data.manifest import build_manifest
from budama.errors import BudamaError

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


def remove(path: Path) -> None:
    for file in path.rglob("*.jpg"):
        file.unlink()


def nothing(root: Path) -> None:
    pass


# (name, what happens to a good train/ and val/ folder, settings, the line; ROOT stands for the folder)
FOLDERS = [
    ("no root", nothing, {"root": None}, "data.root is missing; image_folder needs the folder that holds the images"),
    (
        "root is not there",
        nothing,
        {"root": "nowhere"},
        "data.root is 'nowhere', which does not exist; it must hold train/ and val/, with one folder a class in each,"
        " or one folder a class",
    ),
    ("root is a file", nothing, {"root": "ROOT/train/cat/000.jpg"}, "000.jpg', which is a file; it must hold train/"),
    (
        "ImageNet is not there",
        nothing,
        {"name": "imagenet"},
        "data.root is 'data/imagenet', which does not exist; it must hold train/ and val/, with one folder a class",
    ),
    (
        "ImageNet without train and val",
        lambda root: ((root / "train").rename(root / "a"), (root / "val").rename(root / "b")),
        {"name": "imagenet", "root": "ROOT"},
        "data.root is 'ROOT', which holds neither train/ nor val/; it must hold train/ and val/",
    ),
    (
        "no train",
        lambda root: (root / "train").rename(root / "t"),
        {},
        "data.root is 'ROOT', which holds val/ but no train/; add it, or set data.protocol: validation_only",
    ),
    (
        "no val",
        lambda root: (root / "val").rename(root / "v"),
        {},
        "data.root is 'ROOT', which holds train/ but no val/; it must hold train/ and val/",
    ),
    (
        "ImageNet's val as it comes, without class folders",
        lambda root: (
            [file.rename(root / "val" / f"{n}.jpg") for n, file in enumerate((root / "val").rglob("*.jpg"))]
            and [folder.rmdir() for folder in (root / "val").iterdir() if folder.is_dir()]
        ),
        {"name": "imagenet", "root": "ROOT"},
        "ROOT/val holds 10 images but no class folders; put the images of each class in a folder of the class's name",
    ),
    (
        "no folder at all",
        lambda root: [remove(root)] and [p.rmdir() for p in sorted(root.rglob("*"), reverse=True)],
        {},
        "ROOT holds no class folders; put the images of each class in a folder of the class's name",
    ),
    (
        "one class",
        lambda root: [file.unlink() for file in root.glob("*/dog/*")] and [p.rmdir() for p in root.glob("*/dog")],
        {},
        "ROOT/train holds one class ('cat'); at least two are needed",
    ),
    (
        "empty class",
        lambda root: (root / "train" / "axolotl").mkdir() or (root / "val" / "axolotl").mkdir(),
        {},
        "ROOT/train: the class 'axolotl' holds no image; add some, or remove the folder",
    ),
    (
        "class empty in val alone",
        lambda root: remove(root / "val" / "cat"),
        {},
        "ROOT/val: the class 'cat' holds no image; add some, or remove the folder",
    ),
    (
        "class of nothing readable",
        lambda root: [file.write_bytes(b"") for file in (root / "val" / "cat").iterdir()],
        {},
        "ROOT: val: the class 'cat' holds no readable image (5 unreadable in all, for example val/cat/000.jpg: empty",
    ),
    (
        "class in train and not in val",
        lambda root: one_folder(root / "train", classes=("emu", "fox"), count=2),
        {},
        "ROOT/val lacks 2 of the classes in ROOT/train: 'emu', 'fox'; both must hold the same",
    ),
    (
        "class in val and not in train",
        lambda root: one_folder(root / "val", classes=("emu",), count=2),
        {},
        "ROOT/train lacks 1 of the classes in ROOT/val: 'emu'; both must hold the same",
    ),
    (
        "differently written class",
        lambda root: (root / "val" / "cat").rename(root / "val" / "Cat"),
        {},
        "ROOT/val lacks 1 of the classes in ROOT/train: 'cat'; both must hold the same\n"
        "ROOT/train lacks 1 of the classes in ROOT/val: 'Cat'; both must hold the same",
    ),
    (
        "two test sets",
        nothing,
        {"test": 0.2},
        "data.test is 0.2, but ROOT holds its own test images; it must be null",
    ),
    (
        "nothing left to train on",
        nothing,
        {"selection": 20},
        "data.selection is 20; of 20 images that is 20, and it must leave some on both sides",
    ),
    (
        "normalisation for colours, images in grey",
        nothing,
        {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "channels": 1},
        "data.mean and data.std hold 3 and 3 values; both must hold 1, one a channel",
    ),
    ("too small resize", nothing, {"resize": 16}, "data.resize is 16; it must be at least data.image_size (32)"),
    (
        "Food-101 in a file's place",
        nothing,
        {"name": "food101", "root": "ROOT/train/cat/000.jpg"},
        "data.root is 'ROOT/train/cat/000.jpg', which is a file; it must be a folder",
    ),
]


def located_and_built(given: dict) -> None:
    locate(given["data"])
    build_manifest(given, threads=1)


@pytest.mark.parametrize(("spoil", "data", "line"), [row[1:] for row in FOLDERS], ids=[row[0] for row in FOLDERS])
def test_a_folder_that_cannot_serve_is_told_in_one_line(tmp_path, monkeypatch, spoil, data, line):
    monkeypatch.chdir(tmp_path)
    root = train_and_val(tmp_path / "set")
    spoil(root)
    given = settings(root)
    given["data"] |= data
    if "root" in data or data.get("name") == "imagenet":
        given["data"]["root"] = data["root"].replace("ROOT", str(root)) if data.get("root") else None
    with pytest.raises(BudamaError) as caught:
        located_and_built(given)
    assert line.replace("ROOT", str(root)) in str(caught.value)
    assert len(caught.value.lines) == line.count("\n") + 1


ARRAYS = [
    (
        "fashion_mnist",
        lambda root: (root / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"text")),
        "not an idx",
    ),
    (
        "fashion_mnist",
        lambda root: write_idx(root / "t10k-labels-idx1-ubyte", np.zeros(19)),
        "80 images but 79 labels",
    ),
    (
        "fashion_mnist",
        lambda root: (root / "train-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(gzip.decompress((root / "train-images-idx3-ubyte.gz").read_bytes())[:-10])
        ),
        "an idx file is truncated: 47030 of 47040 bytes",
    ),
    (
        "fashion_mnist",
        lambda root: (root / "train-images-idx3-ubyte.gz").write_bytes(
            (root / "train-images-idx3-ubyte.gz").read_bytes()[:-100]
        ),
        "Compressed file ended before",
    ),
    ("cifar10", lambda root: (root / "data_batch_3").write_bytes(b""), "Ran out of input"),
    (
        "cifar10",
        lambda root: (root / "data_batch_3").write_bytes((root / "data_batch_3").read_bytes()[:-1000]),
        "not the files of CIFAR-10 (",
    ),
    (
        "cifar10",
        lambda root: (root / "batches.meta").write_bytes(b"\x80\x03}."),
        "not the files of CIFAR-10 ('label_names'",
    ),
]


@pytest.mark.parametrize(("name", "spoil", "line"), ARRAYS)
def test_damaged_archives_are_told_in_one_line(tmp_path, name, spoil, line):
    write_fashion_mnist(tmp_path) if name == "fashion_mnist" else write_cifar(tmp_path, name)
    spoil(tmp_path)
    with pytest.raises(BudamaError) as caught:
        build_manifest(settings(tmp_path, name=name, image_size=None), threads=1)
    assert str(caught.value).startswith(f"{tmp_path}: not the files of ")
    assert line in str(caught.value)
    assert len(caught.value.lines) == 1


def test_a_download_that_fails_says_where_the_files_may_be_put(tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # refuses
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    given = settings(tmp_path / "cifar", name="cifar10", image_size=None)
    locate(given["data"])  # not an error yet: it may be downloaded
    with pytest.raises(BudamaError, match=r"CIFAR-10: '.*cifar' does not hold data_batch_1, .*the download failed \("):
        build_manifest(given, threads=1)


def test_locating_data_takes_no_torch_and_touches_nothing(tmp_path):
    code = (
        "import sys; from budama.data import catalogue;"
        "[catalogue.locate({'name': name, 'root': None}) for name in ('digits', 'fashion_mnist', 'food101')];"
        "catalogue.fingerprint({'name': 'digits', 'root': None});"
        "assert not {'torch', 'numpy', 'torchvision', 'sklearn', 'PIL'} & set(sys.modules), sys.modules.keys()"
    )
    environment = os.environ | {"PYTHONPATH": str(HERE / "workflow" / "scripts")}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_the_fingerprint_of_an_archive_is_its_content(tmp_path, name):
    data = {"name": name, "root": str(tmp_path)}
    absent = fingerprint(data)
    assert absent.startswith(f"{name}:")
    write_fashion_mnist(tmp_path) if name == "fashion_mnist" else write_cifar(tmp_path, name)
    present = fingerprint(data)
    assert present != absent
    if name == "fashion_mnist":
        for file in list(tmp_path.iterdir()):
            (tmp_path / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
            file.unlink()
        assert fingerprint(data) == present
