"""From files to the report as docs/own_images.md tells it, with a model and a data set that budama has never heard of.

The model is the class below, the data are drawn here, and everything else is two configuration files and `snakemake`.
"""

import inspect
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import chain
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from budama import files

CLASSES = ("artı", "çapraz çizgi", "dama", "daire", "dikey çizgi", "halka", "yatay çizgi")
COMMON = "daire"  # the class of which there are more images than of the others


class PatternNet(nn.Module):
    """Two branches of different reach, joined; a residual depthwise block; a pooled, gated head."""

    def __init__(self, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.near = nn.Sequential(nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width))
        self.far = nn.Sequential(nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(width))
        self.join = nn.Sequential(nn.Conv2d(2 * width, 3 * width, 3, stride=2, padding=1), nn.BatchNorm2d(3 * width))
        self.depthwise = nn.Conv2d(3 * width, 3 * width, 5, padding=2, groups=3 * width, bias=False)
        self.norm, self.mix = nn.BatchNorm2d(3 * width), nn.Conv2d(3 * width, 3 * width, 1)
        self.last = nn.Sequential(nn.Conv2d(3 * width, 4 * width, 3, stride=2, padding=1), nn.BatchNorm2d(4 * width))
        self.gate, self.logits = nn.Linear(4 * width, 4 * width), nn.Linear(4 * width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([functional.relu(self.near(images)), functional.silu(self.far(images))], 1)
        joined = functional.relu(self.join(joined))
        mixed = functional.relu(joined + self.mix(functional.silu(self.norm(self.depthwise(joined)))))
        pooled = functional.relu(self.last(mixed)).mean((2, 3))
        return self.logits(pooled * torch.sigmoid(self.gate(pooled)))


def pattern(kind: str, rng: np.random.Generator) -> Image.Image:
    """One of the seven patterns at a place, size and colours that chance decides, with noise."""
    height, width = rng.integers(44, 90, 2)
    y, x = np.mgrid[:height, :width].astype(float)
    period, phase = rng.uniform(9, 16), rng.uniform(0, 16)
    across, down, radius = x - width * rng.uniform(0.4, 0.6), y - height * rng.uniform(0.4, 0.6), rng.uniform(11, 18)
    from_middle = np.hypot(across, down)
    inside = {
        "artı": (abs(across) < radius / 3) | (abs(down) < radius / 3),
        "çapraz çizgi": (x + y + phase) % period < period / 2,
        "dama": ((x + phase) % period < period / 2) ^ ((y + phase) % period < period / 2),
        "daire": from_middle < radius,
        "dikey çizgi": (x + phase) % period < period / 2,
        "halka": abs(from_middle - radius) < radius / 4,
        "yatay çizgi": (y + phase) % period < period / 2,
    }[kind]
    dark, bright = rng.uniform(0, 90, 3), rng.uniform(150, 255, 3)
    pixels = np.where(inside[..., None], bright, dark) + rng.normal(0, 12, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def draw(root: Path) -> None:
    """`root`/train and `root`/val, 45 and 14 images a class and 150 and 50 of one, of any size, some of them grey, PNG,
    or CMYK."""
    rng = np.random.default_rng(20261124)
    for (part, many, few), kind in product((("train", 150, 45), ("val", 50, 14)), CLASSES):
        (root / part / kind).mkdir(parents=True)
        for number in range(many if kind == COMMON else few):
            image, path = pattern(kind, rng), root / part / kind / f"{number:03}"
            if number % 10 == 3:
                image.convert("L").save(path.with_suffix(".png"))
            else:
                image.convert("CMYK" if number % 10 == 7 else "RGB").save(path.with_suffix(".jpg"), quality=90)


BASELINE = {
    "baseline": "desenler",
    "title": "PatternNet",
    "model": {"source": "python", "name": "ressamlar.desen:PatternNet", "arguments": {"width": 8}},
    "data": {"name": "image_folder", "root": "data/desenler", "image_size": 32, "selection": 0.15},
    "calibration": {"batches": 4, "batch_size": 64},
    "train": {"epochs": 8, "learning_rate": 0.1, "batch_size": 32},
}
SCENARIO = {
    "scenario": "DESENLER",
    "baseline": "desenler",
    "pruning": {"methods": ["magnitude", "wanda", "original_ft"], "ratio": 0.3, "match": "macs"},
    "finetune": {"epochs": 2, "learning_rate": 0.02, "batch_size": 32, "distill": 0.5},
    "seeds": [0],
    "benchmark": {"rounds": 3, "warmup_rounds": 1, "throughput_batch_size": 16},
    "export": {"formats": ["onnx"]},
}
ASKED = ("--config", "scenarios=[DESENLER]")


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Path:
    """A folder in which a user has put images, a model and two files, and has run the chain."""
    folder = chain.lay_out(tmp_path_factory.mktemp("ours") / "budama")
    draw(folder / "data/desenler")
    torn = folder / "data/desenler/train/halka/000.jpg"
    torn.write_bytes(torn.read_bytes()[:400])
    head = "import torch\nfrom torch import nn\nfrom torch.nn import functional\n\n\n"
    files.write_text(folder / "ressamlar/desen.py", head + inspect.getsource(PatternNet))
    chain.write(folder, "baselines/desenler.yaml", BASELINE)
    chain.write(folder, "scenarios/desenler.yaml", SCENARIO)
    done = chain.run(folder, *ASKED)
    assert done.returncode == 0, done.stderr[-8000:]
    return folder


@pytest.fixture(scope="module")
def results(ours) -> dict:
    return json.loads((ours / "results/scenarios/DESENLER/results.json").read_text())


def test_an_unknown_model_learns_unknown_images_and_is_pruned_as_asked(results):
    assert (results["model"]["classes"], results["dataset"]["class_names"]) == (7, sorted(CLASSES))
    assert results["dataset"]["counts"]["test"] == 134
    assert results["baseline"]["accuracy_percent"] > 70  # chance is 14
    assert [row["variant"] for row in results["variants"]] == ["magnitude", "wanda"]
    for row in (results["baseline"], *results["variants"]):
        assert row["onnx"]["top1_equal"] == row["onnx"]["images"]
    for row in results["variants"]:
        assert row["status"] == "ok"
        assert row["gmacs_change_percent"] == pytest.approx(-30, abs=0.5)
        assert row["accuracy_percent"] > 50


def test_classes_that_are_unequal_count_alike_beside_top1(ours, results):
    own = results["baseline"]
    by_class = own["per_class_accuracy_percent"]
    assert own["balanced_accuracy_percent"] == pytest.approx(np.mean(by_class))
    assert results["dataset"]["class_images"] == [50 if name == COMMON else 14 for name in sorted(CLASSES)]
    text = (ours / "reports/DESENLER/ozet_rapor.md").read_text()
    assert "Sınıflar eşit değil: test görüntülerinin %37,3'ü daire sınıfından" in text
    assert f"dengeli doğruluğu %{own['balanced_accuracy_percent']:.2f}".replace(".", ",") in text
    assert "Orijinal model bir şey öğrenmemiş olabilir" not in text


def test_the_original_went_through_the_same_training(ours, results):
    row = results["unpruned"]
    assert (row["gmacs_change_percent"], row["size_change_percent"]) == (0, 0)
    assert row["fate"]["as_pruned_percent"] == pytest.approx(results["baseline"]["seeds"][0]["finetuned_percent"])
    assert {one["variant"] for one in results["against_unpruned"]} == {"magnitude", "wanda"}
    assert "**Orijinal + FT**" in (ours / "reports/DESENLER/ozet_rapor.md").read_text()


def test_the_report_tells_of_the_users_own_model_classes_and_of_the_torn_file(ours):
    for form in ("md", "html", "pdf"):
        assert (ours / f"reports/DESENLER/ozet_rapor.{form}").stat().st_size > 0
    text = (ours / "reports/DESENLER/ozet_rapor.md").read_text()
    for words in ("**Model:** PatternNet", "**Sınıf Sayısı:** 7", "**Magnitude Pruning**", "**Wanda Pruning**"):
        assert words in text
    page = (ours / "reports/DESENLER/ozet_rapor.html").read_text()
    assert all(name in page for name in CLASSES)
    torn = json.loads((ours / "results/baselines/desenler/dataset.json").read_text())["unreadable"]
    assert [entry["path"] for entry in torn] == ["train/halka/000.jpg"]
    assert "1 görüntü okunamadı" in text


def test_the_pruned_model_classifies_new_images_in_the_users_own_program(ours, tmp_path):
    rng = np.random.default_rng(1)
    for number, kind in enumerate(CLASSES * 3):
        pattern(kind, rng).save(tmp_path / f"{number:02}.png")
    example = ours / "results/scenarios/DESENLER/wanda/seed-0/export/load_example.py"
    images = sorted(tmp_path.glob("*.png"))
    installed = {**os.environ, "PYTHONPATH": str(chain.ROOT / "workflow/scripts")}
    command = [sys.executable, example, *images]
    done = subprocess.run(command, cwd=tmp_path, env=installed, capture_output=True, text=True, check=True)
    assert not done.stderr, "loading is silent, from any folder"
    told = [line.split("  ")[1].rsplit(" ", 2)[0].strip() for line in done.stdout.splitlines()]
    right = sum(one == kind for one, kind in zip(told, CLASSES * 3, strict=True))
    assert right > len(images) / 2, done.stdout


def test_a_change_of_the_users_model_is_seen_and_a_comment_is_not(ours, tmp_path):
    work = chain.copy(ours, tmp_path / "work")
    assert chain.plan(work, *ASKED) == set()
    own = work / "ressamlar/desen.py"
    own.write_text(own.read_text() + "\n\n# drawn with care\n")
    assert chain.plan(work, *ASKED) == set()
    own.write_text(own.read_text().replace("functional.silu(self.far", "functional.relu(self.far"))
    planned = chain.plan(work, *ASKED)
    assert "baseline desenler" in planned
    assert "dataset desenler" not in planned
