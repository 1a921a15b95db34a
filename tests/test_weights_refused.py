"""Weights files that cannot serve: each is one line that says what to do, before anything is computed."""

import io
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn
from weight_files import RAW, SMALL, Wraps, told

from budama.errors import BudamaError
from budama.jobs import user_files
from budama.networks import models, weight_kinds


class Evil:
    def __reduce__(self):
        return os.system, ("touch was-run",)


def whole_model() -> bytes:
    return saved(models.build(SMALL, 5, (1, 8, 8)))


def saved(content, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def scripted() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), buffer)
    return buffer.getvalue()


def exported() -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), buffer)
    return buffer.getvalue()


def archived() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    return buffer.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("w.pth", b"x")
    return buffer.getvalue()


def arrays() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(2))
    return buffer.getvalue()


def quantised() -> bytes:
    return saved({"conv1.weight": torch.quantize_per_tensor(torch.ones(4, 1, 3, 3), 0.1, 0, torch.qint8)})


# (name, what makes the file, words of the one line)
REFUSED = [
    ("TorchScript", scripted, ["TorchScript", "state_dict()"]),
    ("torch.export", exported, ["torch.export", "state_dict()"]),
    ("a whole model", whole_model, ["a whole pickled model", "ResNet", "nothing of it was run", "state_dict()"]),
    (
        "a model in a dictionary",
        lambda: saved({"model": Wraps(), "epoch": 3}),
        ["a whole pickled model", "state_dict()"],
    ),
    ("a model, old format", lambda: saved(Wraps(), _use_new_zipfile_serialization=False), ["a whole pickled model"]),
    ("quantised", quantised, ["quantised", "state_dict()"]),
    ("a payload", lambda: saved({"state_dict": RAW, "x": Evil()}), ["asks for posix.system", "nothing of it was run"]),
    ("a payload, old format", lambda: saved([Evil()], _use_new_zipfile_serialization=False), ["asks for posix.system"]),
    ("a bare pickle", lambda: pickle.dumps({"a": 1}), ["a pickle that torch.save did not write"]),
    (
        "a pickled payload",
        lambda: pickle.dumps(Evil()),
        ["a pickle that torch.save did not write", "nothing of it was run"],
    ),
    ("no tensors", lambda: saved({"epoch": 3}), ["holds no state_dict with tensors"]),
    (
        "an optimizer alone",
        lambda: saved({"state": {0: {"exp_avg": torch.ones(3)}}}),
        ["holds no state_dict with tensors"],
    ),
    ("a tensor", lambda: saved(torch.ones(3)), ["holds no state_dict with tensors"]),
    ("cut off", lambda: saved(RAW)[:-300], ["cut off"]),
    ("cut off, old format", lambda: saved(RAW, _use_new_zipfile_serialization=False)[:900], ["damaged or cut off"]),
    ("cut off in the tensors", lambda: saved(RAW, _use_new_zipfile_serialization=False)[:-9], ["damaged"]),
    ("safetensors cut off", lambda: save(RAW)[:-9], ["not a whole safetensors file"]),
    ("safetensors cut in the header", lambda: save(RAW)[:50], ["not a whole safetensors file"]),
    ("nothing", lambda: b"", ["it is empty (0 bytes)"]),
    ("a page", lambda: b"<!DOCTYPE html><html>404</html>", ["a text, not weights"]),
    ("a pointer", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0", ["Git LFS", "git lfs pull"]),
    ("HDF5", lambda: b"\x89HDF\r\n\x1a\n" + bytes(99), ["HDF5"]),
    ("gzip", lambda: b"\x1f\x8b\x08" + bytes(99), ["unpack it first"]),
    ("tar", archived, ["a tar archive; unpack it first"]),
    ("zip", zipped, ["a zip archive of other files; unpack it first"]),
    ("numpy", arrays, ["numpy"]),
    ("noise", lambda: bytes(range(256)), ["not weights"]),
]


@pytest.mark.parametrize(("make", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_file_that_cannot_serve_is_one_line_that_says_what_to_do(tmp_path, monkeypatch, make, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_bytes(make())
    line = told("w.pth")
    assert line.startswith("model.weights: w.pth ")
    for word in words:
        assert word in line
    assert not (tmp_path / "was-run").exists()


def test_a_folder_names_the_file_in_it(tmp_path):
    save_file(RAW, tmp_path / "model.safetensors")
    assert f"is a folder; it must be a file, say {tmp_path}/model.safetensors" in told(tmp_path)


@pytest.mark.parametrize("make", [scripted, whole_model, quantised, lambda: b"text"])
def test_planning_stops_before_any_image_is_read(tmp_path, monkeypatch, make):
    """And needs no torch for that."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.th").write_bytes(make())
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(BudamaError, match=r"^config/baselines/x.yaml: model.weights: w.th "):
        user_files.facts("baseline", {"model": {**SMALL, "weights": "w.th"}}, "config/baselines/x.yaml")
    with pytest.raises(BudamaError):
        weight_kinds.check("w.th")
