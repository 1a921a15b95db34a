"""float16 and int8 of an ONNX file: what is made, what is tried, and what is said where it cannot be made."""

import shutil
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from test_export import a_few_steps, manifest_of, pruned_on_real_images
from torch import nn

from budama.data import batching
from budama.data.dataset import open_data
from budama.networks import export, onnx_file, precisions, quantising

FACTS = {"class_names": '["0", "1"]', "channels": "1"}
RESNET = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8}, "weights": None}
ASKED = {"precisions": ["float32", "float16", "int8"], "int8_ranges": "minmax", "int8_symmetric": False}


@pytest.fixture(scope="module")
def data():
    return open_data(manifest_of())


@pytest.fixture(scope="module")
def trained(data):
    """A pruned network that was trained a little: its logits are of ordinary size."""
    model = pruned_on_real_images(RESNET, data).model
    a_few_steps(model, data)
    return model.eval()


def made(model, data, folder, images=128, source=None, **changes):
    """The files of `model` in `folder`, and what is said of them; `source` is its float32 file, where there is one."""
    folder.mkdir(exist_ok=True)
    if source:
        shutil.copy(source, folder / "model.onnx")
    else:
        export.to_onnx(model.eval(), data.input_shape, folder / "model.onnx", "torchscript", FACTS)
    settings = {"export": {**ASKED, **changes}, "calibration_images": images}
    return precisions.of(folder, model, data, settings, FACTS)


@pytest.fixture(scope="module")
def written(trained, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    source = folder / "exported.onnx"
    export.to_onnx(trained, data.input_shape, source, "torchscript", FACTS)
    return SimpleNamespace(folder=folder, source=source, told=made(trained, data, folder, source=source))


def right_percent(model, data):
    with torch.no_grad():
        hits = [model(images).argmax(1) == labels for images, labels in batching.batches(data, "selection", 50)]
    return 100 * torch.cat(hits).float().mean().item()


@pytest.mark.parametrize("name", ["float16", "int8"])
def test_what_is_said_of_a_file_is_what_the_file_does(written, trained, data, name):
    told, path = written.told[name], written.folder / precisions.PRECISIONS[name]
    assert (told["status"], told["file"]) == ("ok", path.name)
    assert told["images"] == len(data.split("selection"))
    assert told["accuracy_percent"] == pytest.approx(right_percent(onnx_file.OnnxModel(path), data))
    assert told["float32_accuracy_percent"] == pytest.approx(right_percent(trained, data))
    assert told["accuracy_percent"] >= told["float32_accuracy_percent"] - 1
    assert told["size_mib"] == path.stat().st_size / 2**20
    whole = (written.folder / "model.onnx").stat().st_size
    assert path.stat().st_size < {"float16": 0.55, "int8": 0.4}[name] * whole


def test_each_file_says_what_the_float32_file_says_and_takes_any_batch(written, data):
    images = next(iter(batching.batches(data, "selection", 5)))[0]
    for file in precisions.PRECISIONS.values():
        assert onnx_file.facts_in(written.folder / file) == FACTS
        one, five = (onnx_file.OnnxModel(written.folder / file)(images[:count]) for count in (1, 5))
        assert one.dtype == five.dtype == torch.float32
        assert torch.allclose(one, five[:1], atol=1e-5)


def test_weights_are_int8_a_channel_each_and_close_to_what_they_were(written, trained):
    graph = onnx.load(str(written.folder / "model.int8.onnx")).graph
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    made_float = {node.output[0]: node.input for node in graph.node if node.op_type == "DequantizeLinear"}
    found = [
        [constants[name] for name in made_float[node.input[1]]]
        for node in graph.node
        if node.op_type in quantising.MULTIPLY
    ]
    # Of the float32 file, where BatchNorm is folded in already.
    source = onnx.load(str(written.folder / "model.onnx")).graph
    whole = {one.name: numpy_helper.to_array(one) for one in source.initializer}
    before = [whole[node.input[1]] for node in source.node if node.op_type in quantising.MULTIPLY]
    assert written.told["int8"]["layers_int8"] == len(found) == len(before)
    assert written.told["int8"]["layers_float32"] == 0
    for (weight, scale, zero), weights in zip(found, before, strict=True):
        assert weight.dtype == np.int8
        assert not zero.any()
        assert scale.shape == (len(weights),)
        steps = scale.reshape(-1, *[1] * (weights.ndim - 1))
        assert (np.abs(weight * steps - weights) <= 0.51 * steps).all()


def test_equal_models_are_equal_files(written, trained, data, tmp_path):
    made(trained, data, tmp_path / "again", source=written.source)
    for file in precisions.PRECISIONS.values():
        assert (tmp_path / "again" / file).read_bytes() == (written.folder / file).read_bytes()


@pytest.mark.parametrize("ranges", ["percentile", "entropy"])
def test_ranges_of_other_kinds_serve_too(written, trained, data, tmp_path, ranges):
    told = made(trained, data, tmp_path, source=written.source, precisions=["int8"], int8_ranges=ranges)
    assert list(told) == ["int8"]
    assert (told["int8"]["ranges"], told["int8"]["calibration_images"]) == (ranges, 128)
    assert told["int8"]["accuracy_percent"] >= told["int8"]["float32_accuracy_percent"] - 1


def test_ranges_are_the_least_and_greatest_of_all_batches(written, data, tmp_path):
    batches = [images for images, _ in batching.batches(data, data.calibration(96), 32)]
    quantiser = quantising.Quantiser(written.source, tmp_path, batches)
    low, high = (end.item() for end in quantiser.ranges["images"].range_value)
    everything = torch.cat(batches)
    assert (low, high) == (everything.min().item(), everything.max().item())


def test_symmetric_ranges_are_int8_about_zero(written, trained, data, tmp_path):
    made(trained, data, tmp_path, source=written.source, precisions=["int8"], int8_symmetric=True)
    graph = onnx.load(str(tmp_path / "model.int8.onnx")).graph
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    zeros = [constants[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert zeros
    assert all(zero.dtype == np.int8 and zero == 0 for zero in zeros)


def small(data, *, outlier=1.0, scale=1.0):
    """Two convolutions, whose output is `scale` times as large in between, and a layer that reads what they found and a
    number that says nothing: `outlier`."""

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2)
            self.last = nn.Linear(16 * 9 + 1, 10)

        def forward(self, images):
            found = self.second(self.first(images).relu()).relu().flatten(1)
            found = (found * scale).relu() / scale
            return self.last(torch.cat([found, torch.full_like(found[:, :1], outlier)], dim=1))

    torch.manual_seed(0)
    model = Small()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(2):
        for images, labels in batching.batches(data, "train", 64, shuffle=True, epoch=epoch):
            with torch.no_grad():
                model.last.weight[:, -1] = 0
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    with torch.no_grad():
        model.last.weight[:, -1] = 0
    return model.eval()


def test_ways_are_tried_in_order_until_one_keeps_the_accuracy_and_all_are_told(data, tmp_path):
    told = made(small(data, outlier=1e4), data, tmp_path)["int8"]
    assert [one["name"] for one in told["attempts"]] == list(quantising.ATTEMPTS)
    assert told["kept"] == "spared"
    *failed, kept = [one["accuracy_percent"] for one in told["attempts"]]
    assert max(failed) < told["float32_accuracy_percent"] - 1 <= kept == told["accuracy_percent"]
    assert (told["layers_int8"], told["layers_float32"]) == (1, 2)


def test_where_nothing_keeps_the_accuracy_the_best_is_kept(data, tmp_path, monkeypatch):
    monkeypatch.setattr(quantising, "ATTEMPTS", dict(list(quantising.ATTEMPTS.items())[:2]))
    told = made(small(data, outlier=1e4), data, tmp_path, precisions=["int8"])["int8"]
    assert told["status"] == "ok"
    assert told["accuracy_percent"] == max(one["accuracy_percent"] for one in told["attempts"])
    assert told["accuracy_percent"] < told["float32_accuracy_percent"] - 1


def test_what_float16_cannot_hold_is_a_reason_and_int8_is_made_all_the_same(data, tmp_path):
    told = made(small(data, scale=6e4), data, tmp_path)
    assert told["float16"]["status"] == "unavailable"
    assert "float16 holds 65504 at most" in told["float16"]["reason"]
    assert not (tmp_path / "model.float16.onnx").exists()
    assert told["int8"]["status"] == "ok"


def test_too_few_calibration_images_are_a_reason(written, trained, data, tmp_path):
    told = made(trained, data, tmp_path, images=20, source=written.source)
    assert told["int8"]["reason"] == "it has 20 calibration images; int8 needs 32 or more"
    assert not (tmp_path / "model.int8.onnx").exists()
    assert told["float16"]["status"] == "ok"


def test_a_model_without_a_layer_that_has_int8_is_a_reason(data, tmp_path):
    class Means(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :10].sin()

    told = made(Means(), data, tmp_path)["int8"]
    assert (told["status"], "no layer that can be quantised" in told["reason"]) == ("unavailable", True)
    assert all(one["error"] for one in told["attempts"])


SIX = [
    ("torchvision", "resnet18"), ("torchvision", "resnet50"), ("torchvision", "mobilenet_v2"),
    ("torchvision", "efficientnet_b0"), ("torchvision", "densenet121"), ("timm", "vit_tiny_patch16_224"),
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(("source", "name"), SIX, ids=[name for _, name in SIX])
def test_six_architectures_pruned_by_30_percent_keep_their_accuracy(source, name, tmp_path):
    data = open_data(manifest_of(image_size=64, channels=3))
    model = pruned_on_real_images({"source": source, "name": name, "arguments": {}, "weights": None}, data).model
    a_few_steps(model, data)
    told = made(model, data, tmp_path, images=512)
    print(name, told)
    whole = (tmp_path / "model.onnx").stat().st_size / 2**20
    assert told["float16"]["size_mib"] < 0.51 * whole
    assert told["int8"]["size_mib"] < 0.30 * whole
    files = {name: onnx_file.OnnxModel(tmp_path / file) for name, file in precisions.PRECISIONS.items()}
    right = dict.fromkeys(files, 0)
    for images, labels in batching.batches(data, "test", 128):
        for name, file in files.items():
            right[name] += int((file(images).argmax(1) == labels).sum())
    print(right)
    assert right["int8"] >= right["float32"] - 0.01 * len(data.split("test"))
