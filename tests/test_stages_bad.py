"""What a stage says of bad input: one line, exit status 1, and everything that was there stays as it was."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from imagefolders import train_and_val
from small_stages import (
    BASELINE,
    Payload,
    all_of,
    another,
    content,
    cut,
    flip,
    of_seven_classes,
    pickled,
    prepared,
    put,
    run,
    save,
)

from budama.networks import checkpoint


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder with a configuration and what the first stages made of it, all of it good."""
    return prepared(tmp_path_factory.mktemp("good"))


@pytest.fixture
def folder(good, tmp_path, monkeypatch):
    """A copy of it to spoil, in which results of an earlier run lie, made the current one."""
    work = Path(shutil.copytree(good, tmp_path / "work"))
    shutil.copytree(work / "model", work / "out/model")
    for name in ("metrics.json", "history.csv", "pruning.json", "benchmark.json", "c.safetensors"):
        (work / "out" / name).write_text("of an earlier run")
    monkeypatch.chdir(work)
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    return work


DEEPER = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 14, "width": 8}}

PYTHON = {"source": "python", "name": "own_models:Net", "arguments": {}}

DAMAGED = "model/model.safetensors: is damaged or from another checkpoint (its sha256 is not structure.json's)"

REFUSED = "is refused: it is a pickle that torch.save did not write, or is damaged; nothing of it was run"


# What is bad, the stages that meet it, how it comes about, and the line that tells it.
TABLE = [
    # checkpoints
    ("a truncated checkpoint", "prune finetune calibrate export benchmark", cut("model/model.safetensors"), DAMAGED),
    ("a flipped bit", "prune finetune calibrate export benchmark", flip("model/model.safetensors"), DAMAGED),
    ("a pickle with a payload as a checkpoint", "prune finetune benchmark", pickled("model/model.safetensors"),
     "model/model.safetensors: is not a safetensors file"),
    ("a checkpoint without tensors", "prune", lambda f: (f / "model/model.safetensors").unlink(), "cannot be read"),
    ("no checkpoint", "prune finetune calibrate", lambda f: shutil.rmtree(f / "model"),
     "model/structure.json: no such file"),
    ("a structure.json cut off", "prune", cut("model/structure.json"), "model/structure.json: is not JSON"),
    ("another architecture's checkpoint", "prune", another(model=DEEPER),
     "calibration: no input_sumsq of stage1.1.conv1; it was collected from another model"),
    ("a checkpoint for other classes", "prune finetune calibrate benchmark export",
     another(model=BASELINE["model"], classes=7), "model: is for 7 classes, but dataset.json has 10"),
    ("a checkpoint for other images", "prune finetune calibrate benchmark export",
     another(model=BASELINE["model"], shape=(3, 8, 8)),
     "model: is for images of [3, 8, 8], but dataset.json has [1, 8, 8]"),
    # weights
    ("weights: a pickle with a payload", "baseline",
     all_of(put("baseline", "model.weights", "w.pth"), pickled("w.pth")), f"model.weights: w.pth {REFUSED}"),
    ("weights: a payload in a zip of torch's", "baseline",
     all_of(put("baseline", "model.weights", "w.pth"), lambda f: torch.save({"a": Payload()}, f / "w.pth")),
     "model.weights: w.pth is refused: it asks for __builtin__.getattr, which weights need not; nothing of it was run"),
    ("weights that are not there", "baseline", put("baseline", "model.weights", "w.pth"),
     "model.weights: there is no file w.pth"),
    ("weights of another architecture", "baseline",
     all_of(put("baseline", "model.weights", "other/model.safetensors"), lambda f: save(f / "other", DEEPER)),
     "model.weights: other/model.safetensors does not fit the model: it has stage1.1."),
    ("weights cut off", "baseline",
     all_of(put("baseline", "model.weights", "model/model.safetensors"), cut("model/model.safetensors")),
     "model.weights: model/model.safetensors is not a whole safetensors file"),
    ("weights for other classes that nothing trains", "baseline",
     all_of(put("baseline", "model.weights", "other/model.safetensors"), put("baseline", "train.epochs", 0),
            lambda f: save(f / "other", BASELINE["model"], classes=7)),
     "train.epochs is 0, but the weights other/model.safetensors are for 7 classes and the data has 10"),
    # dataset.json and calibration
    ("dataset.json cut off", "baseline prune", cut("dataset.json"), "dataset.json: is not JSON"),
    ("dataset.json of something else", "baseline prune", lambda f: (f / "dataset.json").write_text('{"a": 1}'),
     "dataset.json has no name: it is not of this budama"),
    ("other data than the checkpoint's", "finetune", of_seven_classes,
     "model: is for 10 classes, but dataset.json has 7"),
    ("a calibration cut off", "prune", cut("calibration.safetensors"), "calibration.safetensors"),
    # the model
    ("a model that does not exist", "baseline", put("baseline", "model", {**PYTHON, "name": "own_models:Nut"}),
     "model.name: own_models has no function 'Nut'; did you mean Net?"),
    # resources
    ("too little memory for one image", "baseline", put("baseline", "model", {**PYTHON, "name": "own_models:Starved"}),
     "batch_size is 128: memory does not suffice for one image"),
    ("a loss that is no number", "baseline", put("baseline", "train", {"epochs": 3, "learning_rate": 100,
     "momentum": 0.99, "weight_decay": 1, "schedule": "constant", "warmup_epochs": 0}),
     "training diverged in epoch 1: the loss is "),
]  # fmt: skip

CASES = [(stage, edit, line, f"{stage}: {name}") for name, stages, edit, line in TABLE for stage in stages.split()]


@pytest.mark.parametrize(("stage", "edit", "line"), [case[:3] for case in CASES], ids=[case[3] for case in CASES])
def test_bad_input_is_one_line_and_damages_nothing(folder, stage, edit, line):
    edit(folder)
    before = content(folder)
    status, said = run(stage)
    errors = [told for told in said.splitlines() if told.startswith("error: ")]
    assert status == 1, said
    assert len(errors) == 1
    assert said.splitlines()[-1] == errors[0]
    assert line in errors[0]
    assert "Traceback" not in said
    assert content(folder) == before


@pytest.mark.parametrize("stage", ["baseline", "calibrate", "prune", "finetune", "export", "benchmark"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that is not there")
def test_a_gpu_that_is_not_there_is_told_before_anything_is_computed(folder, stage):
    before = content(folder)
    assert run(stage, "--device", "cuda") == (
        1, "error: --device is cuda, but this machine has no usable GPU; use --device cpu\n",
    )  # fmt: skip
    assert content(folder) == before


@pytest.mark.parametrize("stage", ["dataset", "baseline", "calibrate", "prune", "finetune", "export", "benchmark"])
def test_a_full_disk_is_told_and_the_results_of_an_earlier_run_stay(folder, stage):
    """A limit on the size of files stands for the disk: writing beyond it fails as on a full one."""
    import resource

    before, limits = content(folder), resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        status, said = run(stage)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert status == 1, said
    assert "no space left" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert content(folder) == before


def test_too_little_memory_halves_the_batch_and_the_run_succeeds(folder):
    put("baseline", "model", {**PYTHON, "name": "own_models:Hungry"})(folder)
    status, said = run("baseline")
    assert status == 0, said
    assert said.count("32 images are taken at a time, and gradients summed") == 1
    assert json.loads((folder / "out/metrics.json").read_text())["status"] == "ok"


def test_the_last_good_epoch_is_kept_where_the_loss_is_no_number(folder):
    # Weight decay overshoots: every step multiplies the weights by up to -9, on any machine.
    diverging = {"epochs": 12, "learning_rate": 100, "schedule": "constant", "warmup_epochs": 2, "weight_decay": 0.1}
    put("baseline", "train", diverging)(folder)
    status, said = run("baseline")
    assert status == 1, said
    assert "training diverged in epoch" in said
    assert (folder / "out/progress/state.safetensors").exists()


@pytest.mark.parametrize("name", ["iki kelime", "çiçekler-ığüşö", 'a\'b "c"', "$HOME;x&y"])
def test_folders_of_any_name_work_from_data_to_checkpoint(folder, name):
    train_and_val(folder / name, size=(12, 12), mode="L")
    put("baseline", "data", {"name": "image_folder", "root": name, "image_size": 8, "channels": 1})(folder)
    for stage in ("dataset", "baseline"):
        status, said = run(stage)
        assert status == 0, said
    assert checkpoint.structure(folder / "out/model")["recipe"]["class_names"] == ["cat", "dog"]


@pytest.mark.parametrize("variant", ["../x", "wanda/../..", "/etc", "wanda 1", "çiçek"])
def test_a_variant_that_is_no_name_of_the_scenario_is_told(folder, variant):
    before = content(folder)
    status, said = run("prune", "--variant", variant)
    assert status == 1
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert variant in said
    assert content(folder) == before
    assert not os.path.exists("../x")
