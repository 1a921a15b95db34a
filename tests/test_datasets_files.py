"""Image folders: how they are split, read and cropped."""

import os
import shutil

import numpy as np
import pytest
import torch
from imagefolders import encoded, one_folder, picture, settings, train_and_val, write
from PIL import Image
from whole_splits import everything

from budama.data import augment
from budama.data.batching import batches
from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.data.pool import file_pool
from budama.data.read_ahead import read_ahead
from budama.errors import BudamaError


def test_a_folder_with_train_and_val_is_taken_as_it_is(manifest, root):
    assert manifest["counts"] == {"train": 16, "selection": 4, "test": 10}
    assert manifest["class_names"] == ["cat", "dog"]
    assert manifest["input_shape"] == [3, 32, 32]
    assert manifest["resize"] == 37  # 32 × 256 / 224
    assert manifest["augment"] == "standard"
    assert manifest["normalisation"] == "imagenet"
    assert manifest["title"] == "images"
    assert all(path.startswith("val/") for path in manifest["splits"]["test"]["paths"])
    assert all((root / path).is_file() for part in manifest["splits"].values() for path in part["paths"])


def test_one_folder_of_class_folders_is_split_by_content(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one_folder(tmp_path / "a", classes=tuple("ABCDEFG"), count=10)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for number, path in enumerate(sorted((tmp_path / "b").rglob("*.jpg"))):
        path.rename(path.with_name(f"{997 * number % 1009:04}.jpg"))  # other names in another order
    first, second = (build_manifest(settings(tmp_path / name), threads=2) for name in "ab")
    assert first["counts"] == {"train": 45, "selection": 11, "test": 14}
    for split in first["splits"]:
        assert set(first["splits"][split]["digests"]) == set(second["splits"][split]["digests"])
    assert first["class_counts"]["test"] == [2] * 7


def test_equal_images_in_one_folder_go_to_the_same_split(tmp_path):
    one_folder(tmp_path, count=20)
    for number in range(10):
        shutil.copy(tmp_path / "cat" / f"{number:03}.jpg", tmp_path / "cat" / f"copy {number}.jpg")
    manifest = build_manifest(settings(tmp_path), threads=2)
    assert manifest["duplicates"] == {"policy": "refuse", "dropped": 0, "examples": [], "copies": 10}
    homes = {}
    for name in ("train", "selection", "test"):
        for digest in manifest["splits"][name]["digests"]:
            assert homes.setdefault(digest, name) == name


def test_a_copied_test_image_is_refused_by_both_names_or_dropped(root):
    shutil.copy(root / "val" / "cat" / "002.jpg", root / "train" / "cat" / "again.jpg")
    with pytest.raises(
        BudamaError, match=r"1 training images .* \(train/cat/again.jpg = val/cat/002.jpg\); remove them"
    ):
        build_manifest(settings(root), threads=1)
    manifest = build_manifest(settings(root, duplicates="drop"), threads=1)
    assert manifest["duplicates"]["examples"] == [{"train": "train/cat/again.jpg", "test": "val/cat/002.jpg"}]
    assert manifest["counts"]["train"] + manifest["counts"]["selection"] == 20


def test_an_image_under_two_classes_is_a_warning(tmp_path):
    one_folder(tmp_path, count=10)
    shutil.copy(tmp_path / "cat" / "001.jpg", tmp_path / "dog" / "cat.jpg")
    manifest = build_manifest(settings(tmp_path), threads=1)
    warning = next(warning for warning in manifest["warnings"] if warning["code"] == "label_conflicts")
    assert warning["examples"] == ["dog/cat.jpg"]


def test_validation_only_cuts_val_into_disjoint_parts_and_says_so(root):
    shutil.rmtree(root / "train")
    manifest = build_manifest(settings(root, protocol="validation_only", test=0.4), threads=1)
    assert manifest["counts"] == {"train": 5, "selection": 1, "test": 4}
    assert {"code": "validation_only", "images": 10} in manifest["warnings"]
    assert all(path.startswith("val/") for path in manifest["splits"]["train"]["paths"])


def test_imagenet_takes_class_folders_in_sorted_order_and_says_when_there_are_not_1000(tmp_path):
    train_and_val(tmp_path, classes=("n02", "n01"))
    manifest = build_manifest(settings(tmp_path, name="imagenet", image_size=None), threads=1)
    assert manifest["class_names"] == ["n01", "n02"]
    assert manifest["input_shape"] == [3, 224, 224]
    assert manifest["resize"] == 256
    assert {"code": "unexpected_classes", "classes": 2, "expected": 1000} in manifest["warnings"]


def test_food101_is_read_as_torchvision_lays_it_out(tmp_path):
    folder = tmp_path / "food-101"
    one_folder(folder / "images", classes=("apple_pie", "waffles"), count=10)
    for part, numbers in (("train", range(5)), ("test", range(5, 10))):
        lines = [f"{name}/{number:03}" for name in ("apple_pie", "waffles") for number in numbers]
        write(folder / "meta" / f"{part}.txt", "\n".join(lines).encode())
    manifest = build_manifest(settings(tmp_path, name="food101"), threads=1)
    assert manifest["counts"] == {"train": 8, "selection": 2, "test": 10}
    assert manifest["splits"]["test"]["paths"][0] == "images/apple_pie/005.jpg"
    alone = build_manifest(settings(tmp_path, name="food101", protocol="validation_only", test=4), threads=1)
    assert alone["counts"] == {"train": 5, "selection": 1, "test": 4}
    assert everything(open_data(manifest), "test")[0].shape == (10, 3, 32, 32)


def test_names_with_spaces_and_turkish_letters_are_fine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_and_val(tmp_path / "çiçek fotoğrafları", classes=("gül", "Işıl papatya"))
    manifest = build_manifest(settings(tmp_path / "çiçek fotoğrafları"), threads=1)
    assert manifest["class_names"] == ["Işıl papatya", "gül"]
    assert len(everything(open_data(manifest), "test")[0]) == 10


def test_files_in_deeper_folders_and_through_links_are_found(root):
    (root / "train" / "cat" / "deeper").mkdir()
    (root / "train" / "cat" / "003.jpg").rename(root / "train" / "cat" / "deeper" / "3.JPG")
    (root / "elsewhere").mkdir()
    write(root / "elsewhere" / "x.png", encoded(picture(99), "PNG"))
    (root / "train" / "cat" / "linked").symlink_to(root / "elsewhere")
    manifest = build_manifest(settings(root), threads=1)
    paths = manifest["splits"]["train"]["paths"] + manifest["splits"]["selection"]["paths"]
    assert {"train/cat/deeper/3.JPG", "train/cat/linked/x.png"} <= set(paths)


def test_grey_folders_give_one_channel_unless_three_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_and_val(tmp_path / "x-rays", mode="L")
    manifest = build_manifest(settings(tmp_path / "x-rays"), threads=1)
    assert manifest["input_shape"] == [1, 32, 32]
    assert manifest["normalisation"] == "computed"
    pictures, _ = everything(open_data(manifest), "train")
    assert abs(pictures.mean()) < 0.2  # whole pictures were measured, their middles are shown
    manifest = build_manifest(settings(tmp_path / "x-rays", channels=3), threads=1)
    pictures, _ = everything(open_data(manifest), "test")
    assert pictures.shape == (10, 3, 32, 32)


def test_scoring_is_resize_and_centre_crop_as_torchvision_does_it(root, manifest):
    from torchvision.transforms import v2

    data = open_data(manifest)
    shown, _ = everything(data, "test")
    expected = v2.Compose([v2.Resize(37), v2.CenterCrop(32), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
    mean, std = torch.tensor(data.mean).view(3, 1, 1), torch.tensor(data.std).view(3, 1, 1)
    for image, path in zip(shown, data.split("test").paths, strict=True):
        difference = image - (expected(Image.open(root / path)) - mean) / std
        assert difference.abs().max() < 0.05  # two JPEG decoders and two resizings, rounded to 1/255


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_cpu_gets_the_values_that_a_gpu_makes_of_the_bytes_it_is_sent(root, manifest, memory_format):
    loader = batches(open_data(manifest), "train", 4, augment="standard", memory_format=memory_format)
    sent = read_ahead(loader.plan, workers=1)
    for (read, labels), (values, same_labels) in zip(loader, sent, strict=True):
        assert read.is_contiguous(memory_format=memory_format)
        assert torch.equal(read, loader.normalise(values))
        assert torch.equal(labels, same_labels)


def test_sizes_are_heights_and_widths_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shapes = {"wide": (40, 120), "tall": (90, 40), "turned": (110, 40)}  # height, width, as they are seen
    turned = Image.Exif()
    turned[0x0112] = 6  # the file holds it lying on its side
    for place, (name, (height, width)) in enumerate(shapes.items()):
        for number in range(10):
            image = picture(10 * place + number, (height, width) if name == "turned" else (width, height))
            options = {"exif": turned} if name == "turned" else {}
            write(tmp_path / "images" / name / f"{number}.jpg", encoded(image, **options))
    asked = settings(tmp_path / "images", image_size=20, resize=20)
    pool = file_pool(asked["data"], threads=1)
    assert [tuple(size) for size in pool.sizes.tolist()] == [shapes[path.split("/")[0]] for path in pool.paths]
    manifest = build_manifest(asked, threads=1)
    for entry in manifest["splits"].values():
        written = list(zip(entry["heights"], entry["widths"], strict=True))
        assert written == [shapes[path.split("/")[0]] for path in entry["paths"]]
    data = open_data(manifest)
    for name, split in data.splits.items():
        for row, path in enumerate(split.paths):
            height, width = shapes[path.split("/")[0]]
            assert tuple(split.sizes[row]) == (height, width)
            assert data.store.get(name, row).shape == (20 * height // 40, 20 * width // 40, 3)


def test_calibration_images_come_from_the_files_of_train(root, manifest):
    data = open_data(manifest)
    some = data.calibration(4)
    (images, labels), *_ = batches(data, some, 4)
    place = {path: row for row, path in enumerate(data.split("train").paths)}
    everyone, classes = everything(data, "train")
    rows = [place[path] for path in some.paths]
    assert torch.equal(images, everyone[rows])
    assert torch.equal(labels, classes[rows])


def test_an_evaluation_reads_files_too(root, manifest):
    """In inference mode, which is a thread's own: those that decode are not in it."""
    data = open_data(manifest)
    expected = torch.cat([read for read, _ in batches(data, "test", 4)])
    with torch.inference_mode():
        found = torch.cat([read for read, _ in batches(data, "test", 4, workers=2)])
    assert torch.equal(found, expected)


def test_a_loop_that_is_left_early_leaves_no_thread(root, manifest):
    import threading

    for _ in batches(open_data(manifest), "train", 2, workers=2):
        break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_a_picture_that_changed_since_the_manifest_is_told(root, manifest):
    path = manifest["splits"]["test"]["paths"][0]
    write(root / path, encoded(picture(1, size=(40, 90))))
    with pytest.raises(BudamaError, match=rf"{path}: 40×90 pixels where dataset.json has 50×40; it has changed"):
        everything(open_data(manifest), "test")
    os.remove(root / path)
    with pytest.raises(BudamaError, match=f"{path}: no such file, or a broken link; remove it, or run"):
        everything(open_data(manifest), "test")


def test_random_crops_have_the_area_and_aspect_of_random_resized_crop():
    from torchvision.transforms import RandomResizedCrop

    sizes = np.tile([[375, 500]], (4000, 1))
    boxes = augment.resized_crops(sizes, augment.draws(0, 4000, 0, 0))
    torch.manual_seed(0)
    theirs = np.array(
        [RandomResizedCrop.get_params(torch.zeros(3, 375, 500), (0.08, 1), (3 / 4, 4 / 3)) for _ in range(4000)]
    )
    top, left, height, width = boxes.T
    assert min(top.min(), left.min()) >= 0
    assert (top + height).max() <= 375
    assert (left + width).max() <= 500
    for ours, expected in zip(boxes.T, theirs.T):
        assert ours.mean() == pytest.approx(expected.mean(), rel=0.08)
        assert ours.std() == pytest.approx(expected.std(), rel=0.08)


def test_random_numbers_of_an_image_depend_on_its_place_alone():
    whole = augment.draws(0, 100, 7, 3)
    assert np.array_equal(whole[30:55], augment.draws(30, 55, 7, 3))
    assert not np.array_equal(whole, augment.draws(0, 100, 7, 4))
    assert 0.45 < whole.mean() < 0.55
