"""Exported files agree with PyTorch on real images, and the example that comes with them runs."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from budama import files
from budama.data import batching
from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.errors import BudamaError
from budama.networks import checkpoint, export, models, onnx_file, precisions
from budama.pruning import calibration, pruner

FIVE = ["resnet18", "vgg11_bn", "mobilenet_v2", "efficientnet_b0", "densenet121"]
DATA = {
    "name": "digits", "root": None, "image_size": None, "resize": None, "channels": None, "protocol": "full",
    "selection": 0.1, "test": 0.2, "duplicates": "drop", "augment": "none", "mean": None, "std": None,
}  # fmt: skip


def manifest_of(**changes):
    return build_manifest({"data": {**DATA, **changes}, "seed": 0}, threads=1)


def pruned_on_real_images(description, data, ratio=0.3):
    """A pruned model whose BatchNorm has seen real images, so that its logits are not all alike."""
    model = models.build(description, data.classes, data.input_shape)
    batches = batching.batches(data, data.calibration(256), 64)
    calibration.reestimate_batchnorm(model, batches)
    pruned = pruner.prune(model, data.input_shape, data.classes, "magnitude", {"ratio": ratio})
    calibration.reestimate_batchnorm(pruned.model, batches)
    return pruned


def a_few_steps(model, data):
    """Train for 16 steps as usual and for 32 with BatchNorm's statistics held, until logits are of ordinary size.

    In training, a batch's own statistics bound every image of it. In use they are the data's, and a hardly trained
    EfficientNet answers outliers with logits of 158, which float32 does not know to 1e-4: PyTorch's differ from
    float64's by 5e-4, ONNX Runtime's by 4e-4. Steps in the mode of use teach it better (logits of 9, 2e-5 and 2e-5).
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def steps(count, epoch):
        for images, labels in batching.batches(data, "train", 64, shuffle=True, epoch=epoch, limit=count):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()

    model.train()
    steps(16, epoch=0)
    calibration.reestimate_batchnorm(model.eval(), batching.batches(data, data.calibration(256), 64))
    for epoch in (1, 2):
        steps(16, epoch)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """dataset.json, the opened data, and a checkpoint of a small pruned model."""
    folder = tmp_path_factory.mktemp("digits")
    manifest = manifest_of()
    files.write_json(folder / "dataset.json", manifest)
    data = open_data(manifest)
    description = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8}, "weights": None}
    pruned = pruned_on_real_images(description, data)
    normalisation = {key: manifest[key] for key in ("mean", "std", "resize")}
    recipe = {
        "model": description,
        "classes": data.classes,
        "input_shape": list(data.input_shape),
        "class_names": list(data.class_names),
        "normalisation": normalisation,
    }
    checkpoint.save(folder / "model", pruned.model, recipe=recipe, kept=pruned.kept)
    return folder, data, pruned.model, recipe


@pytest.mark.parametrize("name", ["onnx", "torch_export"])
def test_an_exported_model_agrees_on_every_real_image_and_takes_any_batch_size(digits, tmp_path, name):
    _, data, model, _ = digits
    batches = batching.batches(data, "selection", 50)
    written = export.write(tmp_path, model, [name], data.input_shape, batches)[name]
    assert written["images"] == written["top1_equal"] == len(data.split("selection"))
    assert written["max_logit_difference"] < 1e-4
    load = onnx_file.OnnxModel if name == "onnx" else export.load_program
    exported = load(tmp_path / written["file"])
    images = next(iter(batches))[0]
    for size in (1, 3):
        with torch.no_grad():
            assert torch.allclose(exported(images[:size]), model(images[:size]), atol=1e-5)


def test_equal_models_are_equal_onnx_files_which_name_no_place_on_this_machine(digits, tmp_path):
    _, data, model, _ = digits
    for name in ("first.onnx", "second.onnx"):
        export.to_onnx(model, data.input_shape, tmp_path / name)
    content = (tmp_path / "first.onnx").read_bytes()
    assert content == (tmp_path / "second.onnx").read_bytes()
    assert b".py" not in content
    assert str(Path(__file__).parents[1]).encode() not in content


def test_an_onnx_file_says_what_its_classes_are_and_how_images_are_made_ready(digits, tmp_path):
    import onnx

    folder, data, model, _ = digits
    recipe = checkpoint.structure(folder / "model")["recipe"]
    export.to_onnx(model, data.input_shape, tmp_path / "model.onnx", facts=onnx_file.facts_of(recipe))
    told = {one.key: one.value for one in onnx.load(str(tmp_path / "model.onnx")).metadata_props}
    assert json.loads(told["class_names"]) == list(data.class_names)
    assert json.loads(told["mean"]) == pytest.approx(list(data.mean))
    assert json.loads(told["std"]) == pytest.approx(list(data.std))
    assert json.loads(told["image_size"]) == [8, 8]
    assert told["model"].startswith("ResNet")
    onnx_file.OnnxModel(tmp_path / "model.onnx")


def test_a_file_that_disagrees_is_an_error(digits, tmp_path, monkeypatch):
    _, data, model, _ = digits
    other = models.build({"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8}}, 10, data.input_shape)
    honest = export.to_program
    monkeypatch.setattr(export, "to_program", lambda model, *rest: honest(other, *rest))
    with pytest.raises(BudamaError, match=r"model\.pt2 does not agree with PyTorch"):
        export.write(tmp_path, model, ["torch_export"], data.input_shape, batching.batches(data, "selection", 50))


def test_a_model_with_a_hook_is_not_exported(digits, tmp_path):
    _, data, model, _ = digits
    handle = model.register_forward_hook(lambda *_: None)
    try:
        with pytest.raises(BudamaError, match="hook"):
            export.to_program(model, data.input_shape, tmp_path / "model.pt2")
    finally:
        handle.remove()


def test_a_model_that_cannot_be_exported_is_one_line(tmp_path):
    class Branching(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1) if images.sum().item() > 0 else -images.flatten(1)

    with pytest.raises(BudamaError) as told:
        export.to_program(Branching(), (1, 2, 2), tmp_path / "model.pt2")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("precision", [None, "float32", "int8"])
def test_the_example_classifies_an_image_as_the_pipeline_does(digits, tmp_path, capsys, monkeypatch, precision):
    folder, data, model, recipe = digits
    more = []
    if precision:
        facts = onnx_file.facts_of(recipe)
        export.to_onnx(model, data.input_shape, tmp_path / "model.onnx", "torchscript", facts)
        asked = {"precisions": [precision], "int8_ranges": "minmax", "int8_symmetric": False}
        precisions.of(tmp_path, model, data, {"export": asked, "calibration_images": 256}, facts)
        more = ["--onnx", str(tmp_path / precisions.PRECISIONS[precision])]
        model = onnx_file.OnnxModel(more[1])
    export.write_example(tmp_path / "load_example.py", folder / "model", recipe)
    index = data.split("selection").indices[:8]
    paths = []
    for number, pixels in zip(index, data.pixels[index]):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(pixels[..., 0]).save(paths[-1])
    monkeypatch.setattr(sys, "argv", ["load_example.py", *more, *paths])
    monkeypatch.setattr(sys, "path", list(sys.path))
    runpy.run_path(str(tmp_path / "load_example.py"), run_name="__main__")
    told = [line.split("  ")[1].split()[0] for line in capsys.readouterr().out.splitlines()]
    images = next(iter(batching.batches(data, "selection", 8)))[0]
    with torch.no_grad():
        expected = [data.class_names[label] for label in model(images).argmax(1)]
    assert told == expected


def test_the_example_reads_a_photo_as_the_pipeline_does(tmp_path, monkeypatch):
    from sklearn.datasets import load_sample_images

    monkeypatch.chdir(tmp_path)  # decoded images are kept below the working folder

    for split, count in ("train", 6), ("val", 2):
        for label, photo in zip("ab", load_sample_images().images):
            (tmp_path / "data" / split / label).mkdir(parents=True)
            for number in range(count):
                part = photo[10 * number :, 25 * number :]
                Image.fromarray(part).save(tmp_path / "data" / split / label / f"{split}{number}.png")
    manifest = manifest_of(name="image_folder", root=str(tmp_path / "data"), image_size=64, test=None, selection=0.3)
    data = open_data(manifest)
    description = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8}, "weights": None}
    recipe = {
        "model": description, "classes": 2, "input_shape": list(data.input_shape), "class_names": ["a", "b"],
        "normalisation": {key: manifest[key] for key in ("mean", "std", "resize")},
    }  # fmt: skip
    checkpoint.save(tmp_path / "model", models.build(description, 2, data.input_shape), recipe=recipe)
    export.write_example(tmp_path / "load_example.py", tmp_path / "model", recipe)
    script = (tmp_path / "load_example.py").read_text().split("def checkpoint()")[0]
    namespace = {"__file__": str(tmp_path / "load_example.py")}
    exec(compile(script, "load_example.py", "exec"), namespace)
    images = next(iter(batching.batches(data, "test", 8)))[0]
    read = torch.cat([namespace["read"](tmp_path / "data" / path) for path in data.split("test").paths])
    assert read.shape == images.shape
    assert (read - images).abs().max() < 2 / 255 / min(data.std)  # pixels are rounded to 8 bits at different places


@pytest.mark.long
def test_the_stage_writes_a_folder_with_files_that_work(digits):
    folder, data, _, _ = digits
    asked = {"formats": ["onnx", "torch_export"], "precisions": ["float32", "float16", "int8"]}
    asked |= {"int8_ranges": "minmax", "int8_symmetric": False}
    spec = json.dumps({"export": asked, "calibration_images": 128})
    command = [sys.executable, "workflow/scripts/export.py", "--spec", spec, "--threads", "1", "--rounds", "7"]
    command += ["--dataset", folder / "dataset.json", "--model", folder / "model", "--output", folder / "export"]
    subprocess.run(command, check=True)
    told = json.loads((folder / "export" / "export.json").read_text())
    assert told["status"] == "ok"
    assert told["formats"]["onnx"]["latency"]["onnx_ms"] > 0
    assert {path.name for path in (folder / "export").iterdir()} == {
        "export.json", "load_example.py", "model.onnx", "model.float16.onnx", "model.int8.onnx", "model.pt2",
    }  # fmt: skip
    Image.fromarray(data.pixels[0][..., 0]).save(folder / "digit.png")
    assert list(told["formats"]["onnx"]["precisions"]) == ["float16", "int8"]
    example = [sys.executable, folder / "export" / "load_example.py", folder / "digit.png"]
    assert "%" in subprocess.run(example, check=True, capture_output=True, text=True).stdout


@pytest.mark.long
def test_the_stage_passes_on_that_a_method_is_unavailable(tmp_path):
    checkpoint.save_unavailable(tmp_path / "model", "no BatchNorm")
    command = [
        sys.executable,
        "workflow/scripts/export.py",
        "--spec",
        '{"export": {"formats": ["onnx"], "precisions": ["float32"]}}',
    ]
    command += ["--dataset", "unread.json", "--model", tmp_path / "model", "--output", tmp_path / "export"]
    subprocess.run(command, check=True)
    assert json.loads((tmp_path / "export" / "export.json").read_text())["reason"] == "no BatchNorm"


@pytest.mark.long
@pytest.mark.parametrize("architecture", FIVE)
def test_five_architectures_pruned_by_30_percent_agree_on_every_real_image(architecture, tmp_path):
    data = open_data(manifest_of(image_size=64, channels=3))
    description = {"source": "torchvision", "name": architecture, "arguments": {}, "weights": None}
    model = pruned_on_real_images(description, data).model
    a_few_steps(model, data)
    everything = [batch for name in ("train", "selection", "test") for batch in batching.batches(data, name, 128)]
    written = export.write(tmp_path, model, ["onnx", "torch_export"], data.input_shape, everything)
    for name, about in written.items():
        print(architecture, name, about)
        assert about["images"] == about["top1_equal"] > 1700
        assert about["max_logit_difference"] < 1e-4
        assert about["largest_logit"] > 1
    assert np.unique(np.concatenate([model(images).argmax(1) for images, _ in everything[-2:]])).size > 1
