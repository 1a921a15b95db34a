"""Fashion-MNIST and CIFAR, read from the files that are published."""

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
from array_data import write_cifar, write_fashion_mnist
from imagefolders import settings
from whole_splits import everything

from budama.data import catalogue
from budama.data.batching import batches
from budama.data.catalogue import fingerprint
from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.errors import BudamaError

needs_fashion_mnist = pytest.mark.skipif(
    not catalogue.DEBIAN_FASHION_MNIST.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed"
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
