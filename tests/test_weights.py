"""Weights files as people have them: judged by content, unwrapped, and told in one line where they cannot serve."""

import argparse
import pathlib
import sys
import types
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from weight_files import AVERAGE, RAW, SMALL, ResNet20, Wraps, behind, built, same, told

from budama import files
from budama.errors import BudamaError
from budama.jobs import user_files
from budama.networks import models, weights


@pytest.fixture
def own(monkeypatch):
    module = types.ModuleType("nets_of_mine")
    module.ResNet20, module.Wraps = ResNet20, Wraps
    monkeypatch.setitem(sys.modules, "nets_of_mine", module)


# What training programs write, by what it is of.
WRAPPED = {
    "a state_dict": RAW,
    "state_dict": {"state_dict": RAW, "best_prec1": 91.7, "optimizer": {"state": {0: {"m": torch.ones(3)}}}},
    "net": {"net": behind("module.", RAW), "acc": 95.1, "epoch": 199},
    "model": {"model": RAW, "args": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("/x")), "acc": np.float64(3)},
    "numpy beside": {"model": RAW, "mean": np.ones((2, 3)), "best": np.int64(4), "where": pathlib.Path("x")},
    "model_state_dict": {"model_state_dict": RAW, "loss": torch.tensor(0.3)},
    "params": {"params": RAW},
    "module": {"module": RAW},
    "weights": {"weights": RAW, "meta": {"classes": ["a", "b"]}},
    "nested once more": {"checkpoint": {"model": {"state_dict": RAW}}},
    "DataParallel": behind("module.", RAW),
    "torch.compile": behind("_orig_mod.", RAW),
    "both": behind("module._orig_mod.", RAW),
    "a compiled stage": {name.replace("stage1.", "stage1._orig_mod."): value for name, value in RAW.items()},
    "Lightning": {"state_dict": behind("model.", RAW), "hyper_parameters": SimpleNamespace(lr=1), "callbacks": {}},
    "backbone": {"state_dict": behind("backbone.", RAW)},
    "encoder": behind("encoder.", RAW),
    "a name of nobody's": {"state_dict": behind("student.trunk.", RAW)},
    "AveragedModel": {**behind("module.", RAW), "n_averaged": torch.tensor(7)},
    "without counters": {name: value for name, value in RAW.items() if "num_batches" not in name},
    "half precision": {name: value.half() if value.is_floating_point() else value for name, value in RAW.items()},
    "parameters": {name: nn.Parameter(value) if value.is_floating_point() else value for name, value in RAW.items()},
}  # fmt: skip


@pytest.mark.parametrize("content", WRAPPED.values(), ids=WRAPPED.keys())
def test_weights_are_found_however_they_are_wrapped(tmp_path, content):
    torch.save(content, tmp_path / "w.th")
    state = built(tmp_path / "w.th").state_dict()
    for place, value in RAW.items():
        if "num_batches" not in place:
            expected = value.half().float() if content is WRAPPED["half precision"] else value
            assert torch.equal(state[place], expected), place


@pytest.mark.parametrize(
    "name", ["w.th", "w.pth.tar", "w.ckpt", "w.bin", "w.pt", "w.safetensors", "w", "w.weights", "w.zip"]
)
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_the_content_decides_and_not_the_name(tmp_path, name, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if kind == "safetensors":
        save_file(RAW, name)
    else:
        torch.save({"state_dict": RAW}, name, _use_new_zipfile_serialization=kind == "zip")
    assert files.names_weights(name)
    assert same(built(name), RAW)
    assert user_files.facts("baseline", {"model": {**SMALL, "weights": name}}, "x.yaml").keys() == {"weights"}


def test_names_that_sources_know_are_no_files():
    for name in ("DEFAULT", "IMAGENET1K_V2", "a1_in1k", "fb_in22k_ft_in1k_384"):
        assert not files.names_weights(name)


# Files with two sets of weights: the key of the other one.
SEVERAL = {
    "ema": ({"ema": AVERAGE, "model": RAW}, "ema"),
    "model_ema": ({"model": RAW, "model_ema": AVERAGE}, "model_ema"),
    "state_dict_ema": ({"state_dict_ema": behind("module.", AVERAGE), "state_dict": RAW}, "state_dict_ema"),
    "ema.module": ({"ema": {"module": AVERAGE}, "net": RAW}, "ema.module"),
    "ema.shadow": ({"model": RAW, "ema": {"shadow": AVERAGE, "decay": 0.999}}, "ema.shadow"),
    "in one": ({"state_dict": {**behind("ema_model.", AVERAGE), **behind("model.", RAW)}}, "state_dict.ema_model"),
    "beside": ({**RAW, "ema": AVERAGE}, "ema"),
    "teacher": ({"teacher": AVERAGE, "student": behind("backbone.", RAW)}, "teacher"),
    "query and key": ({"state_dict": {**behind("module.encoder_k.", AVERAGE), **behind("module.encoder_q.", RAW)}},
                      "state_dict.module.encoder_k"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "key"), SEVERAL.values(), ids=SEVERAL.keys())
def test_of_two_sets_the_raw_one_is_taken_and_the_log_says_how_to_take_the_other(tmp_path, content, key, capsys):
    torch.save(content, tmp_path / "w.ckpt")
    assert same(built(tmp_path / "w.ckpt"), RAW)
    said = " ".join(capsys.readouterr().err.split())
    shown = ".".join(part for part in key.split(".") if part != "module")
    assert "holds 2 sets of weights" in said
    assert f"model.weights_key: {shown} takes the other" in said
    assert same(built(tmp_path / "w.ckpt", key), AVERAGE)
    assert same(built(tmp_path / "w.ckpt", shown), AVERAGE)


def test_a_key_that_the_file_lacks_is_told_with_those_it_has(tmp_path):
    torch.save({"model": RAW, "ema": AVERAGE}, tmp_path / "w.pt")
    assert told(tmp_path / "w.pt", "best").endswith("has no such set of weights; it has 'model' and 'ema'")


def test_weights_of_what_the_model_wraps_are_taken(tmp_path, own):
    mine = {"source": "python", "name": "nets_of_mine:Wraps", "arguments": {}}
    torch.save(RAW, tmp_path / "w.pt")
    assert same(built(tmp_path / "w.pt", model=mine).net, RAW)


@pytest.mark.parametrize("classes", [10, 4])
def test_a_public_checkpoint_of_cifar_loads(tmp_path, own, classes):
    """A `.th` with `best_prec1` and a `state_dict` behind `module.`, whose layers are the user's own."""
    torch.manual_seed(0)
    published = ResNet20()
    torch.save({"best_prec1": 91.7, "state_dict": behind("module.", published.state_dict())}, tmp_path / "r.th")
    mine = {"source": "python", "name": "nets_of_mine:ResNet20", "arguments": {}}
    model = built(tmp_path / "r.th", model=mine, classes=classes, shape=(3, 32, 32))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        if classes == 10:
            assert torch.equal(model(images), published.eval()(images))
        assert torch.equal(model.layer3(torch.ones(1, 32, 8, 8)), published.eval().layer3(torch.ones(1, 32, 8, 8)))
        assert model(images).shape == (2, classes)


def test_weights_without_a_classifier_need_training(tmp_path):
    torch.save({name: value for name, value in RAW.items() if not name.startswith("fc.")}, tmp_path / "w.pt")
    model = built(tmp_path / "w.pt")
    assert torch.equal(model.conv1.weight, RAW["conv1.weight"])
    section = {**SMALL, "weights": str(tmp_path / "w.pt")}
    with pytest.raises(BudamaError, match="have no classifier and the data has 5; it must be 1 or more"):
        weights.check_classifier(section, model, "fc", 5)
    torch.save(RAW, tmp_path / "w.pt")
    weights.check_classifier(section, model, "fc", 5)
    with pytest.raises(BudamaError, match="are for 5 classes and the data has 9"):
        weights.check_classifier(section, models.build(section, 9, (1, 8, 8)), "fc", 9)


def test_what_does_not_fit_is_told_with_names_of_both_sides(tmp_path):
    other = {f"state_dict.{'very_long_name_' * 9}{number}.weight": torch.ones(2) for number in range(300)}
    torch.save({"state_dict": other}, tmp_path / "w.pt")
    line = told(tmp_path / "w.pt")
    assert "it lacks conv1.weight, bn1.weight, bn1.bias and" in line
    assert "it has very_long_name_very" in line
    assert "and 297 more (300), which the model has not" in line
    renamed = {name.replace("conv1", "stem"): value for name, value in RAW.items()}
    torch.save(renamed, tmp_path / "w.pt")
    line = told(tmp_path / "w.pt")
    assert "it lacks conv1.weight, stage1.0.conv1.weight" in line
    assert "it has stem.weight, stage1.0.stem.weight" in line
    wider = models.build({**SMALL, "arguments": {"depth": 8, "width": 8}}, 5, (1, 8, 8)).state_dict()
    torch.save(wider, tmp_path / "w.pt")
    assert "conv1.weight is [8, 1, 3, 3], not [4, 1, 3, 3], " in told(tmp_path / "w.pt")
    torch.save({**RAW, "conv1.weight": torch.full_like(RAW["conv1.weight"], float("nan"))}, tmp_path / "w.pt")
    assert "infinite or none (NaN) in conv1.weight" in told(tmp_path / "w.pt")
    torch.save({**RAW, "conv1.weight": RAW["conv1.weight"].to(torch.int8)}, tmp_path / "w.pt")
    assert "conv1.weight is int8; the model has floating-point numbers there" in told(tmp_path / "w.pt")
