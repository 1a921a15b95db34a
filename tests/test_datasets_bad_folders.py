"""Folders that are missing, empty or contradictory: each gives one clear line."""

from pathlib import Path

import pytest
from imagefolders import one_folder, settings, train_and_val

from budama.data.catalogue import locate
from budama.data.manifest import build_manifest
from budama.errors import BudamaError


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
        "data.root is 'ROOT', which holds val/ but no train/; t/ is no part by its name (data.folders can name it);"
        " add it, or set data.protocol: validation_only",
    ),
    (
        "no val",
        lambda root: (root / "val").rename(root / "v"),
        {},
        "data.root is 'ROOT', which holds train/ but no val/; v/ is no part by its name (data.folders can name it);"
        " it must hold train/ and val/",
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
        "ROOT/val lacks 1 of the classes in ROOT/train: 'cat' ('Cat' is the same word in other letters; rename one);"
        " both must hold the same\n"
        "ROOT/train lacks 1 of the classes in ROOT/val: 'Cat' ('cat' is the same word in other letters; rename one);"
        " both must hold the same",
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
