"""The benchmark stage on real digits: every model is scored once, image by image, and all take turns in the timing."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from budama import files
from budama.data import batching
from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.errors import BudamaError
from budama.measuring import benchmarking, latency, scoring
from budama.measuring.evaluation import evaluate
from budama.networks import checkpoint, models
from budama.significance.hits import packed, unpacked

ROOT = Path(__file__).parents[1]
STAGE = ROOT / "workflow/scripts/benchmark.py"
CPU = torch.device("cpu")
MODEL = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8, "width": 4}, "weights": None}
SETTINGS = {
    "batch_size": 1, "throughput_batch_size": 16, "rounds": 7, "warmup_rounds": 1,
    "precisions": ["float32", "bfloat16"], "compile": False, "channels_last": True,
    "corruptions": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A folder with dataset.json and checkpoints: the baseline, two seeds of a variant, and one that is unavailable."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("benchmark")
    settings = {
        "name": "digits", "root": None, "image_size": None, "resize": None, "channels": None, "protocol": "full",
        "selection": 0.1, "test": 0.2, "duplicates": None, "augment": "auto", "mean": None, "std": None,
    }  # fmt: skip
    manifest = build_manifest({"data": settings, "seed": 0}, 1)
    files.write_json(folder / "dataset.json", manifest)
    recipe = {"model": MODEL, "classes": manifest["classes"], "input_shape": manifest["input_shape"]}
    for seed, name in enumerate(("baseline", "wanda-0", "wanda-1")):
        model = models.build(MODEL, recipe["classes"], recipe["input_shape"], seed=seed)
        checkpoint.save(folder / name, model, recipe=recipe)
    checkpoint.save_unavailable(folder / "bn_scale-0", "the model has no BatchNorm layer")
    return folder


def folders(work: Path) -> dict[str, Path]:
    return {
        "baseline": work / "baseline",
        "wanda/seed-0": work / "wanda-0",
        "wanda/seed-1": work / "wanda-1",
        "bn_scale/seed-0": work / "bn_scale-0",
    }


@pytest.fixture(scope="module")
def measured(work) -> dict:
    data = open_data(files.read_json(work / "dataset.json"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "SAMPLE_MS", 1.0)
        return benchmarking.run(folders(work), data, SETTINGS, CPU)


def test_accuracy_and_hits_are_those_of_the_test_split(measured, work):
    data = open_data(files.read_json(work / "dataset.json"))
    for label, folder in list(folders(work).items())[:3]:
        expected = evaluate(checkpoint.load(folder), batching.batches(data, "test", 50))
        row = measured["rows"][label]
        assert (unpacked(row["hits"], row["images"]) == expected.hits).all()
        assert row["accuracy_percent"] == pytest.approx(expected.accuracy_percent)
        assert (row["correct"], row["images"]) == (expected.correct, len(data.split("test")))


def test_every_model_has_its_cost_and_the_first_seed_its_speed(measured):
    rows = measured["rows"]
    assert rows["wanda/seed-0"]["parameters"] == rows["wanda/seed-1"]["parameters"] > 0
    assert rows["wanda/seed-0"]["latency"]["median_ms"] > 0
    assert rows["wanda/seed-0"]["throughput"]["batch_size"] == 16
    assert rows["wanda/seed-0"]["peak_memory_mib"] > rows["wanda/seed-0"]["size_mib"]
    assert "latency" not in rows["wanda/seed-1"]


def test_of_variants_that_differ_in_their_weights_alone_one_is_timed_for_all(work, monkeypatch):
    recipe = {"model": {**MODEL, "arguments": {"depth": 8, "width": 3}}, "classes": 10, "input_shape": [1, 8, 8]}
    checkpoint.save(work / "narrow", models.build(recipe["model"], 10, (1, 8, 8)), recipe=recipe)
    twins = {"baseline": "baseline", "wanda/seed-0": "wanda-0", "taylor/seed-0": "wanda-1", "random/seed-0": "narrow"}
    seen, compare = [], benchmarking.latency.compare
    monkeypatch.setattr(
        benchmarking.latency, "compare", lambda models, *a, **k: seen.append([*models]) or compare(models, *a, **k)
    )
    data = open_data(files.read_json(work / "dataset.json"))
    settings = {**SETTINGS, "precisions": ["float32"]}
    rows = benchmarking.run({label: work / name for label, name in twins.items()}, data, settings, CPU)["rows"]
    assert seen == 2 * [["baseline", "wanda/seed-0", "random/seed-0"]], "and never one in the baseline's place"
    for key in ("latency", "throughput", "timings", "peak_memory_mib"):
        assert rows["taylor/seed-0"][key] == rows["wanda/seed-0"][key]
    assert rows["random/seed-0"]["latency"] != rows["wanda/seed-0"]["latency"]
    assert rows["taylor/seed-0"]["hits"] != rows["wanda/seed-0"]["hits"]


def test_every_setting_asked_for_is_timed(measured):
    how = [(run["batch_size"], run["precision"], run["compile"]) for run in measured["runs"]]
    assert how == [(1, "float32", False), (16, "float32", False), (1, "bfloat16", False), (16, "bfloat16", False)]
    assert [t["precision"] for t in measured["rows"]["baseline"]["timings"]] == [precision for _, precision, _ in how]
    assert all(run["aa"] for run in measured["runs"])
    assert measured["controls"]["aa"] == measured["runs"][0]["aa"]


def test_forms_are_timed_beside_the_models_as_they_are(work):
    data = open_data(files.read_json(work / "dataset.json"))
    settings = {**SETTINGS, "precisions": ["float32"], "cuda_graph": True, "corruptions": False}
    measured = benchmarking.run({"baseline": work / "baseline"}, data, settings, CPU)
    how = [(timing["batch_size"], timing["cuda_graph"]) for timing in measured["rows"]["baseline"]["timings"]]
    assert how == [(1, False), (16, False), (1, True), (16, True)]
    assert measured["rows"]["baseline"]["throughput"]["cuda_graph"] is False
    assert measured["rows"]["baseline"]["timings"][2]["error"] == "a CUDA graph needs a GPU of NVIDIA's"


def test_a_model_that_is_unavailable_is_a_row_with_the_reason(measured):
    assert measured["rows"]["bn_scale/seed-0"] == {
        "status": "unavailable", "reason": "the model has no BatchNorm layer"
    }  # fmt: skip


def test_a_model_with_a_hook_is_not_timed():
    model = models.build(MODEL, 10, (1, 8, 8))
    next(model.children()).register_forward_hook(lambda *_: None)
    with pytest.raises(BudamaError, match="hook"):
        benchmarking.latency.compare({"baseline": model}, torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_models_tested_together_score_as_they_do_alone(work, threads):
    data = open_data(files.read_json(work / "dataset.json"))
    group = {name: checkpoint.load(work / name) for name in ("baseline", "wanda-0")}
    torch.set_num_threads(threads)
    try:
        together = scoring.evaluate_together(group, batching.batches(data, "test", 50), CPU)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(1)
    for name, model in group.items():
        assert (together[name].hits == evaluate(model, batching.batches(data, "test", 50)).hits).all()


def test_timing_uses_real_images_and_never_the_test_split(work):
    data = open_data(files.read_json(work / "dataset.json"))
    images = benchmarking.timing_images(data, 500, CPU)
    selection = torch.cat([batch for batch, _ in batching.batches(data, "selection", 64)])
    assert images.shape == (500, 1, 8, 8)
    assert torch.equal(images[: len(selection)], selection)


def test_packed_hits_take_a_bit_an_image():
    assert len(packed(np.ones(8000, dtype=bool))) < 8000 / 8 * 1.4


def test_the_stage_writes_what_the_library_measures(work, measured, tmp_path):
    variants = [["wanda", 0], ["wanda", 1]]
    spec = json.dumps({"settings": {"benchmark": {**SETTINGS, "precisions": ["float32"]}, "variants": variants}})
    arguments = [
        "--spec", spec, "--dataset", work / "dataset.json", "--baseline", work / "baseline",
        "--model", f"wanda/seed-0={work / 'wanda-0'}", f"wanda/seed-1={work / 'wanda-1'}",
        "--output", tmp_path / "benchmark.json", "--threads", "1", "--device", "cpu",
    ]  # fmt: skip
    done = subprocess.run([sys.executable, STAGE, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "benchmark.json").read_text())
    assert list(written["rows"]) == ["baseline", "wanda/seed-0", "wanda/seed-1"]
    same = ("accuracy_percent", "hits", "parameters", "gmacs", "peak_memory_mib")
    for label, row in written["rows"].items():
        assert all(row.get(key) == measured["rows"][label].get(key) for key in same), label
    assert (written["threads"], written["device"]) == (1, "cpu")
    assert written["environment"]["cpu"]


def test_a_forgotten_model_is_told_in_one_line(work, tmp_path):
    spec = json.dumps({"settings": {"benchmark": SETTINGS, "variants": [["wanda", 0], ["wanda", 1]]}})
    arguments = [
        "--spec", spec, "--dataset", work / "dataset.json", "--baseline", work / "baseline",
        "--model", f"wanda/seed-0={work / 'wanda-0'}", "--output", tmp_path / "benchmark.json",
    ]  # fmt: skip
    done = subprocess.run([sys.executable, STAGE, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "error: --model has no wanda/seed-1; it must name the checkpoint of every variant and seed\n"
    )
