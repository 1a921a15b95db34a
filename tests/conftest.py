"""Fixtures that the tests of several files share.

What takes long to import is imported where it is used: tests of the configuration do not wait for torch.
"""

from pathlib import Path

import configurations
import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with a valid configuration, made the current one."""
    configurations.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A small image folder, below a working directory of its own (the cache lies in the working directory)."""
    from imagefolders import train_and_val

    monkeypatch.chdir(tmp_path)
    return train_and_val(tmp_path / "images")


@pytest.fixture
def manifest(root) -> dict:
    """What dataset.json says of the image folder."""
    from imagefolders import settings

    from budama.data.manifest import build_manifest

    return build_manifest(settings(root), threads=2)


@pytest.fixture(scope="module")
def one_thread():
    """Torch computes with one thread, in all tests of the file."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
