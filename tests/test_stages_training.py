"""The stages baseline and finetune as people and Snakemake start them: from the shell, killed, and on two processes."""

import contextlib
import csv
import io
import json
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import every_rank
import psutil
import pytest
import torch

from budama import files
from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.jobs import command_line
from budama.measuring.evaluation import evaluate
from budama.networks import checkpoint
from budama.settings import stages
from budama.training import resume
from budama.training.loop import batches

BASELINE = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8, "width": 8}, "weights": None}
TRAIN = {
    "epochs": 4, "batch_size": 128, "optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4,
    "schedule": "cosine", "warmup_epochs": 0.5, "label_smoothing": 0.0, "distill": 0.0, "distill_temperature": 2.0,
    "weight_averaging": None, "precision": "float32", "max_batches": None,
}  # fmt: skip
SCRIPTS = Path("workflow/scripts")
PYTHON = [sys.executable]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    settings = stages.load_baseline("config/baselines/digits_resnet.yaml").data
    path = tmp_path_factory.mktemp("data") / "dataset.json"
    files.write_json(path, build_manifest({"data": settings, "seed": 0}, threads=1))
    return path


@pytest.fixture(scope="module")
def baseline(dataset, tmp_path_factory):
    """A finished run of the stage baseline."""
    out = tmp_path_factory.mktemp("baseline")
    run("baseline", out, dataset)
    return out


def command(stage, out, dataset, launcher=PYTHON, model=None, teacher=None, **changes):
    """The command line of a stage, as Snakemake makes it."""
    train, out = {**TRAIN, **changes}, Path(out)
    tried = {"tried": True} if train.pop("tried", False) else {}
    settings = {"seed": 0, "train": train, "model": BASELINE, "augment": "auto"}
    if stage == "finetune":
        settings = {"seed": 0, "finetune": train, "method": "wanda", **tried}
    arguments = ["--spec", json.dumps({"settings": settings, "code": "…"}), "--dataset", dataset, "--threads", "1"]
    arguments += ["--output", out / "model", "--metrics", out / "metrics.json", "--history", out / "history.csv"]
    arguments += ["--model", model] if model else []
    arguments += ["--teacher", teacher] if teacher else []
    return [str(part) for part in [*launcher, SCRIPTS / f"{stage}.py", *arguments]]


def start(*where, **how):
    """Start a stage in a process of its own."""
    return subprocess.Popen(command(*where, **how), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(*where, code=0, **how):
    """Run a stage in this process, which spares the import of torch; what it said."""
    argv, said, handler = command(*where, **how)[len(PYTHON) :], io.StringIO(), signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(sys, "argv", argv)
        patch.setattr(command_line, "_end", lambda: sys.exit(0))
        with pytest.raises(SystemExit) as end:
            runpy.run_path(argv[0], run_name="__main__")
    signal.signal(signal.SIGTERM, handler)
    assert end.value.code == code, said.getvalue()
    return said.getvalue()


def finish(process, code=0):
    told = process.communicate()[0]
    assert process.returncode == code, told
    return told


def history(out):
    with open(Path(out) / "history.csv") as file:
        return [{key: float(value) for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def assert_same(first, second):
    assert history(first) == history(second)
    name = Path("model/model.safetensors")
    assert files.sha256(first / name) == files.sha256(second / name)
    ignored = ("train_seconds", "environment")
    metrics = [files.read_json(out / "metrics.json") for out in (first, second)]
    assert len({json.dumps({key: one[key] for key in one if key not in ignored}) for one in metrics}) == 1


def test_a_baseline_is_trained_and_its_files_agree(baseline, dataset):
    metrics, rows = files.read_json(baseline / "metrics.json"), history(baseline)
    assert sorted(path.name for path in baseline.iterdir()) == ["history.csv", "metrics.json", "model"]
    assert metrics["status"] == "ok"
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    best = rows[metrics["best_epoch"] - 1]
    assert metrics["selection_accuracy_percent"] == best["selection_accuracy_percent"]
    assert metrics["selection_loss"] == best["selection_loss"]
    data = open_data(files.read_json(dataset))
    model = checkpoint.load(baseline / "model")
    outcome = evaluate(model, batches(data, "selection", 128))
    assert outcome.accuracy_percent == metrics["selection_accuracy_percent"]
    described = checkpoint.structure(baseline / "model")["recipe"]
    assert (described["classes"], described["input_shape"]) == (10, [1, 8, 8])


def test_fine_tuning_starts_from_the_pruned_model_and_learns_from_the_baseline(baseline, dataset, tmp_path):
    model = baseline / "model"
    told = run("finetune", tmp_path, dataset, model=model, teacher=model, epochs=1, distill=0.5)
    assert "epoch 1/1: loss " in told
    assert " images/s, 0 s left" in told
    metrics = files.read_json(tmp_path / "metrics.json")
    assert metrics["start_accuracy_percent"] == files.read_json(baseline / "metrics.json")["selection_accuracy_percent"]
    assert metrics["selection_accuracy_percent"] >= metrics["start_accuracy_percent"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "metrics.json", "model"]


def test_a_method_that_cannot_serve_the_model_passes_through(dataset, tmp_path):
    checkpoint.save_unavailable(tmp_path / "pruned", "the model has no BatchNorm")
    run("finetune", tmp_path, dataset, model=tmp_path / "pruned")
    assert checkpoint.structure(tmp_path / "model")["unavailable"] == "the model has no BatchNorm"
    metrics = files.read_json(tmp_path / "metrics.json")
    assert (metrics["status"], metrics["reason"]) == ("unavailable", "the model has no BatchNorm")
    header = "epoch,learning_rate,train_loss,selection_loss,selection_accuracy_percent,seconds\n"
    assert (tmp_path / "history.csv").read_text() == header


def test_distillation_without_a_teacher_is_one_line(baseline, dataset, tmp_path):
    told = run("finetune", tmp_path, dataset, model=baseline / "model", distill=0.5, code=1)
    assert told == "error: distill is 0.5, but there is no teacher; it must be 0 here\n"


def kill(process, out, moment, sign):
    """Kill a stage once `moment` epochs are saved and a random while later; whether it was still running."""
    state = out / "progress" / resume.STATE
    pause = random.Random(moment).uniform(0, 0.3)
    saved, stamp = 0, None
    while process.poll() is None and saved < moment:
        found = state.stat().st_mtime_ns if state.exists() else None
        saved, stamp = saved + (found != stamp), found
        time.sleep(0.005)
    time.sleep(pause)
    process.send_signal(sign)
    process.communicate()
    return process.returncode != 0


@pytest.mark.parametrize("sign", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_a_killed_run_that_is_started_again_equals_an_undisturbed_one(baseline, dataset, tmp_path, sign):
    killed = kill(start("baseline", tmp_path, dataset), tmp_path, 2, sign)
    if killed:
        assert not (tmp_path / "metrics.json").exists()
        told = run("baseline", tmp_path, dataset)
        assert "going on after epoch" in told
    assert_same(baseline, tmp_path)
    assert not (tmp_path / "progress").exists()


@pytest.mark.long
def test_twenty_kills_at_random_moments_lose_nothing(baseline, dataset, tmp_path):
    changes = {"epochs": 12, "weight_averaging": 0.9, "distill": 0.5, "precision": "bfloat16", "optimizer": "adamw"}
    arguments = {"model": baseline / "model", "teacher": baseline / "model", "learning_rate": 0.003, **changes}
    run("finetune", tmp_path / "undisturbed", dataset, **arguments)
    kills = 0
    for attempt in range(20):
        process = start("finetune", tmp_path / "killed", dataset, **arguments)
        kills += kill(process, tmp_path / "killed", attempt % 3, random.Random(attempt).choice([9, 15]))
    run("finetune", tmp_path / "killed", dataset, **arguments)
    assert kills >= 5
    assert_same(tmp_path / "undisturbed", tmp_path / "killed")


DISTRIBUTED = {"epochs": 3, "batch_size": 127, "weight_averaging": 0.9, "distill": 0.5, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def together(baseline, dataset, tmp_path_factory):
    """A fine-tuning that two processes have finished, and what they said."""
    out = tmp_path_factory.mktemp("together")
    arguments = {"model": baseline / "model", "teacher": baseline / "model", **DISTRIBUTED}
    return out, finish(start("finetune", out, dataset, TORCHRUN, **arguments))


def test_two_processes_get_what_one_gets(baseline, dataset, together, tmp_path):
    """Gradients and BatchNorm statistics are those of the whole batch, summed in another order."""
    two, told = together
    run("finetune", tmp_path, dataset, model=baseline / "model", teacher=baseline / "model", **DISTRIBUTED)
    assert told.count("epoch 1/3: loss") == 1, "only the first worker talks"
    for alone, both in zip(history(tmp_path), history(two), strict=True):
        assert both == pytest.approx(alone, rel=1e-3)
    first, second = (checkpoint.load(out / "model") for out in (tmp_path, two))
    for (name, tensor), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.allclose(tensor.double(), other.double(), atol=1e-3), name
    assert sorted(path.name for path in two.iterdir()) == ["history.csv", "metrics.json", "model"]


def test_every_process_has_the_same_channels_and_the_same_tensors(baseline, dataset, tmp_path):
    """Bit for bit among the workers; pruned as one process prunes, and trained as one trains up to rounding."""
    settings = {**TRAIN, "epochs": 1, "batch_size": 127}
    asked = [str(dataset), str(baseline / "model"), str(tmp_path), json.dumps(settings)]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*TORCHRUN, "tests/every_rank.py", *asked], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = (files.read_json(tmp_path / f"{rank}.json") for rank in range(2))
    assert first == second
    alone, _ = every_rank.prune_and_train(dataset, baseline / "model", settings, torch.device("cpu"))
    assert (alone["kept"], alone["pruned"]) == (first["kept"], first["pruned"])
    assert first["history"][0] == pytest.approx(alone["history"][0], rel=1e-3)


def test_a_rate_of_several_that_diverges_ends_on_all_processes_and_is_told(baseline, dataset, tmp_path):
    """Each step makes the weights a hundred times larger; no worker waits for one that has seen it before it did."""
    high = {"learning_rate": 100, "weight_decay": 1, "batch_size": 16, "epochs": 1, "tried": True}
    finish(start("finetune", tmp_path, dataset, TORCHRUN, model=baseline / "model", **high))
    metrics = files.read_json(tmp_path / "metrics.json")
    assert metrics["status"] == "diverged"
    assert "learning_rate is 100" in metrics["reason"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "metrics.json", "model"]


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.long)])
def test_a_worker_that_dies_ends_the_job_and_the_rerun_goes_on(baseline, dataset, together, tmp_path, rank):
    arguments = {"model": baseline / "model", "teacher": baseline / "model", **DISTRIBUTED}
    process = start("finetune", tmp_path, dataset, TORCHRUN, **arguments)
    state = tmp_path / "progress" / resume.STATE
    while not state.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    os.kill(worker(process, rank).pid, signal.SIGKILL)  # in the middle of an epoch
    died = time.monotonic()
    told = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    assert time.monotonic() - died < 60, "the others do not wait for the dead one"
    assert "exitcode: -9" in told or "exitcode  : -9" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["progress"]
    again = finish(start("finetune", tmp_path, dataset, TORCHRUN, **arguments))
    assert "going on after epoch" in again
    assert "epoch 1/3: loss" not in again
    assert_same(together[0], tmp_path)


def worker(process, rank):
    """The process of a worker of torchrun."""
    children = psutil.Process(process.pid).children(recursive=True)
    (found,) = [child for child in children if child.environ().get("RANK") == str(rank)]
    return found
