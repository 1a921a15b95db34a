"""Weights that do not fit their model stop the planning, before any image is read."""

from pathlib import Path

import pytest
import torch
import yaml
from imagefolders import one_folder
from weight_files import AVERAGE, RAW

from budama.errors import BudamaError
from budama.jobs import runs, weights_fit


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """Plan a baseline of a small network on grey images of five classes, with what is given as its weights file."""
    monkeypatch.chdir(tmp_path)
    one_folder(tmp_path / "images", "abcde", 4, mode="L")

    def plan(content, epochs: int = 1, **model):
        torch.save(content, "w.ckpt")
        model = {
            "source": "budama",
            "name": "resnet_cifar",
            "arguments": {"depth": 8, "width": 4},
            "weights": "w.ckpt",
        } | model
        data = {"name": "image_folder", "root": "images", "image_size": 32}
        document = {"baseline": "mine", "model": model, "data": data, "train": {"epochs": epochs}}
        Path("config/baselines").mkdir(parents=True, exist_ok=True)
        Path("config/baselines/mine.yaml").write_text(yaml.safe_dump(document))
        runs.find_baseline.cache_clear()
        return runs.check_users_files("mine")

    yield plan
    runs.find_baseline.cache_clear()


def test_weights_that_fit_are_asked_for_once(planned, capfd, monkeypatch):
    assert planned({"model": RAW, "ema": AVERAGE}) == []
    assert "'model' is taken; model.weights_key: ema takes the other" in capfd.readouterr().err
    monkeypatch.setattr(weights_fit, "_asked_of_a_process", None)
    assert planned({"model": RAW, "ema": AVERAGE}) == []


@pytest.mark.parametrize(
    ("content", "given", "words"),
    [
        ({f"x.{name}": value for name, value in RAW.items() if "conv" in name}, {}, ["it lacks bn1.weight, bn1.bias"]),
        (RAW, {"arguments": {"depth": 8, "width": 8}}, ["conv1.weight is [4, 1, 3, 3], not [8, 1, 3, 3]"]),
        (
            {k: v for k, v in RAW.items() if "fc" not in k},
            {"epochs": 0},
            ["train.epochs is 0, but", "have no classifier"],
        ),
        ({"model": RAW}, {"weights_key": "ema"}, ["model.weights_key is 'ema', but w.ckpt has no such set"]),
    ],
    ids=["names", "shapes", "no classifier", "no such key"],
)
def test_weights_that_do_not_fit_are_told_with_the_baselines_file(planned, content, given, words):
    with pytest.raises(BudamaError) as caught:
        planned(content, **given)
    (line,) = caught.value.lines
    assert line.startswith("config/baselines/mine.yaml: ")
    assert all(word in line for word in words)


def test_what_only_this_environment_lacks_is_left_to_the_job(planned):
    assert planned(RAW, source="python", name="no_such_module:Net", arguments={}) == []
