"""Array data sets: digits, Fashion-MNIST, CIFAR; splits, batches and augmentation."""

import gzip
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from imagefolders import settings

from budama.data import catalogue, splits
from budama.data.batching import batches
from budama.data.catalogue import fingerprint
from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.data.splits import check_disjoint
from budama.errors import BudamaError
from budama.settings import stages

HERE = Path(__file__).parents[1]
needs_fashion_mnist = pytest.mark.skipif(
    not catalogue.DEBIAN_FASHION_MNIST.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed"
)


def digits(**data) -> dict:
    return build_manifest(settings(**{"name": "digits", "image_size": None} | data), threads=1)


@pytest.fixture(scope="module")
def manifest() -> dict:
    return digits(selection=0.1)


@pytest.fixture(scope="module")
def data(manifest):
    return open_data(manifest)


def everything(data, split="train", batch_size=100, **options):
    pairs = list(batches(data, split, batch_size, **options))
    return torch.cat([images for images, _ in pairs]), torch.cat([labels for _, labels in pairs])


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


def test_splits_depend_on_the_seed_and_on_nothing_else():
    other = build_manifest(settings(name="digits", image_size=None, selection=0.1, seed=1), threads=2)
    assert other["splits"]["test"]["indices"] != digits(selection=0.1)["splits"]["test"]["indices"]


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


def test_selection_may_be_a_count():
    assert digits(selection=200)["counts"]["selection"] == 200


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


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        (
            "selection",
            5000,
            "data.selection is 5000; of 1438 images that is 5000, and it must leave some on both sides",
        ),
        ("test", 1797, "data.test is 1797; of 1797 images that is 1797, and it must leave some on both sides"),
        ("selection", 1e-6, "data.selection is 1e-06; of 1438 images that is 0, and it must leave some on both sides"),
        ("resize", 4, r"data.resize is 4; it must be at least data.image_size \(8\)"),
    ],
)
def test_settings_that_this_data_cannot_meet_are_told(key, value, line):
    with pytest.raises(BudamaError, match=line):
        digits(**{key: value})


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    content=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4)), min_size=8, max_size=200),
    share=st.floats(0.05, 0.6),
    seed=st.integers(0, 2**31),
)
def test_equal_images_never_part_whatever_their_labels(content, share, seed):
    digests = np.array([digest for digest, _ in content], dtype=np.uint64)
    labels = np.array([label for _, label in content], dtype=np.int64)
    chosen = splits.choose(digests, labels, round(share * len(digests)), seed, "selection")
    assert not np.isin(digests[chosen], digests[~chosen]).any()
    order = np.random.default_rng(seed).permutation(len(digests))
    if len(set(digests.tolist())) == len(digests):  # with copies the first one's label counts
        assert np.array_equal(
            splits.choose(digests[order], labels[order], round(share * len(digests)), seed, "selection"), chosen[order]
        )


@needs_fashion_mnist
def test_fashion_mnist_is_found_with_its_own_test_set():
    manifest = build_manifest(settings(name="fashion_mnist", image_size=None, selection=0.1), threads=1)
    assert manifest["counts"] == {"train": 54000, "selection": 6000, "test": 10000}
    assert manifest["splits"]["test"]["indices"] == list(range(60000, 70000))
    assert manifest["mean"] == [0.286]
    data = open_data(manifest)
    images, labels = everything(data, "test", 1000)
    assert np.array_equal(labels.bincount(), [1000] * 10)
    train, _ = everything(data, "train", 6000)
    assert abs(train.mean()) < 0.01
    assert abs(train.std() - 1) < 0.01
    assert catalogue.SOURCES["fashion_mnist"].canonical == fingerprint({"name": "fashion_mnist", "root": None})
    assert images.shape[1:] == (1, 28, 28)


@needs_fashion_mnist
def test_standard_augmentation_shifts_by_an_eighth_and_mirrors_half(tmp_path):
    manifest = build_manifest(settings(name="fashion_mnist", image_size=None), threads=1)
    data = open_data(manifest)
    images, _ = next(iter(batches(data, "train", 2000, augment="auto")))
    plain, _ = next(iter(batches(data, "train", 2000)))
    same = (images == plain).all(dim=(1, 2, 3)).sum()
    mirrored = (images == plain.flip(3)).all(dim=(1, 2, 3)).sum()
    assert 2 <= same <= 40  # one in 2 × 49… of those whose border is black
    assert 2 <= mirrored <= 60


def write_idx(path: Path, values: np.ndarray, compress=True) -> None:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    data = header + values.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    if compress:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(data))
    else:
        path.write_bytes(data)


def write_fashion_mnist(folder: Path, train: int = 60, test: int = 20, compress=True) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("train", train), ("t10k", test)):
        write_idx(folder / f"{name}-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28)), compress)
        write_idx(folder / f"{name}-labels-idx1-ubyte", np.arange(count) % 10, compress)


@pytest.mark.parametrize("subfolder", ["", "FashionMNIST/raw"])
@pytest.mark.parametrize("compress", [True, False])
def test_fashion_mnist_is_read_from_root_packed_or_not_as_torchvision_lays_it_out(tmp_path, subfolder, compress):
    write_fashion_mnist(tmp_path / subfolder, compress=compress)
    manifest = build_manifest(settings(tmp_path, name="fashion_mnist", image_size=None), threads=1)
    assert manifest["counts"]["test"] == 20
    assert len(open_data(manifest).split("train")) == manifest["counts"]["train"]


def test_a_test_image_that_also_trains_is_dropped_from_training(tmp_path):
    write_fashion_mnist(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    train = gzip.decompress((tmp_path / "train-images-idx3-ubyte.gz").read_bytes())
    test = bytearray(gzip.decompress(path.read_bytes()))
    test[16 : 16 + 784] = train[16 + 784 * 5 : 16 + 784 * 6]
    path.write_bytes(gzip.compress(bytes(test)))
    manifest = build_manifest(settings(tmp_path, name="fashion_mnist", image_size=None), threads=1)
    assert manifest["duplicates"]["dropped"] == 1
    assert manifest["duplicates"]["examples"] == [{"train": "image 5", "test": "image 60"}]
    assert {"code": "duplicates", "count": 1} in manifest["warnings"]
    assert 5 not in manifest["splits"]["train"]["indices"] + manifest["splits"]["selection"]["indices"]
    assert manifest["counts"]["test"] == 20
    with pytest.raises(BudamaError, match=r"1 training images also stand in the test set \(image 5 = image 60\)"):
        build_manifest(settings(tmp_path, name="fashion_mnist", image_size=None, duplicates="refuse"), threads=1)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_read_as_published(tmp_path, name):
    write_cifar(tmp_path, name, train=50)
    manifest = build_manifest(settings(tmp_path, name=name, image_size=None), threads=1)
    assert manifest["input_shape"] == [3, 32, 32]
    assert manifest["counts"]["test"] == 20
    data = open_data(manifest)
    images, labels = next(iter(batches(data, "test", 20)))
    assert images.shape == (20, 3, 32, 32)
    assert labels.tolist() == [number % 10 for number in range(20)]
    red = data.pixels[data.split("test").indices[0], 0, 0, 0] / 255
    assert images[0, 0, 0, 0].item() == pytest.approx((red - data.mean[0]) / data.std[0], abs=1e-5)


def test_validation_only_cuts_the_test_set_into_disjoint_parts(tmp_path):
    write_cifar(tmp_path, "cifar10", test=100)
    given = settings(tmp_path, name="cifar10", image_size=None, protocol="validation_only", test=0.5)
    manifest = build_manifest(given, threads=1)
    assert manifest["counts"] == {"train": 40, "selection": 10, "test": 50}
    assert {"code": "validation_only", "images": 100} in manifest["warnings"]
    assert min(manifest["splits"]["train"]["indices"]) >= 50


def test_a_pickle_with_a_payload_is_refused_and_not_run(tmp_path):
    write_cifar(tmp_path, "cifar10")
    trap = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return Path.touch, (trap,)

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": Payload(), "labels": []}))
    with pytest.raises(BudamaError, match=r"not the files of CIFAR-10 \(a pickle that asks for"):
        build_manifest(settings(tmp_path, name="cifar10", image_size=None), threads=1)
    assert not trap.exists()


def write_cifar(folder: Path, name: str, train: int = 10, test: int = 20) -> None:
    rng = np.random.default_rng(1)
    *batch_names, meta = catalogue.SOURCES[name].files
    key, names = ("labels", "label_names") if name == "cifar10" else ("fine_labels", "fine_label_names")
    for file in batch_names:
        count = test if file.startswith("test") else train
        pixels = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        labels = [number % 10 for number in range(count)]
        written = pickle.dumps({"data": pixels, key: labels}, protocol=3)
        (folder / file).write_bytes(written.replace(b"numpy._core", b"numpy.core"))  # as numpy was laid out in 2009
    (folder / meta).write_bytes(pickle.dumps({names: [f"class {number}" for number in range(10)]}))


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


def test_building_a_manifest_needs_neither_torch_nor_scikit_learn():
    code = (
        "import sys; from budama.data import catalogue, manifest, splits;"
        f"manifest.build_manifest({settings(name='digits', image_size=None)!r}, 1);"
        "assert not {'torch', 'torchvision', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=HERE / "workflow" / "scripts")
