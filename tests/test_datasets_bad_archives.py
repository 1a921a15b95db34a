"""Files of Fashion-MNIST and CIFAR that are missing or damaged, and how they are looked for."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from array_data import write_cifar, write_fashion_mnist, write_idx
from imagefolders import settings

from budama.data.catalogue import fingerprint, locate
from budama.data.manifest import build_manifest
from budama.errors import BudamaError

HERE = Path(__file__).parents[1]

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
