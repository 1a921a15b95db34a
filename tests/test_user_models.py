"""Models of users' own making: whatever they give, however they call their layers, they work or one line says why."""

import functools

import numpy as np
import pytest
import refused_models
import torch
import user_models
from trainings import SETTINGS
from user_models import CLASSES, SHAPE

from budama.errors import BudamaError
from budama.measuring import latency
from budama.measuring.evaluation import evaluate
from budama.networks import checkpoint, export, layout, models, outputs, trial
from budama.pruning import calibration, pruner
from budama.training.steps import Stepper

CPU = torch.device("cpu")
IMAGES = torch.randn(24, *SHAPE, generator=torch.Generator().manual_seed(1))
BATCHES = [(part, torch.arange(8) % CLASSES) for part in IMAGES.split(8)]


def recipe_of(name: str) -> dict:
    module = "user_models" if hasattr(user_models, name) else "refused_models"
    model = {"source": "python", "name": f"{module}:{name}", "arguments": {}, "weights": None}
    return {"model": model, "classes": CLASSES, "input_shape": list(SHAPE)}


def built(name: str) -> torch.nn.Module:
    return models.build(recipe_of(name)["model"], CLASSES, SHAPE)


@functools.cache
def plain_logits() -> np.ndarray:
    """What the network gives whose every other form is below."""
    return evaluate(built("Plain"), BATCHES).losses


SAME_AS_PLAIN = [
    "GivesDict", "GivesList", "GivesDataclass", "GivesNamed", "TupleInTraining", "DictInTraining", "Counts", "Options",
    "Frozen", "Branches", "parallel", "compiled",
]  # fmt: skip
OTHERS = ["GivesOut", "ConvHead", "ConvHeadFlat", "Views", "Twice", "Unused", "Keywords", "ThroughMethods", "Lazy",
          "LogSoftmax", "Subclassed", "Attends"]  # fmt: skip


@pytest.mark.parametrize("name", [*SAME_AS_PLAIN, *OTHERS])
def test_it_is_trained_evaluated_pruned_and_saved(name, tmp_path):
    model = built(name)
    if name in SAME_AS_PLAIN:
        assert np.allclose(evaluate(model, BATCHES).losses, plain_logits(), atol=1e-6), "the logits are another tensor"
    model = model.to(memory_format=layout.of(model)).train()
    stepper = Stepper(model, None, SETTINGS, CPU, fused=False)
    for images, labels in BATCHES:
        assert stepper.step(images.to(memory_format=layout.of(model)), labels, 8, 0.01).isfinite()
    model.eval()
    pruned = pruner.prune(model, SHAPE, CLASSES, "wanda", {"ratio": 0.3}, calibrated(model))
    assert pruned.kept
    checkpoint.save(tmp_path / "model", pruned.model, recipe=recipe_of(name), kept=pruned.kept)
    before, after = evaluate(pruned.model, BATCHES), evaluate(checkpoint.load(tmp_path / "model"), BATCHES)
    assert (before.losses == after.losses).all()


def calibrated(model: torch.nn.Module) -> calibration.Statistics:
    return calibration.collect(model, BATCHES, threshold=0.25, device=CPU)


REFUSED = {
    "Recurrent_gru": "conv cannot be pruned: its channels reach rnn, whose kind (GRU) pruning does not know",
    "Recurrent_lstm": "conv cannot be pruned: its channels reach rnn, whose kind (LSTM) pruning does not know",
    "product": "conv2 cannot be pruned",
    "DotProduct": "q cannot be pruned",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_named_with_what_to_leave_out(name):
    kinds = {"Recurrent_gru": torch.nn.GRU, "Recurrent_lstm": torch.nn.LSTM}
    model = (
        refused_models.Recurrent(kinds[name]) if name in kinds
        else refused_models.Product("addmm") if name == "product" else refused_models.DotProduct()
    )  # fmt: skip
    with pytest.raises(BudamaError) as told:
        pruner.prune(model.eval(), SHAPE, CLASSES, "magnitude", {"ratio": 0.3})
    (line,) = told.value.lines
    assert line.startswith(REFUSED[name])
    assert "pruning.ignore: [" in line


LINES = {
    "ChangesInput": "changes the images that it is given",
    "Random": "answers differently when it is asked again in evaluation mode",
    "Softmax": "gives probabilities, which sum to one; it must give logits, without softmax",
    "InAList": "hidden holds layers in a Python list, where PyTorch neither trains nor saves them",
    "OneImage": "must give logits [images, classes] for images; it gave [1, 5]",
    "TwoImages": "does not take images of [3, 16, 16]: eight images, please (refused_models.py, line",
    "Text": "must give logits [images, classes] for images; it gave str",
    "Nothing": "must give logits [images, classes] for images; it gave dict",
    "Double": "does not take images of [3, 16, 16]",
    "scripted": "is TorchScript, which cannot be pruned",
    "WeightNorm": "conv2 is parametrized",
    "NoLayers": "has no linear layer or 1x1 convolution with 5 outputs",
}


@pytest.mark.parametrize("name", LINES)
def test_what_would_go_wrong_unseen_is_refused_in_one_line(name):
    with pytest.raises(BudamaError) as told:
        models.find_classifier(built(name), CLASSES)
    (line,) = told.value.lines
    assert LINES[name] in line


def test_a_model_that_cannot_be_trained_is_told_in_one_line():
    """Its own in-place operation overwrites what its gradient needs."""
    with pytest.raises(BudamaError, match=r"^the model cannot be trained: RuntimeError: one of the variables needed"):
        Stepper(built("InPlace").train(), None, SETTINGS, CPU, fused=False).step(*BATCHES[0], 8, 0.01)
    with pytest.raises(BudamaError, match=r"^the model mine cannot be trained"):
        trial.train(built("InPlace"), SHAPE, "mine")
    trial.train(built("Plain"), SHAPE, "mine")


@pytest.mark.parametrize(("name", "layer"), [("Hooked", "conv1"), ("SpectralNorm", "conv2")])
def test_a_hook_is_named_with_its_layer(name, layer):
    with pytest.raises(BudamaError, match=f"^{name}: a hook was left on {layer}"):
        pruner.prune(built(name), SHAPE, CLASSES, "magnitude", {"ratio": 0.3})


def test_a_line_of_the_users_file_is_named():
    def broken(_):
        raise ValueError("no such thing")

    model = user_models.Plain()
    model.features = broken
    with pytest.raises(BudamaError, match=r"no such thing \(test_user_models.py, line \d+\)"):
        trial.train(model, SHAPE, "mine")


def test_maps_that_are_viewed_as_they_lie_stay_contiguous_to_the_end(tmp_path):
    model = built("Views")
    assert layout.of(model) == torch.contiguous_format
    assert layout.of(built("Plain")) == torch.channels_last
    pruned = pruner.prune(model, SHAPE, CLASSES, "magnitude", {"ratio": 0.3}).model
    checkpoint.save(tmp_path / "model", pruned, recipe=recipe_of("Views"))
    loaded = checkpoint.load(tmp_path / "model")
    assert layout.is_contiguous(loaded)
    timed = latency.compare({"baseline": model, "pruned": loaded}, IMAGES[:2], rounds=3, warmup_rounds=1)
    assert timed.timings["pruned"].error is None
    assert not timed.channels_last, "what is said of the timing is what was done"
    Stepper(loaded.train(), None, SETTINGS, CPU).step(*BATCHES[0], 8, 0.01)


@pytest.mark.parametrize("name", ["GivesDict", "ConvHead"])
def test_what_is_exported_gives_the_logits_alone(name, tmp_path):
    model = built(name)
    written = export.write(tmp_path, model, ["torch_export"], SHAPE, BATCHES)
    assert written["torch_export"]["top1_equal"] == 24
    given = export.load_program(tmp_path / written["torch_export"]["file"])(IMAGES)
    assert torch.allclose(given, outputs.logits(model(IMAGES)), atol=1e-5)


def test_a_checkpoints_model_is_not_asked_twice(tmp_path, monkeypatch):
    """It has no values yet when it is built: what it would answer says nothing, and might differ from call to call."""
    model = built("Branches")  # cannot be built without storage, so it comes with whatever is in memory
    checkpoint.save(tmp_path / "model", model, recipe=recipe_of("Branches"))
    ask, asked = type(model).forward, []
    monkeypatch.setattr(type(model), "forward", lambda self, images: asked.append(images) or ask(self, images))
    checkpoint.load(tmp_path / "model")
    shapes = [tuple(images.shape) for images in asked if not images.is_meta]
    assert shapes == [(2, *SHAPE)], "once, for the number of its classes"
