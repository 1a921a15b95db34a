"""Every form of every model on the whole test split: hits by image, sizes, memory, and times of one run."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_benchmark import SETTINGS as BENCHMARK
from test_export import a_few_steps, manifest_of

from budama import files
from budama.data import batching
from budama.data.dataset import open_data
from budama.measuring import benchmarking, deployments, file_memory, forms, latency
from budama.networks import checkpoint, export, models, onnx_file, precisions
from budama.significance.hits import unpacked

CPU = torch.device("cpu")
ASKED = {"precisions": ["float32", "float16", "int8"], "int8_ranges": "minmax", "int8_symmetric": False}
SETTINGS = {**BENCHMARK, "rounds": 2, "corruptions": False, "runtimes": ["onnxruntime", "openvino"]}
FORMS = [
    *(("pytorch", precision) for precision in ("float32", "bfloat16")),
    *(("onnxruntime", precision) for precision in ("float32", "float16", "int8")),
    *(("openvino", precision) for precision in ("float32", "float16", "int8")),
]  # fmt: skip


def exported(folder, model, data, **about):
    """What the stage export leaves of a model, written by the exporter that is quick."""
    folder.mkdir(parents=True)
    export.to_onnx(model, data.input_shape, folder / "model.onnx", "torchscript")
    told = precisions.of(folder, model, data, {"export": ASKED, "calibration_images": 128}, {})
    formats = {"onnx": {"file": "model.onnx", "precisions": {**told, **about}}}
    files.write_json(folder / "export.json", {"status": "ok", "formats": formats})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A baseline, two seeds of a variant, and one that could not be pruned; float16 of the second seed cannot be."""
    torch.set_num_threads(1)
    folder, data = tmp_path_factory.mktemp("deployed"), open_data(manifest_of())
    widths = {"baseline": 6, "wanda/seed-0": 4, "wanda/seed-1": 4}
    lost = {"wanda/seed-1": {"float16": {"status": "unavailable", "reason": "activations reach 1e+06"}}}
    for seed, (label, width) in enumerate(widths.items()):
        described = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8, "width": width}}
        model = models.build(described, 10, data.input_shape, seed=seed)
        a_few_steps(model, data)
        recipe = {"model": {**described, "weights": None}, "classes": 10, "input_shape": list(data.input_shape)}
        checkpoint.save(folder / label / "model", model.eval(), recipe=recipe)
        exported(folder / label / "export", model, data, **lost.get(label, {}))
    checkpoint.save_unavailable(folder / "bn_scale/seed-0/model", "no BatchNorm")
    labels = [*widths, "bn_scale/seed-0"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "SAMPLE_MS", 0.5)
        measured = benchmarking.run(
            {label: folder / label / "model" for label in labels}, data, SETTINGS, CPU,
            {label: folder / label / "export" for label in widths},
        )  # fmt: skip
    return SimpleNamespace(folder=folder, data=data, measured=measured, rows=measured["rows"])


def deployment(run, label, runtime, precision):
    own = run.rows[label]["deployments"]
    return next(one for one in own if (one["runtime"], one["precision"]) == (runtime, precision))


def test_every_model_has_every_form_and_one_that_is_unavailable_none(run):
    for label in ("baseline", "wanda/seed-0", "wanda/seed-1"):
        assert [(one["runtime"], one["precision"]) for one in run.rows[label]["deployments"]] == FORMS
    assert "deployments" not in run.rows["bn_scale/seed-0"]


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_hits_are_those_of_the_file_on_the_whole_test_split(run, precision):
    told = deployment(run, "wanda/seed-0", "onnxruntime", precision)
    path = run.folder / "wanda/seed-0/export" / precisions.PRECISIONS[precision]
    file, model = onnx_file.OnnxModel(path), checkpoint.load(run.folder / "wanda/seed-0/model")
    hits, equal = [], 0
    for images, labels in batching.batches(run.data, "test", 64):
        named = file(images).argmax(1)
        hits.append(named == labels)
        with torch.no_grad():
            equal += int((named == model(images).argmax(1)).sum())
    hits = torch.cat(hits).numpy()
    # A batch of another size may change int8's last bit of a sum in float32, and so an image between two classes.
    assert np.abs(unpacked(told["hits"], told["images"]).astype(int) - hits).sum() <= (precision == "int8")
    assert told["images"] == len(run.data.split("test")) == 359
    assert told["accuracy_percent"] == pytest.approx(100 * told["correct"] / 359)
    assert abs(told["top1_equal"] - equal) <= (precision == "int8")
    assert told["size_mib"] == path.stat().st_size / 2**20


def test_pytorch_s_own_precisions_are_scored_too(run):
    row, model = run.rows["baseline"], checkpoint.load(run.folder / "baseline/model").to(torch.bfloat16)
    whole, half = (deployment(run, "baseline", "pytorch", precision) for precision in ("float32", "bfloat16"))
    assert (whole["hits"], whole["top1_equal"]) == (row["hits"], 359)
    with torch.no_grad():
        hits = [model(x.bfloat16()).argmax(1) == y for x, y in batching.batches(run.data, "test", 512)]
    assert abs(half["correct"] - int(torch.cat(hits).sum())) <= 2
    assert half["top1_equal"] > 330


def test_a_runtime_that_is_not_installed_and_a_precision_that_cannot_be_are_rows_with_a_reason(run):
    if "openvino" not in sys.modules and forms._missing("openvino"):
        told = deployment(run, "baseline", "openvino", "int8")
        assert (told["status"], told["accuracy_percent"]) == ("unavailable", None)
        assert told["reason"] == "openvino is not installed (pip install openvino)"
    lost = deployment(run, "wanda/seed-1", "onnxruntime", "float16")
    assert (lost["status"], lost["reason"]) == ("unavailable", "activations reach 1e+06")


def test_first_seeds_are_timed_against_the_original_in_float32_in_the_same_runtime_and_in_pytorch(run):
    timed = ("baseline", "wanda/seed-0")
    for label in timed:
        for runtime, precision in FORMS[:5]:
            told = deployment(run, label, runtime, precision)
            for kind, size in ("latency", 1), ("throughput", 16):
                assert (told["device"], told[kind]["batch_size"]) == ("cpu", size)
                assert told[kind]["median_ms"] > 0
                low, high = told[kind]["pytorch_ratio_interval"]
                assert low <= told[kind]["pytorch_ratio"] <= high
    for runtime in ("pytorch", "onnxruntime"):
        assert deployment(run, "baseline", runtime, "float32")["latency"]["runtime_ratio"] == 1
    assert deployment(run, "baseline", "pytorch", "float32")["latency"]["pytorch_ratio"] == 1
    assert "latency" not in deployment(run, "wanda/seed-1", "onnxruntime", "int8")
    # In one run, so that a quotient of medians lies near the median of quotients.
    one = deployment(run, "wanda/seed-0", "onnxruntime", "int8")["latency"]
    whole = deployment(run, "baseline", "pytorch", "float32")["latency"]
    assert one["pytorch_ratio"] == pytest.approx(one["median_ms"] / whole["median_ms"], rel=0.5)


def test_all_forms_take_turns_in_one_run_with_the_control(run):
    assert [one["kind"] for one in run.measured["deployment_runs"]] == ["latency", "throughput"]
    for one in run.measured["deployment_runs"]:
        assert (one["reference_runtime"], one["device"]) == ("onnxruntime", "cpu")
        assert one["aa"]["ratio"] > 0


def test_without_exports_and_other_precisions_there_are_no_forms(run, monkeypatch):
    monkeypatch.setattr(latency, "SAMPLE_MS", 0.5)
    found = benchmarking.run(
        {"baseline": run.folder / "baseline/model"}, run.data, {**SETTINGS, "precisions": ["float32"]}, CPU
    )
    assert "deployments" not in found["rows"]["baseline"]
    assert "deployment_runs" not in found


def test_peak_memory_grows_with_the_batch_and_is_none_for_a_file_that_does_not_run(run, tmp_path):
    path = run.folder / "baseline/export/model.onnx"
    few, many = (file_memory.peak_memory_mib(path, (size, 1, 8, 8)) for size in (1, 8192))
    assert 0 < few < many
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    assert file_memory.peak_memory_mib(tmp_path / "broken.onnx", (1, 1, 8, 8)) is None
    assert deployment(run, "baseline", "onnxruntime", "int8")["peak_memory_mib"] > 0


def test_models_of_equal_structure_that_were_quantised_alike_are_timed_once(run, monkeypatch):
    made = []
    compare = latency.compare
    monkeypatch.setattr(latency, "SAMPLE_MS", 0.5)
    monkeypatch.setattr(latency, "compare", lambda ready, *a, **k: made.append([*ready]) or compare(ready, *a, **k))
    twins = {"baseline": "baseline", "wanda/seed-0": "wanda/seed-0", "taylor/seed-0": "wanda/seed-1"}
    settings = {**SETTINGS, "precisions": ["float32"], "runtimes": ["onnxruntime"]}
    rows = benchmarking.run(
        {label: run.folder / place / "model" for label, place in twins.items()}, run.data, settings, CPU,
        {label: run.folder / place / "export" for label, place in twins.items()},
    )["rows"]  # fmt: skip
    assert not any(name.startswith("taylor") for names in made for name in names)
    one, other = (rows[label]["deployments"] for label in ("wanda/seed-0", "taylor/seed-0"))
    assert one[-1]["latency"] == other[-1]["latency"]
    assert one[-1]["hits"] != other[-1]["hits"]


def test_a_form_is_a_copy_of_its_own_and_leaves_the_model_as_it_was(run):
    model = checkpoint.load(run.folder / "baseline/model")
    ready = forms.ready(forms.Form("pytorch", "bfloat16"), model, CPU)
    assert next(model.parameters()).dtype == torch.float32
    assert ready.to(torch.float32)(torch.zeros(2, 1, 8, 8)).dtype == torch.float32
    assert next(ready.parameters()).dtype == torch.bfloat16
    assert deployments._named("ratio", None) == {"ratio": None, "ratio_interval": None}
