"""Decoded images are kept, in a cache with a limit, and change no number."""

import gc
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from imagefolders import encoded, picture, settings, write
from whole_splits import everything

from budama import files
from budama.data import cache as caching
from budama.data.batching import batches
from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.errors import BudamaError

HERE = Path(__file__).parents[1]


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
