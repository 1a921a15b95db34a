"""What holds on a GPU: the same channels as on the CPU, accuracies within a few images, and nothing that stops.

Each of these tests needs one; a machine without passes over them.
"""

import json

import imagefolders
import numpy as np
import pytest
import small_nets
import small_stages
import torch
from trainings import SETTINGS, Net, digits

from budama.data.batching import batches
from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.measuring import benchmarking, latency, widths
from budama.measuring.evaluation import evaluate
from budama.networks import checkpoint, models
from budama.pruning import calibration, compensation, criteria, gram, pruner
from budama.pruning.working_copy import Original, WorkingCopy
from budama.training.loop import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
GPU = torch.device("cuda")
RESNET = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 14}, "weights": None}
PRUNING = {"ratio": 0.4, "scope": "layerwise", "match": "channels", "steps": 1, "max_ratio": 0.95}
DATA_METHODS = ["wanda", "coverage", "taylor", "hessian", "magnitude", "fpgm", "bn_scale", "l1"]


@pytest.fixture(autouse=True)
def float32_is_float32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="module")
def data():
    return digits()


@pytest.fixture(scope="module")
def trained(data):
    """A ResNet that knows digits, trained on the GPU, and what training said."""
    model = models.build(RESNET, 10, (1, 8, 8))
    settings = {**SETTINGS, "epochs": 8, "precision": "auto"}
    return model, train(model, data, settings, seed=0, device=GPU)


def on(model, device):
    return models.build(RESNET, 10, (1, 8, 8)).to(device).eval() if model is None else model.to(device).eval()


def test_training_learns_in_bfloat16(trained):
    _, result = trained
    assert result.selection_accuracy_percent > 93
    assert (result.precision, result.device) == ("bfloat16", "cuda")


def test_interrupted_training_goes_on(data, tmp_path):
    settings = {**SETTINGS, "weight_averaging": 0.9, "distill": 0.5}
    with pytest.raises(KeyboardInterrupt):
        train(Net(stop_at=25), data, settings, seed=0, device=GPU, teacher=Net(1), progress_dir=tmp_path)
    model = Net()
    result = train(model, data, settings, seed=0, device=GPU, teacher=Net(1), progress_dir=tmp_path)
    undisturbed = train(Net(), data, settings, seed=0, device=GPU, teacher=Net(1))
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    assert result.history[-1]["train_loss"] == pytest.approx(undisturbed.history[-1]["train_loss"], rel=0.02)


def test_too_little_memory_halves_the_batch(data, capsys):
    class Hungry(Net):
        def forward(self, images):
            if self.training and len(images) > 40:
                torch.empty(2**45, dtype=torch.uint8, device=images.device)
            return super().forward(images)

    train(Hungry(), data, {**SETTINGS, "epochs": 1}, seed=0, device=GPU)
    assert "memory is too small; 32 images are taken at a time" in capsys.readouterr().err


def test_every_image_is_judged_as_on_the_cpu(trained, data):
    model, _ = trained
    found = {
        device.type: evaluate(on(model, device), batches(data, "test", 100, device=device), device=device)
        for device in (GPU, torch.device("cpu"))
    }
    assert (found["cuda"].hits == found["cpu"].hits).all()
    np.testing.assert_allclose(found["cuda"].losses, found["cpu"].losses, atol=1e-4)


def statistics_of(model, data, device):
    settings = {"batches": 4, "batch_size": 64}
    images = calibration.batches(data, settings, device)
    return calibration.collect(on(model, device), images, threshold=0.25, device=device)


def test_statistics_are_those_of_the_cpu(trained, data):
    model, _ = trained
    theirs, ours = (statistics_of(model, data, device) for device in (torch.device("cpu"), GPU))
    assert theirs.values.keys() == ours.values.keys()
    for name, values in theirs.values.items():
        scale = values.abs().max().clamp_min(1e-30)
        torch.testing.assert_close(ours.values[name] / scale, values / scale, rtol=0, atol=2e-3, msg=name)


@pytest.mark.parametrize("shape", ["contiguous", "channels_last", "tokens"])
def test_sums_of_an_input_are_right_in_every_layout(shape):
    value = torch.randn(6, 5, 7, 3) if shape != "tokens" else torch.randn(6, 11, 5)
    axis = -1 if shape == "tokens" else 1
    value = value.to(memory_format=torch.channels_last) if shape == "channels_last" else value
    expected = calibration._input_sums(value.double(), axis, 0.25)
    for one, other in zip(calibration._input_sums(value.to(GPU), axis, 0.25), expected, strict=True):
        torch.testing.assert_close(one.double().cpu(), other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", DATA_METHODS)
def test_the_same_channels_are_kept(trained, data, method):
    model, _ = trained
    assert method in criteria.CRITERIA
    kept = {}
    for device in (torch.device("cpu"), GPU):
        statistics = statistics_of(model, data, device)
        pruned = pruner.prune(on(model, device), (1, 8, 8), 10, method, PRUNING, statistics)
        assert next(pruned.model.parameters()).device.type == device.type
        kept[device.type] = pruned.kept
    assert kept["cuda"] == kept["cpu"]


def test_what_is_left_makes_up_for_what_is_gone_as_on_the_cpu(trained, data):
    model, _ = trained
    weights = {}
    for device in (torch.device("cpu"), GPU):
        images = calibration.batches(data, {"batches": 4, "batch_size": 64}, device)
        pruned = pruner.prune(
            on(model, device), (1, 8, 8), 10, "magnitude", PRUNING,
            compensate=lambda before, after, images=images: compensation.compensate(
                before, after, images, renewed=False
            ),
        )  # fmt: skip
        assert pruned.compensations
        weights[device.type] = {name: value.cpu() for name, value in pruned.model.state_dict().items()}
    for name, value in weights["cpu"].items():
        torch.testing.assert_close(weights["cuda"][name], value, rtol=1e-2, atol=1e-3, msg=name)


def test_gram_matrices_are_those_of_the_cpu(trained, data):
    model, _ = trained
    found = {}
    for device in (torch.device("cpu"), GPU):
        own = on(model, device)
        groups = WorkingCopy(own, Original.of(own, (1, 8, 8), 10, ())).groups
        found[device.type] = gram.moments(own, groups, [x for x, _ in batches(data, "selection", 64, device=device)])
    for name, value in found["cpu"].items():
        torch.testing.assert_close(found["cuda"][name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_image_files_give_the_same_batches(root):
    data = open_data(build_manifest(imagefolders.settings(root), threads=1))
    for kind in ("none", "standard"):
        ours, theirs = (list(batches(data, "train", 4, augment=kind, device=device)) for device in (GPU, "cpu"))
        for (image, label), (other, other_label) in zip(ours, theirs, strict=True):
            torch.testing.assert_close(image.cpu(), other, rtol=0, atol=1e-5)
            assert torch.equal(label.cpu(), other_label)


@pytest.mark.parametrize("graph", [False, True], ids=["called", "as a CUDA graph"])
@pytest.mark.parametrize("precision", ["float32", "tfloat32", "bfloat16", "float16"])
def test_models_are_timed_in_every_precision_and_form(precision, graph):
    group = {"baseline": small_nets.build("residual", torch.float32)}
    images = torch.randn(4, *small_nets.SHAPE, device=GPU)
    run = latency.compare(group, images, rounds=7, precision=precision, cuda_graph=graph, limit_seconds=5)
    timing = run.timings["baseline"]
    assert timing.error is None
    assert timing.median_ms > 0
    assert (run.precision, run.cuda_graph) == (precision, graph)
    assert run.aa.ratio == pytest.approx(1, abs=0.2)
    assert torch.backends.cudnn.allow_tf32 is False


def test_a_graph_computes_what_the_model_does():
    from budama.measuring import preparing

    model = small_nets.build("residual", torch.float32).eval()
    images = torch.randn(4, *small_nets.SHAPE, device=GPU)
    how = preparing.How(torch.channels_last, "float32", False, True)
    ready, errors = preparing.prepare({"one": model}, images, how)
    assert not errors
    others = torch.full((256, 4096), float("nan"), device=GPU).unbind()
    others = [other.clone() for other in others]  # they would take the place of weights that nobody keeps
    images.copy_(torch.randn_like(images))  # a graph reads the images that are there when it is replayed
    with torch.inference_mode():
        expected = model.to(GPU, memory_format=torch.channels_last)(images)
        torch.testing.assert_close(ready["one"](images), expected, rtol=1e-4, atol=1e-4)
    assert all(other.isnan().all() for other in others)


def test_a_model_that_waits_for_the_gpu_cannot_be_a_graph_and_says_so():
    class Waits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 4, 1)

        def forward(self, images):
            return self.layer(images) * float(images.sum())

    run = latency.compare({"baseline": Waits()}, torch.randn(1, 3, 8, 8, device=GPU), rounds=7, cuda_graph=True)
    assert "synchronizing" in run.timings["baseline"].error
    assert latency.compare({"baseline": Net()}, torch.randn(1, 1, 8, 8, device=GPU), rounds=7).aa, "and the next runs"


def test_benchmark_measures_memory_energy_and_clocks(data, tmp_path):
    recipe = {"model": RESNET, "classes": 10, "input_shape": [1, 8, 8]}
    for name in ("baseline", "wanda"):
        checkpoint.save(tmp_path / name, models.build(RESNET, 10, (1, 8, 8)), recipe=recipe)
    settings = {
        "batch_size": 1, "throughput_batch_size": 16, "rounds": 7, "warmup_rounds": 1, "precisions": ["float32"],
        "compile": False, "cuda_graph": True, "channels_last": True, "corruptions": False,
    }  # fmt: skip
    folders = {"baseline": tmp_path / "baseline", "wanda/seed-0": tmp_path / "wanda"}
    measured = benchmarking.run(folders, data, settings, GPU)
    row = measured["rows"]["wanda/seed-0"]
    assert [run["cuda_graph"] for run in measured["runs"]] == [False, False, True, True]
    assert row["throughput"]["cuda_graph"] is False
    assert row["peak_memory_mib"] > row["size_mib"]
    assert row["energy_mj_per_image"] is None or row["energy_mj_per_image"] > 0
    assert measured["clocks"]["gpu_sm_mhz"] > 0
    json.dumps(measured)


def test_widths_are_measured():
    measured = widths.measure(GPU, batch=8, widest=24, narrowest=16, rounds=7)
    assert measured["widths"].keys() == {str(width) for width in range(16, 25)}


@pytest.mark.parametrize("stage", ["baseline", "calibrate", "prune", "finetune", "export", "benchmark"])
def test_every_stage_runs_without_a_warning(stage, chain):
    status, said = small_stages.run(stage, "--device", "cuda")
    assert status == 0, said
    assert "warning" not in said.lower(), said


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """What every stage reads, in the working directory."""
    monkeypatch.chdir(small_stages.prepared(tmp_path))
