"""A small configuration whose stages run in this process, and edits that spoil what they read."""

import contextlib
import hashlib
import io
import json
import pickle
import runpy
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
import yaml
from imagefolders import train_and_val

from budama import files
from budama.data import batching
from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.jobs import command_line
from budama.networks import checkpoint, models
from budama.pruning import calibration

SCRIPTS = Path(__file__).parents[1] / "workflow/scripts"
SHAPE = (1, 8, 8)
BASELINE = {
    "baseline": "small",
    "model": {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8, "width": 8}},
    "data": {"name": "digits"},
    "calibration": {"batches": 2, "batch_size": 64},
    "train": {"epochs": 1, "learning_rate": 0.1},
}
SCENARIO = {
    "scenario": "s",
    "baseline": "small",
    "pruning": {"methods": ["wanda"], "ratio": 0.3},
    "finetune": {"epochs": 1},
    "benchmark": {"rounds": 3, "warmup_rounds": 1, "throughput_batch_size": 8},
    "export": {"formats": ["torch_export"]},
}
BY_BASELINE, BY_VARIANT = ["--baseline", "config/baselines/small.yaml"], ["--scenario", "config/scenarios/s.yaml"]
STAGES = {
    "dataset": [*BY_BASELINE, "--output", "dataset.json"],
    "baseline": [*BY_BASELINE, "--dataset", "dataset.json", "--output", "out/model", "--metrics", "out/metrics.json",
                 "--history", "out/history.csv", "--threads", "1"],
    "calibrate": [*BY_BASELINE, "--dataset", "dataset.json", "--model", "model", "--output", "out/c.safetensors",
                  "--curves", "out/c.json"],
    "prune": [*BY_VARIANT, "--variant", "wanda", "--dataset", "dataset.json", "--model", "model", "--calibration",
              "calibration.safetensors", "--output", "out/pruned", "--report", "out/pruning.json", "--threads", "1"],
    "finetune": [*BY_VARIANT, "--variant", "wanda", "--dataset", "dataset.json", "--model", "model", "--teacher",
                 "model", "--output", "out/model", "--metrics", "out/metrics.json", "--history", "out/history.csv",
                 "--threads", "1"],
    "benchmark": [*BY_VARIANT, "--dataset", "dataset.json", "--baseline", "model", "--model", "wanda/seed-0=model",
                  "--output", "out/benchmark.json", "--threads", "1"],
    "export": [*BY_VARIANT, "--dataset", "dataset.json", "--model", "model", "--output", "out/export"],
}  # fmt: skip
OWN_MODELS = """
import torch
from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 10))


class Hungry(Net):
    def forward(self, images):
        if self.training and len(images) > 40:
            torch.empty(2**50, dtype=torch.uint8)
        return super().forward(images)


class Starved(Net):
    def forward(self, images):
        if self.training:
            torch.empty(2**50, dtype=torch.uint8)
        return super().forward(images)
"""


class Payload:
    def __reduce__(self):
        return Path.write_text, (Path("payload-was-run"), "")


def save(folder, model, classes=10, shape=SHAPE):
    model = {"arguments": {}, "weights": None, **model}
    names = [str(number) for number in range(classes)]
    recipe = {"model": model, "classes": classes, "input_shape": list(shape), "class_names": names}
    checkpoint.save(folder, models.build(model, classes, shape), recipe=recipe)


def prepared(folder):
    """`folder` with a configuration and what the first stages made of it, all of it good."""
    for name, settings in (("baselines/small", BASELINE), ("scenarios/s", SCENARIO)):
        files.write_text(folder / f"config/{name}.yaml", yaml.safe_dump(settings))
    data = {"name": "digits", "root": None, "image_size": None, "resize": None, "channels": None, "protocol": "full"}
    data |= {"selection": 0.1, "test": 0.2, "duplicates": "drop", "augment": "none", "mean": None, "std": None}
    manifest = build_manifest({"data": data, "seed": 0}, threads=1)
    files.write_json(folder / "dataset.json", manifest)
    save(folder / "model", BASELINE["model"])
    opened = open_data(manifest)
    batches = batching.batches(opened, opened.calibration(128), 64)
    calibration.collect(checkpoint.load(folder / "model"), batches, threshold=0.25, device="cpu").save(
        folder / "calibration.safetensors"
    )
    (folder / "own_models.py").write_text(OWN_MODELS)
    return folder


def run(stage, *more):
    """Run a stage in this process, which spares the import of torch: its exit status, and what it said."""
    argv, said, handler = [str(SCRIPTS / f"{stage}.py"), *STAGES[stage], *more], io.StringIO(), None
    handler = signal.getsignal(signal.SIGTERM)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(sys, "argv", argv)
        patch.setattr(command_line, "_end", lambda: sys.exit(0))
        patch.setattr(sys, "path", list(sys.path))
        with pytest.raises(SystemExit) as end:
            runpy.run_path(argv[0], run_name="__main__")
    signal.signal(signal.SIGTERM, handler)
    torch.set_num_threads(threads)
    return end.value.code, said.getvalue()


def content(folder):
    """Every file below a folder, with a digest; what training keeps in order to go on is left out."""
    paths = [
        path
        for path in Path(folder).rglob("*")
        if path.is_file() and not {"progress", ".cache", "__pycache__"} & {*path.parts}
    ]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def put(kind, key, value):
    """Set a key, `section.key` in a section, of the baseline's or the scenario's file."""
    path = Path({"baseline": "config/baselines/small.yaml", "scenario": "config/scenarios/s.yaml"}[kind])

    def edit(folder):
        whole = yaml.safe_load((folder / path).read_text())
        *sections, last = key.split(".")
        place = whole
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
        (folder / path).write_text(yaml.safe_dump(whole))

    return edit


def cut(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def flip(name):
    def edit(folder):
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)

    return edit


def with_sha256(folder):
    described = json.loads((folder / "model/structure.json").read_text())
    described["sha256"] = files.sha256(folder / "model/model.safetensors")
    (folder / "model/structure.json").write_text(json.dumps(described))


def pickled(name):
    def edit(folder):
        (folder / name).write_bytes(pickle.dumps({"weights": Payload()}))
        if name.startswith("model/"):
            with_sha256(folder)

    return edit


def another(**recipe):
    """Another model's checkpoint in the place of the model."""

    def edit(folder):
        shutil.rmtree(folder / "model")
        save(folder / "model", **recipe)

    return edit


def all_of(*edits):
    return lambda folder: [edit(folder) for edit in edits]


def of_seven_classes(folder):
    train_and_val(folder / "fotoğraflar", classes=tuple("abcdefg"), size=(9, 9), mode="L")
    put("baseline", "data", {"name": "image_folder", "root": "fotoğraflar", "image_size": 8, "channels": 1})(folder)
    assert run("dataset")[0] == 0
