"""scikit-learn's digits: their splits, batches and augmentation."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import whole_splits
from array_data import digits
from imagefolders import settings

from budama.data.batching import batches
from budama.data.dataset import open_data
from budama.data.splits import check_disjoint
from budama.errors import BudamaError
from budama.settings import stages

HERE = Path(__file__).parents[1]
everything = partial(whole_splits.everything, batch_size=100)


@pytest.fixture(scope="module")
def manifest() -> dict:
    return digits(selection=0.1)


@pytest.fixture(scope="module")
def data(manifest):
    return open_data(manifest)


def test_digits_are_the_1797_scans_and_need_no_file_or_network(manifest):
    counts = manifest["counts"]
    assert counts["train"] + counts["selection"] + counts["test"] == 1797
    assert counts == {"train": 1294, "selection": 144, "test": 359}
    assert manifest["input_shape"] == [1, 8, 8]
    assert manifest["classes"] == 10
    assert {warning["code"] for warning in manifest["warnings"]} == {"few_images"}


def test_digits_equal_scikit_learns(data):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    assert np.array_equal(np.rint(data.pixels[..., 0] / 255 * 16), bunch.images)
    parts = [data.split(name) for name in ("train", "selection", "test")]
    everyone = np.concatenate([part.indices for part in parts])
    assert sorted(everyone) == list(range(1797))
    assert np.array_equal(np.concatenate([part.labels for part in parts]), bunch.target[everyone])


def test_the_manifest_is_json_and_the_same_every_time(manifest):
    assert json.loads(json.dumps(manifest)) == manifest
    assert digits(selection=0.1) == manifest


def test_every_class_is_in_every_split_in_proportion(manifest):
    counts = {name: np.array(manifest["class_counts"][name]) for name in ("test", "selection", "train")}
    everyone = sum(counts.values())
    for name, share in (("test", 0.2), ("selection", 0.08), ("train", 0.72)):
        assert counts[name].sum() == manifest["counts"][name]
        assert np.abs(counts[name] / everyone - share).max() < 0.01


def test_calibration_images_are_training_images_in_mixed_order_every_class_in_proportion(data):
    calibration, train = data.calibration(256), data.split("train")
    assert len(calibration) == len(set(calibration.indices)) == 256
    assert set(calibration.indices) <= set(train.indices)
    assert len(set(calibration.labels[:20])) > 4
    assert np.abs(np.bincount(calibration.labels) / 256 - np.bincount(train.labels) / len(train)).max() < 0.01
    (images, labels), *_ = batches(data, calibration, 64)
    assert torch.equal(labels, torch.from_numpy(calibration.labels[:64]))
    place = {index: row for row, index in enumerate(train.indices)}
    everyone, _ = everything(data)
    assert torch.equal(images, everyone[[place[index] for index in calibration.indices[:64]]])


def test_more_calibration_images_than_there_are_are_all_of_train(data):
    assert sorted(data.calibration(10**6).indices) == sorted(data.split("train").indices)


def test_mean_and_std_are_those_of_the_training_images(data, manifest):
    images, _ = everything(data)
    assert manifest["normalisation"] == "computed"
    assert abs(images.double().mean()) < 1e-4
    assert abs(images.double().std(unbiased=False) - 1) < 1e-4


def test_given_mean_and_std_are_taken():
    manifest = digits(mean=[0.5], std=[0.25])
    assert (manifest["mean"], manifest["std"], manifest["normalisation"]) == ([0.5], [0.25], "given")
    images, _ = everything(open_data(manifest), "test")
    assert images.min() == -2
    assert images.max() == 2


def test_a_planted_leak_is_refused_by_name(manifest):
    for scored in ("test", "selection"):
        leaky = json.loads(json.dumps(manifest))
        for key, values in leaky["splits"][scored].items():
            values[3] = leaky["splits"]["train"][key][7]
        index = manifest["splits"]["train"]["indices"][7]
        with pytest.raises(BudamaError, match=rf"1 images of train also stand in {scored} \(image {index} in {scored}"):
            check_disjoint(leaky)
        with pytest.raises(BudamaError, match="also stand in"):
            open_data(leaky)


def test_images_that_are_not_those_of_the_manifest_are_refused(manifest):
    swapped = json.loads(json.dumps(manifest))
    swapped["splits"]["test"]["indices"].reverse()
    with pytest.raises(BudamaError, match="the images of test are not those"):
        open_data(swapped)


def test_batches_are_sized_and_hold_every_image_once_in_order(data):
    loader = batches(data, "test", 100)
    assert len(loader) == 4
    assert loader.images == 359
    sizes = [len(labels) for _, labels in loader]
    assert sizes == [100, 100, 100, 59]
    images, labels = everything(data, "test")
    assert images.shape == (359, 1, 8, 8)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert np.array_equal(labels, data.split("test").labels)
    expected = (data.pixels[data.split("test").indices, ..., 0] / 255 - data.mean[0]) / data.std[0]
    assert np.allclose(images[:, 0], expected, atol=1e-5)


def test_an_epoch_is_a_function_of_seed_and_epoch_alone(data):
    def epoch(seed, epoch, batch_size=128):
        return everything(data, batch_size=batch_size, augment="auto", shuffle=True, seed=seed, epoch=epoch)

    torch.manual_seed(1)
    first = epoch(3, 5)
    torch.manual_seed(2)
    np.random.default_rng(3)
    assert all(map(torch.equal, first, epoch(3, 5)))
    assert not torch.equal(first[1], epoch(3, 6)[1])
    assert not torch.equal(first[1], epoch(4, 5)[1])
    assert torch.equal(first[0][:1000], epoch(3, 5, batch_size=100)[0][:1000])


def test_the_global_random_state_is_left_alone(data):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    everything(data, augment="standard", shuffle=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_change_no_number(data):
    threads = torch.get_num_threads()
    try:
        passes = []
        for count in (1, 2):
            torch.set_num_threads(count)
            passes.append(everything(data, augment="standard", shuffle=True, seed=1))
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, *passes))


def test_a_shuffled_epoch_leaves_an_incomplete_batch_out_unless_it_is_the_only_one(data):
    assert [len(labels) for _, labels in batches(data, "test", 100, shuffle=True)] == [100, 100, 100]
    assert [len(labels) for _, labels in batches(data, "test", 1000, shuffle=True)] == [359]


def test_limit_gives_the_first_batches(data):
    limited = list(batches(data, "selection", 32, limit=3))
    assert len(limited) == len(batches(data, "selection", 32, limit=3)) == 3
    for part, whole in zip(limited, batches(data, "selection", 32)):
        assert all(map(torch.equal, part, whole))


@pytest.mark.parametrize("world", [2, 3])
def test_the_processes_share_what_one_would_get(data, world):
    options = {"augment": "standard", "shuffle": True, "seed": 2, "epoch": 1}
    ranks = [list(batches(data, "train", 96, rank=rank, world=world, **options)) for rank in range(world)]
    for number, (images, labels) in enumerate(batches(data, "train", 96, **options)):
        for rank in range(world):
            assert torch.equal(ranks[rank][number][0], images[rank::world])
            assert torch.equal(ranks[rank][number][1], labels[rank::world])


def test_memory_format_is_the_one_asked_for():
    data = open_data(digits(channels=3))
    for form in (torch.contiguous_format, torch.channels_last):
        images, _ = next(iter(batches(data, "test", 16, memory_format=form)))
        assert images.is_contiguous(memory_format=form)
        assert images.shape == (16, 3, 8, 8)
    assert torch.equal(images[:, 0], images[:, 2])


def test_digits_are_shifted_by_a_pixel_at_most_and_never_mirrored(data):
    assert data.augment == "light"
    plain = data.pixels[data.split("train").indices][..., 0]
    scale, mean, std = 255, data.mean[0], data.std[0]
    images, _ = everything(data, augment="auto")
    back = np.rint((images[:, 0].numpy() * std + mean) * scale).astype(np.uint8)
    padded = np.pad(plain, ((0, 0), (1, 1), (1, 1)))
    matches = [
        (back == padded[:, 1 + y : 9 + y, 1 + x : 9 + x]).all(axis=(1, 2)) for y in (-1, 0, 1) for x in (-1, 0, 1)
    ]
    assert np.any(matches, axis=0).all()
    assert min(np.sum(match) for match in matches) > 80  # all nine shifts about equally often


def test_digits_can_be_scaled_to_what_a_model_needs():
    data = open_data(digits(image_size=32, channels=3))
    images, _ = next(iter(batches(data, "test", 4, augment="standard")))
    assert images.shape == (4, 3, 32, 32)
    data = open_data(digits(image_size=24, resize=32))
    assert next(iter(batches(data, "test", 4)))[0].shape == (4, 1, 24, 24)


def test_unknown_split_and_augmentation_are_told(data):
    with pytest.raises(BudamaError, match="has no split 'validation'; it has train, selection, test"):
        batches(data, "validation", 10)
    with pytest.raises(BudamaError, match="augment is hard; it must be one of auto, none, light, standard"):
        batches(data, "test", 10, augment="hard")
    with pytest.raises(BudamaError, match="a batch of 1 images cannot be divided among 2 processes"):
        batches(data, "test", 1, world=2)


def test_the_stage_writes_dataset_json_from_a_baseline_file_or_a_spec(tmp_path):
    script = HERE / "workflow" / "scripts" / "dataset.py"
    baseline = HERE / "config" / "baselines" / "digits_resnet.yaml"
    by_hand, by_spec = tmp_path / "a.json", tmp_path / "b.json"
    spec = json.dumps(stages.stage_settings("dataset", baseline=stages.load_baseline(baseline)))
    for arguments in (["--baseline", baseline, "--output", by_hand], ["--spec", spec, "--output", by_spec]):
        done = subprocess.run([sys.executable, script, *arguments, "--threads", "1"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "Digits: 10 classes" in done.stderr
    assert by_hand.read_bytes() == by_spec.read_bytes()
    assert json.loads(by_hand.read_text())["name"] == "digits"


def test_what_a_data_set_is_called_makes_no_images_stale():
    baseline = stages.load_baseline(HERE / "config" / "baselines" / "digits_resnet.yaml")
    assert "title" in baseline.data
    assert "title" not in stages.stage_settings("dataset", baseline=baseline)["data"]


def test_building_a_manifest_needs_neither_torch_nor_scikit_learn():
    code = (
        "import sys; from budama.data import catalogue, manifest, splits;"
        f"manifest.build_manifest({settings(name='digits', image_size=None)!r}, 1);"
        "assert not {'torch', 'torchvision', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=HERE / "workflow" / "scripts")
