"""A checkpoint comes back as the model it was, bit for bit, or says in one line why it cannot."""

import hashlib
import json
import subprocess
import sys
import types

import pytest
import torch
from torch import nn

from budama import files
from budama.errors import BudamaError
from budama.networks import checkpoint, models
from budama.pruning import pruner

SHAPE = (1, 8, 8)
RECIPE = {
    "model": {
        "source": "budama",
        "name": "resnet_cifar",
        "arguments": {"depth": 8, "width": 8},
        "weights": None,
    },
    "classes": 5,
    "input_shape": list(SHAPE),
    "class_names": ["a", "b", "ç", "d", "e"],
    "normalisation": {"mean": [0.5], "std": [0.25], "resize": None, "image_size": 8},
}


def built(seed=1):
    return models.build(RECIPE["model"], 5, SHAPE, seed=seed)


@pytest.fixture
def pruned():
    return pruner.prune(built(), SHAPE, 5, "magnitude", {"ratio": 0.3})


@pytest.fixture
def saved(tmp_path, pruned):
    checkpoint.save(tmp_path / "model", pruned.model, recipe=RECIPE, kept=pruned.kept)
    return tmp_path / "model"


def refused(folder):
    with pytest.raises(BudamaError) as told:
        checkpoint.load(folder)
    assert "\n" not in str(told.value)
    assert str(folder) in str(told.value)
    return str(told.value)


def changed(folder, **values):
    described = json.loads((folder / "structure.json").read_text())
    (folder / "structure.json").write_text(json.dumps({**described, **values}))


def test_a_pruned_model_gives_bit_equal_outputs_in_a_fresh_process(saved, pruned, tmp_path):
    images = models.example_input(SHAPE, batch=16)
    torch.save({"images": images, "logits": pruned.model(images).detach()}, tmp_path / "expected.pt")
    code = f"""
import sys, torch
from budama.networks import checkpoint
model = checkpoint.load({str(saved)!r})
expected = torch.load({str(tmp_path / "expected.pt")!r}, weights_only=True)
assert not model.training
with torch.no_grad():
    assert torch.equal(model(expected["images"]), expected["logits"])
assert not {{"torch_pruning", "torchvision", "timm"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": "workflow/scripts"})


def test_structure_json_says_what_pruning_did(saved, pruned):
    described = checkpoint.structure(saved)
    assert described["recipe"] == RECIPE
    assert described["kept"] == pruned.kept
    assert described["attributes"]["conv1"] == {"out_channels": pruned.model.conv1.out_channels}
    assert described["sha256"] == files.sha256(saved / "model.safetensors")


def test_a_model_that_was_not_pruned_changes_nothing(tmp_path):
    checkpoint.save(tmp_path / "model", built(), recipe=RECIPE)
    assert checkpoint.structure(tmp_path / "model")["attributes"] == {}


def test_a_checkpoint_replaces_an_older_one_whole(saved):
    model = built(seed=8)
    checkpoint.save(saved, model, recipe=RECIPE)
    assert torch.equal(checkpoint.load(saved).conv1.weight, model.conv1.weight)
    assert sorted(path.name for path in saved.parent.iterdir()) == ["model"]


@pytest.mark.parametrize(
    ("source", "name", "size"),
    [("torchvision", "mobilenet_v2", 32), ("torchvision", "densenet121", 32), ("timm", "vit_tiny_patch16_224", 32)],
)
def test_models_of_other_sources_come_back(tmp_path, source, name, size):
    description = {"source": source, "name": name, "arguments": {}, "weights": None}
    model = models.build(description, 5, (3, size, size))
    recipe = {"model": description, "classes": 5, "input_shape": [3, size, size]}
    checkpoint.save(tmp_path / "model", model, recipe=recipe)
    images = models.example_input((3, size, size), batch=2)
    with torch.no_grad():
        assert torch.equal(checkpoint.load(tmp_path / "model")(images), model(images))


class Awkward(nn.Module):
    """Shared weights, a buffer that no state_dict has, a tensor outside of it all, a constructor that reads values."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(12, 12)
        self.second = nn.Linear(12, 12)
        self.second.weight = self.first.weight
        self.head = nn.Linear(12, 3)
        self.register_buffer("order", torch.arange(12).flip(0), persistent=False)
        self.shift = torch.linspace(0, 1, 12)
        self.rates = [rate.item() for rate in torch.linspace(0, 0.3, 3)]

    def forward(self, images):
        return self.head(self.second(self.first(images.flatten(1))[:, self.order]) + self.shift + sum(self.rates))


def test_shared_weights_and_unsaved_buffers_come_back(tmp_path, monkeypatch):
    module = types.ModuleType("awkward_models")
    module.Awkward = Awkward
    monkeypatch.setitem(sys.modules, "awkward_models", module)
    description = {"source": "python", "name": "awkward_models:Awkward", "arguments": {}, "weights": None}
    model = models.build(description, 3, (3, 2, 2))
    checkpoint.save(tmp_path / "m", model, recipe={"model": description, "classes": 3, "input_shape": [3, 2, 2]})
    loaded = checkpoint.load(tmp_path / "m")
    assert loaded.first.weight is loaded.second.weight
    images = models.example_input((3, 2, 2), batch=4)
    assert torch.equal(loaded(images), model(images))


def test_a_channels_last_model_comes_back_channels_last(tmp_path):
    model = built().to(memory_format=torch.channels_last)
    checkpoint.save(tmp_path / "m", model, recipe=RECIPE)
    assert checkpoint.load(tmp_path / "m").stage2[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_model_in_training_mode_is_saved_as_it_evaluates_and_stays_in_training(tmp_path):
    model = built().train()
    checkpoint.save(tmp_path / "m", model, recipe=RECIPE)
    assert model.training
    assert not checkpoint.load(tmp_path / "m").training


def test_a_model_that_is_not_its_recipes_is_refused_when_saved(tmp_path):
    other = {**RECIPE, "model": {**RECIPE["model"], "arguments": {"depth": 14, "width": 8}}}
    with pytest.raises(BudamaError, match="layers are not those of its recipe"):
        checkpoint.save(tmp_path / "m", built(), recipe=other)
    assert not (tmp_path / "m").exists()


def test_an_unavailable_method_is_told_by_its_reason(tmp_path):
    checkpoint.save_unavailable(tmp_path / "m", "no BatchNorm in the model")
    assert checkpoint.structure(tmp_path / "m")["unavailable"] == "no BatchNorm in the model"
    assert "no BatchNorm in the model" in refused(tmp_path / "m")


def test_a_missing_folder_is_one_line(tmp_path):
    assert "no such file" in refused(tmp_path / "nothing")


def test_a_missing_tensor_file_is_one_line(saved):
    (saved / "model.safetensors").unlink()
    assert "cannot be read" in refused(saved)


def test_truncated_tensors_are_one_line(saved):
    content = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert "damaged or from another checkpoint" in refused(saved)


def test_one_flipped_bit_is_found(saved):
    content = bytearray((saved / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (saved / "model.safetensors").write_bytes(content)
    assert "damaged or from another checkpoint" in refused(saved)


def test_a_pickle_in_place_of_the_tensors_is_refused(saved):
    torch.save({"a": torch.zeros(2)}, saved / "model.safetensors")
    changed(saved, sha256=files.sha256(saved / "model.safetensors"))
    assert "not a safetensors file" in refused(saved)


def test_tensors_of_another_architecture_are_one_line(saved, tmp_path):
    other = {**RECIPE, "model": {**RECIPE["model"], "arguments": {"depth": 14, "width": 8}}}
    checkpoint.save(tmp_path / "other", models.build(other["model"], 5, SHAPE), recipe=other)
    changed(saved, recipe=other)
    assert "does not fit the model of structure.json" in refused(saved)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not JSON"),
        ("[1, 2]", "is not a checkpoint of budama"),
        ("{}", "is not a checkpoint of budama"),
        ('{"format": 99, "recipe": {}, "attributes": {}, "kept": {}, "sha256": ""}', "format 99"),
        ('{"format": 1, "recipe": {}, "attributes": {}, "kept": {}, "sha256": ""}', "its recipe must have"),
    ],
)
def test_a_wrong_structure_json_is_one_line(saved, text, expected):
    (saved / "structure.json").write_text(text)
    assert expected in refused(saved)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"nowhere": {"out_channels": 3}}, "names a layer 'nowhere'"),
        ({"conv1": {"forward": 3}}, "conv1.forward cannot be"),
        ({"conv1": {"stride": {"a": 1}}}, "conv1.stride cannot be"),
        ({"conv1": {"out_channels": 3}}, "do not agree: conv1.weight"),
        ({}, "do not agree"),
    ],
)
def test_an_edited_structure_json_is_one_line(saved, attributes, expected):
    changed(saved, attributes=attributes)
    assert expected in refused(saved)


def test_unknown_models_in_structure_json_are_one_line(saved):
    changed(saved, recipe={**RECIPE, "model": {"source": "torchvision", "name": "resnet_fifty"}})
    assert "torchvision has no 'resnet_fifty'" in refused(saved)


def test_the_tensors_are_plain_safetensors(saved, pruned):
    from safetensors.torch import load_file

    tensors = load_file(saved / "model.safetensors")
    assert set(tensors) == set(pruned.model.state_dict())
    content = (saved / "model.safetensors").read_bytes()
    assert checkpoint.structure(saved)["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.long
def test_resnet50_loads_in_under_a_second(tmp_path):
    import time

    description = {"source": "torchvision", "name": "resnet50", "arguments": {}, "weights": None}
    model = models.build(description, 1000, (3, 224, 224))
    recipe = {"model": description, "classes": 1000, "input_shape": [3, 224, 224]}
    checkpoint.save(tmp_path / "m", model, recipe=recipe)
    start = time.perf_counter()
    checkpoint.load(tmp_path / "m")
    assert time.perf_counter() - start < 1


# (source, name, arguments), and patterns of layers to leave alone
IGNORED = [
    ("budama", "resnet_cifar", {"depth": 8, "width": 8}, ["conv1", "stage1.*", "stage2.*", "stage3.*"]),
    ("torchvision", "resnet18", {}, ["layer1.*", "layer4.*", "*.conv1"]),
    ("torchvision", "mobilenet_v2", {}, ["features.1?.*", "features.2.*"]),
    ("torchvision", "squeezenet1_1", {}, ["*.squeeze", "features.3.*"]),
    ("torchvision", "shufflenet_v2_x0_5", {}, ["stage4.*", "conv5.*"]),
]


@pytest.mark.parametrize(
    ("source", "name", "arguments", "pattern"),
    [(*net, pattern) for *net, patterns in IGNORED for pattern in patterns],
    ids=lambda value: str(value),
)
def test_layers_that_pruning_did_not_touch_come_back_as_they_lay_in_memory(tmp_path, source, name, arguments, pattern):
    described = {"source": source, "name": name, "arguments": arguments, "weights": None}
    shape = (3, 32, 32)
    model = models.build(described, 5, shape, seed=1).to(memory_format=torch.channels_last)
    found = pruner.prune(model, shape, 5, "magnitude", {"ratio": 0.3, "ignore": [pattern]})
    recipe = RECIPE | {"model": described, "input_shape": list(shape)}
    checkpoint.save(tmp_path / "model", found.model, recipe=recipe, kept=found.kept)
    loaded = checkpoint.load(tmp_path / "model")
    ours, theirs = found.model.state_dict(), loaded.state_dict()
    assert {key: tensor.stride() for key, tensor in ours.items()} == {k: t.stride() for k, t in theirs.items()}
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(found.model.eval()(images), loaded(images))


@pytest.mark.parametrize("strides", [[1, 1, 1, 1], [9, 9, 3], "x", [1, 2, 3, 10**9]])
def test_strides_that_do_not_fit_are_refused_in_one_line(saved, strides):
    changed(saved, strides={"conv1.weight": strides})
    assert "strides of 'conv1.weight' do not fit its shape" in refused(saved)


def test_a_checkpoint_of_an_earlier_version_has_one_layout_for_all_layers(saved):
    described = json.loads((saved / "structure.json").read_text())
    del described["strides"]
    (saved / "structure.json").write_text(json.dumps({**described, "memory_format": "channels_last"}))
    weight = checkpoint.load(saved).get_parameter("conv1.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
