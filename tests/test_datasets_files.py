"""Image files: how they are split, decoded, kept and cropped."""

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from imagefolders import encoded, one_folder, picture, settings, train_and_val, write
from PIL import Image, ImageOps

from budama import files
from budama.data import augment, decoding, images
from budama.data import cache as caching
from budama.data.batching import batches
from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.data.pool import file_pool
from budama.data.read_ahead import read_ahead
from budama.errors import BudamaError

HERE = Path(__file__).parents[1]


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A small image folder, below a working directory of its own (the cache lies in the working directory)."""
    monkeypatch.chdir(tmp_path)
    return train_and_val(tmp_path / "images")


@pytest.fixture
def manifest(root) -> dict:
    return build_manifest(settings(root), threads=2)


def everything(data, split="train", batch_size=4, **options):
    pairs = list(batches(data, split, batch_size, **options))
    return torch.cat([images for images, _ in pairs]), torch.cat([labels for _, labels in pairs])


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


def test_files_that_are_no_images_by_name_are_counted_and_not_opened(root):
    write(root / "train" / "cat" / "notes.txt", b"seen in the garden")
    write(root / "train" / "cat" / ".DS_Store", b"\0")
    manifest = build_manifest(settings(root), threads=1)
    assert manifest["skipped"] == {"count": 1, "examples": ["train/cat/notes.txt"]}
    assert manifest["unreadable"] == []


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


@pytest.mark.parametrize("kind", ["light", "standard"])
def test_an_epoch_is_the_same_from_files_from_the_cache_and_whatever_works_on_it(root, manifest, kind, monkeypatch):
    def epoch(data, workers, batch_size=4):
        return everything(data, batch_size=batch_size, augment=kind, shuffle=True, seed=1, epoch=2, workers=workers)

    fresh = epoch(open_data(manifest), workers=1)
    data = open_data(manifest)
    assert data.store.done[data.store.slots["train"]].all()
    for workers in (1, 3):
        assert all(map(torch.equal, fresh, epoch(data, workers)))
    monkeypatch.setenv("BUDAMA_CACHE_GIB", "0")
    assert all(map(torch.equal, fresh, epoch(open_data(manifest), workers=2)))
    monkeypatch.delenv("BUDAMA_CACHE_GIB")
    assert all(map(torch.equal, fresh, epoch(data, 2, batch_size=8)))
    ranks = [
        everything(data, augment=kind, shuffle=True, seed=1, epoch=2, rank=rank, world=2)[0].unflatten(0, (4, 2))
        for rank in range(2)
    ]
    assert torch.equal(torch.stack(ranks, dim=2).flatten(0, 2), fresh[0])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_cpu_gets_the_values_that_a_gpu_makes_of_the_bytes_it_is_sent(root, manifest, memory_format):
    loader = batches(open_data(manifest), "train", 4, augment="standard", memory_format=memory_format)
    sent = read_ahead(loader.plan, workers=1)
    for (read, labels), (values, same_labels) in zip(loader, sent, strict=True):
        assert read.is_contiguous(memory_format=memory_format)
        assert torch.equal(read, loader.normalise(values))
        assert torch.equal(labels, same_labels)


def test_kept_images_are_not_decoded_again(root, manifest):
    first = everything(open_data(manifest), "test")
    for path in (root / "val").rglob("*.jpg"):
        path.unlink()
    assert all(map(torch.equal, first, everything(open_data(manifest), "test")))


def test_the_cache_keeps_what_its_limit_allows_and_numbers_stay_the_same(root, manifest, monkeypatch):
    whole = everything(open_data(manifest), "test")
    shutil.rmtree(".cache")
    one_image = 37 * 46 * 3
    monkeypatch.setenv("BUDAMA_CACHE_GIB", str(10.5 * one_image / 2**30))
    data = open_data(manifest)
    for split in ("selection", "train", "test"):
        everything(data, split)
    assert data.store.done.sum() == 10
    assert data.store.done[data.store.slots["selection"]].all()
    assert all(map(torch.equal, whole, everything(data, "test")))


def test_the_cache_of_other_images_makes_room(root, manifest, monkeypatch):
    everything(open_data(manifest), "train")
    (old,) = caching.FOLDER.iterdir()
    write(root / "train" / "cat" / "more.jpg", encoded(picture(77)))
    other = build_manifest(settings(root), threads=1)
    monkeypatch.setenv("BUDAMA_CACHE_GIB", str(100_000 / 2**30))
    del manifest
    gc.collect()  # the first store is not held any more
    everything(open_data(other), "train")
    assert old not in caching.FOLDER.iterdir()


def test_a_full_disk_only_ends_the_keeping(root, manifest, capsys):
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(HERE / "workflow" / "scripts")!r})
import json
from budama.data.batching import batches
from budama.data.dataset import open_data
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
data = open_data(json.load(open("dataset.json")))
data.store
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))  # every write beyond that fails, as on a full disk
print(sum(float(images.double().sum()) for images, _ in batches(data, "test", 4)))
"""
    files.write_json("dataset.json", manifest)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("decoded images are not kept from here on (File too large)") == 1
    total = sum(float(images.double().sum()) for images, _ in batches(open_data(manifest), "test", 4))
    assert float(run.stdout) == total


@pytest.mark.parametrize("limit", ["-1", "much", "nan", "inf"])
def test_a_cache_limit_that_is_no_number_of_gib_is_told(root, manifest, monkeypatch, limit):
    monkeypatch.setenv("BUDAMA_CACHE_GIB", limit)
    with pytest.raises(BudamaError, match=f"BUDAMA_CACHE_GIB is '{limit}'; it must be a number of GiB, 0 or more"):
        everything(open_data(manifest), "train")


def test_images_kept_in_another_size_are_another_cache(manifest):
    assert open_data(manifest).store.cached
    for entry in manifest["splits"].values():
        entry["heights"] = [2 * height for height in entry["heights"]]
    assert open_data(manifest).store.cached
    assert len(list(caching.FOLDER.iterdir())) == 2


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


def test_two_processes_fill_one_cache_together(root, manifest, monkeypatch):
    monkeypatch.setenv("BUDAMA_CACHE_GIB", "0")
    expected = everything(open_data(manifest), "train")
    monkeypatch.delenv("BUDAMA_CACHE_GIB")
    files.write_json("dataset.json", manifest)
    code = f"""
import sys
sys.path.insert(0, {str(HERE / "workflow" / "scripts")!r})
import json
from budama.data.batching import batches
from budama.data.dataset import open_data
for images, labels in batches(open_data(json.load(open("dataset.json"))), "train", 4): pass
"""
    other = subprocess.Popen([sys.executable, "-c", code])
    while other.poll() is None:
        assert all(map(torch.equal, expected, everything(open_data(manifest), "train")))
    assert other.returncode == 0
    assert all(map(torch.equal, expected, everything(open_data(manifest), "train")))


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
