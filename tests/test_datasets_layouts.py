"""Folders as people lay them out: understood, or refused by name, and what is passed over is listed."""

import shutil
import unicodedata
from contextlib import nullcontext
from pathlib import Path

import pytest
from imagefolders import encoded, one_folder, picture, settings, train_and_val, write

from budama.data.expectation import expected
from budama.data.layouts import role
from budama.data.manifest import build_manifest
from budama.errors import BudamaError
from budama.jobs import user_files

# How often a part holds images: where a set of `parts` is made, each part has other pictures.
COUNTS = {"train": 8, "selection": 3, "test": 2}

# (folders of the training, selection and test images, the classes that are there)
UNDERSTOOD = [
    ({"train": "train", "test": "val"}, {}),
    ({"train": "training", "test": "validation"}, {}),
    ({"train": "Train", "test": "Val"}, {}),
    ({"train": "TRAIN", "test": "TEST"}, {}),
    ({"train": "train", "test": "valid"}, {}),
    ({"train": "train", "selection": "valid", "test": "test"}, {}),
    ({"train": "train", "selection": "val", "test": "test"}, {}),
    ({"train": "Training Set", "selection": "dev_set", "test": "test_images"}, {}),
    ({"train": "eğitim", "selection": "DOĞRULAMA", "test": "Sınama"}, {}),
    ({"train": unicodedata.normalize("NFD", "eğitim"), "test": "test"}, {}),
    ({"train": "seg_train/seg_train", "test": "seg_test/seg_test"}, {}),
    ({"train": "flowers/train", "test": "flowers/test"}, {}),
    ({"train": "train2017", "test": "val2017"}, {}),
    ({"train": "fold1", "test": "fold2"}, {"folders": {"train": "fold1", "selection": None, "test": "fold2"}}),
    ({"train": "a", "selection": "b", "test": "c"}, {"folders": {"train": "a", "selection": "b", "test": "c"}}),
    ({"train": "images"}, {}),
    ({"train": "set/images"}, {}),
    ({"train": "."}, {}),
]


def laid_out(root: Path, parts: dict[str, str], classes=("cat", "dog")) -> Path:
    for number, (split, folder) in enumerate(parts.items()):
        one_folder(root / folder, classes, COUNTS[split], start=10_000 * number)
    return root


@pytest.mark.parametrize(("parts", "given"), UNDERSTOOD, ids=lambda value: " ".join(map(str, value.values())) or "-")
def test_parts_are_found_by_the_names_that_people_give_them(tmp_path, parts, given):
    asked = settings(laid_out(tmp_path / "s", parts), **({"selection": None} if "selection" in parts else {}), **given)
    manifest = build_manifest(asked, threads=1)
    assert manifest["class_names"] == ["cat", "dog"]
    assert manifest["parts"] == parts
    assert manifest["skipped"]["count"] == 0
    for split in parts if len(parts) > 1 else ():
        if split != "train":
            assert manifest["counts"][split] == 2 * COUNTS[split]
            assert all(path.startswith(parts[split] + "/") for path in manifest["splits"][split]["paths"])
    assert sum(manifest["counts"].values()) == 2 * sum(COUNTS[split] for split in parts)
    assert expected(asked["data"]) == ((3, 32, 32), 2, True)


def train_beside(root: Path, name: str) -> None:
    laid_out(root, {"train": "train", "test": name})


# (how the folder is made, settings, words that the one line must have)
REFUSED = [
    (lambda root: laid_out(root, {"train": "train"}), {}, ["holds train/ but no val/", "data.root to 'ROOT/train'"]),
    (lambda root: train_beside(root, "extra"), {}, ["holds train/ but no val/", "extra/ is no part", "data.folders"]),
    (lambda root: laid_out(root, {"test": "test"}), {}, ["holds test/ but no train/", "validation_only"]),
    (lambda root: laid_out(root, {"train": "fold1", "test": "fold2"}), {},
     ["fold1/, fold2/ holds the same folders cat/, dog/", "data.folders: {train: fold1, test: fold2}",
      "data.folders: {train: .}"]),
    (lambda root: (train_beside(root, "val"), laid_out(root, {"test": "Train"})), {},
     ["'Train' and 'train'", "by its name"]),
    (lambda root: [one_folder(root / name, ("train", "val"), 3) for name in ("cat", "dog")], {},
     ["each of cat/, dog/ holds train/, val/", "the parts must be at the top"]),
    (lambda root: train_beside(root, "val"), {"name": "imagenet", "root": "ROOT/train"}, ["neither train/ nor val/"]),
    (lambda root: train_beside(root, "b"), {"folders": {"train": "train", "selection": None, "test": "c"}},
     ["data.folders.test is 'c', which is no folder in 'ROOT'", "b, train"]),
    (lambda root: train_beside(root, "b"), {"folders": {"train": "train", "selection": "b", "test": "b"}},
     ["one folder twice"]),
    (lambda root: train_beside(root, "b"), {"folders": {"train": ".", "selection": None, "test": "b"}},
     ["inside another"]),
    (lambda root: write(root / "flowers.zip", b"PK"), {}, ["no class folders", "unpack flowers.zip first"]),
    (lambda root: (train_beside(root, "val"), [f.rename(root / "val" / f"{n}.jpg") for n, f in
     enumerate((root / "val").rglob("*.jpg"))], [f.rmdir() for f in (root / "val").iterdir() if f.is_dir()]), {},
     ["ROOT/val holds 4 images but no class folders"]),
    (lambda root: (laid_out(root, {"train": "train", "selection": "val", "test": "test"})), {"selection": 0.2},
     ["data.selection is 0.2, but ROOT holds its own images for it (val/); it must be null"]),
    (lambda root: one_folder(train_and_val(root) / "val", ("cat ",), 2), {},
     ["'cat ' ('cat' is the same word with spaces"]),
    (lambda root: (train_and_val(root, ("gül", "lale")), (root / "val" / "gül").rename(root / "val" / "gu\u0308l")), {},
     ["another form of Unicode"]),
]  # fmt: skip


@pytest.mark.parametrize(("make", "given", "words"), REFUSED, ids=[row[2][0][:40] for row in REFUSED])
def test_what_can_be_read_in_two_ways_is_refused_by_name_by_preview_and_run(tmp_path, make, given, words):
    root = tmp_path / "set"
    root.mkdir()
    make(root)
    asked = settings(root)
    asked["data"] |= {"selection": None} | given
    asked["data"]["root"] = asked["data"]["root"].replace("ROOT", str(root))
    with pytest.raises(BudamaError) as caught:
        build_manifest(asked, threads=1)
    for word in words:
        assert word.replace("ROOT", str(root)) in caught.value.lines[0]
    if "selection" not in given:
        with pytest.raises(BudamaError) if any(path.is_dir() for path in root.iterdir()) else nullcontext():
            expected(asked["data"])  # an estimate where nothing is there yet


def test_a_class_may_be_called_train(tmp_path):
    manifest = build_manifest(settings(one_folder(tmp_path, ("bus", "car", "train"), 6)), threads=1)
    assert manifest["class_names"] == ["bus", "car", "train"]
    assert role("train_small") is None
    assert role("trainval") is None


def test_test_images_without_labels_are_listed_where_val_has_some(tmp_path):
    train_and_val(tmp_path)
    one_folder(tmp_path, ("test",), 3, start=77)
    for given in ({}, {"name": "imagenet"}):
        manifest = build_manifest(settings(tmp_path, **given), threads=1)
        assert manifest["parts"] == {"train": "train", "test": "val"}
        assert [path for path, _ in manifest["skipped"]["files"]] == ["test/"]
        assert {"code": "skipped_files", "count": 1, "examples": ["test/"]} in manifest["warnings"]


def test_all_that_is_passed_over_is_listed_with_the_reason(root):
    picture_file = encoded(picture(3))
    passed_over = {
        "extra/": "by its name no part of the data set",
        "train/loose.jpg": "an image in no class folder",
        "train/labels.csv": "no image by its name",
        "train/.ipynb_checkpoints": "hidden",
        "train/__MACOSX": "hidden",
        "train/cat/.hidden.jpg": "hidden",
        "train/cat/.DS_Store": "hidden",
        "train/cat/.trash/": "hidden",
        "train/cat/notes.txt": "no image by its name",
        "val/dog/scan.dcm": "no image by its name",
    }
    for path in passed_over:
        write(root / path / "x.jpg" if "." not in path[1:] or path.endswith("/") else root / path, picture_file)
    (root / "train" / ".ipynb_checkpoints").unlink()
    write(root / "train" / ".ipynb_checkpoints" / "x.jpg", picture_file)
    manifest = build_manifest(settings(root), threads=1)
    assert dict(manifest["skipped"]["files"]) == passed_over
    assert manifest["skipped"]["count"] == len(passed_over)
    assert manifest["skipped"]["reasons"]["hidden"] == 5
    warning = next(warning for warning in manifest["warnings"] if warning["code"] == "skipped_files")
    assert warning["count"] == len(passed_over) - 2  # .DS_Store and __MACOSX are of no interest
    assert manifest["unreadable"] == []
    assert manifest["counts"] == {"train": 16, "selection": 4, "test": 10}


def test_a_class_of_any_name_is_a_class(tmp_path):
    names = ["__arkaplan__", "_x", "BACKGROUND_Google", "__pycache"]
    manifest = build_manifest(settings(one_folder(tmp_path, names, 6)), threads=1)
    assert manifest["class_names"] == sorted(names)


def test_classes_whose_names_differ_in_case_alone_are_told(tmp_path):
    manifest = build_manifest(settings(one_folder(tmp_path, ("A", "a", "b"), 6)), threads=1)
    assert manifest["class_names"] == ["A", "a", "b"]
    assert {"code": "alike_classes", "count": 2, "examples": ["A", "a"]} in manifest["warnings"]


def test_a_class_that_is_too_small_for_the_test_split_is_told(tmp_path):
    one_folder(one_folder(tmp_path, ("cat", "dog"), 12), ("axolotl",), 1, start=5)
    manifest = build_manifest(settings(tmp_path), threads=1)
    assert manifest["class_counts"]["test"][0] == 0
    for split in ("test", "selection"):
        told = {"code": "class_without_images", "split": split, "count": 1, "examples": ["axolotl"]}
        assert told in manifest["warnings"]


def test_copies_between_three_parts_are_refused_or_dropped(tmp_path):
    laid_out(tmp_path, {"train": "train", "selection": "val", "test": "test"})
    shutil.copy(tmp_path / "test/cat/000.jpg", tmp_path / "val/cat/again.jpg")
    shutil.copy(tmp_path / "val/dog/001.jpg", tmp_path / "train/dog/again.jpg")
    with pytest.raises(BudamaError, match=r"2 training images also stand in the test or validation set"):
        build_manifest(settings(tmp_path, selection=None), threads=1)
    manifest = build_manifest(settings(tmp_path, selection=None, duplicates="drop"), threads=1)
    assert manifest["counts"] == {"train": 16, "selection": 6, "test": 4}
    pairs = {pair["train"]: pair["test"] for pair in manifest["duplicates"]["examples"]}
    assert pairs == {"val/cat/again.jpg": "test/cat/000.jpg", "train/dog/again.jpg": "val/dog/001.jpg"}


def test_a_renamed_part_is_a_changed_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = train_and_val(tmp_path / "images")
    data = settings(root)["data"]
    before = user_files.facts("dataset", {"data": data}, "x.yaml")
    (root / "train").rename(root / "Training")
    after = user_files.facts("dataset", {"data": data}, "x.yaml")
    laid_out(root, {"selection": "test"})
    assert len({facts["images"] for facts in (before, after, user_files.facts("dataset", {"data": data}, "x"))}) == 3


def test_the_preview_expects_the_channels_and_classes_of_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grey = train_and_val(tmp_path / "grey", ("a", "b", "__c__"), mode="L")
    mixed = train_and_val(tmp_path / "mixed", mode="L")
    write(mixed / "val" / "dog" / "z.jpg", encoded(picture(4)))
    torn = train_and_val(tmp_path / "torn", mode="L")
    write(torn / "train" / "cat" / "z.jpg", encoded(picture(4))[:-500])
    few = train_and_val(tmp_path / "few", ("n1", "n2", "n3"))
    for root, given, channels, classes in (
        (grey, {}, 1, 3),
        (grey, {"channels": 3}, 3, 3),
        (mixed, {}, 3, 2),
        (torn, {}, 1, 2),
        (few, {"name": "imagenet"}, 3, 3),
    ):
        asked = settings(root, **given)
        manifest = build_manifest(asked, threads=1)
        shape, found, known = expected(asked["data"])
        assert (list(shape), found) == (manifest["input_shape"], manifest["classes"]) == ([channels, 32, 32], classes)
        assert known


def test_the_preview_is_stale_where_classes_were_added_and_not_where_images_were_touched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = train_and_val(tmp_path / "images")
    asked = {"model": {"source": "budama", "weights": None}, "data": settings(root)["data"]}
    before = user_files.facts("preview", asked, "x.yaml")
    (root / "train/cat/000.jpg").touch()
    assert user_files.facts("preview", asked, "x.yaml") == before
    train_and_val(root, ("emu",))
    assert user_files.facts("preview", asked, "x.yaml") != before
    shutil.rmtree(root)
    assert user_files.facts("preview", asked, "x.yaml") == {}
