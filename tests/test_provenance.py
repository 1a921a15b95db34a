"""What decides whether a result is fresh: settings, code without its comments, versions, and the user's own files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from budama.errors import BudamaError
from budama.jobs import code_digest, provenance, user_files

STAGES = (
    *[
        "dataset",
        "baseline",
        "calibrate",
        "prune",
        "finetune",
        "benchmark",
        "export",
        "aggregate",
        "report",
        "index",
        "preview",
    ],
)
SCRIPTS = Path(provenance.__file__).parents[2]

CODE = '''
"""What it does."""
import math

def area(radius):
    """The area of a circle."""
    # Archimedes
    return math.pi * radius**2
'''


def digest_of(folder, text):
    path = folder / "code.py"
    path.write_text(text)
    return code_digest.code(path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("    # Archimedes\n", ""),
        ('"""What it does."""', '"""What it does, in full."""'),
        ('    """The area of a circle."""\n', ""),
        ("import math\n\n", "import math\n\n\n\n"),
        ("(radius)", "( radius )"),
    ],
)
def test_comments_docstrings_and_layout_are_no_code(tmp_path, before, after):
    assert before in CODE
    assert digest_of(tmp_path, CODE) == digest_of(tmp_path, CODE.replace(before, after))


@pytest.mark.parametrize(("before", "after"), [("**2", "**3"), ("math.pi", "3.14"), ("area", "surface")])
def test_anything_that_runs_is_code(tmp_path, before, after):
    assert digest_of(tmp_path, CODE) != digest_of(tmp_path, CODE.replace(before, after))


def test_a_spec_is_the_same_text_for_the_same_settings_in_any_order():
    one = provenance.spec("prune", {"ratio": 0.1, "method": "wanda", "calibration": {"batches": 1, "batch_size": 2}})
    other = provenance.spec("prune", {"calibration": {"batch_size": 2, "batches": 1}, "method": "wanda", "ratio": 0.1})
    assert one == other
    assert set(json.loads(one)) == {"settings", "code", "packages"}


def test_a_spec_tells_swapped_values_apart():
    one = provenance.spec("finetune", {"learning_rate": 0.9, "momentum": 0.01})
    assert one != provenance.spec("finetune", {"learning_rate": 0.01, "momentum": 0.9})


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_its_script_and_what_it_imports(stage):
    names = {path.relative_to(SCRIPTS).as_posix() for path in code_digest.modules(stage)}
    assert f"{stage}.py" in names
    assert "budama/files.py" in names
    assert not names & {
        "budama/settings/stages.py",
        "budama/jobs/command_line.py",
        "budama/progress.py",
        "budama/jobs/provenance.py",
    }


def test_imports_inside_functions_and_computed_ones_are_seen():
    names = {path.relative_to(SCRIPTS).as_posix() for path in code_digest.modules("prune")}
    assert {"budama/data/batching.py", "budama/pruning/criteria/data.py", "budama/measuring/evaluation.py"} <= names


def test_imports_for_type_checkers_alone_decide_nothing():
    aggregate = {path.relative_to(SCRIPTS).as_posix() for path in code_digest.modules("aggregate")}
    assert "budama/reporting/contract.py" in aggregate
    assert not aggregate & {"budama/data/manifest.py", "budama/results/contracts.py"}


def test_building_a_manifest_does_not_depend_on_how_batches_are_made():
    names = {path.relative_to(SCRIPTS).as_posix() for path in code_digest.modules("dataset")}
    assert "budama/data/manifest.py" in names
    assert "budama/data/batching.py" not in names


@pytest.mark.parametrize("stage", ["aggregate", "report", "index"])
def test_stages_without_a_model_need_no_torch(stage):
    assert not {"torch", "torchvision", "timm", "torch_pruning"} & code_digest.packages(stage)


def test_the_versions_that_decide_pruning_are_in_its_spec():
    found = json.loads(provenance.spec("prune", {}))["packages"]
    assert found["torch-pruning"] == provenance.locked()["torch-pruning"]
    assert "torch" in found
    assert "tqdm" not in found


def test_packages_that_one_method_needs_decide_no_other():
    wanda, fold = (json.loads(provenance.spec("prune", {"method": name})) for name in ("wanda", "fold"))
    assert set(fold["packages"]) - set(wanda["packages"]) == {"scipy"}
    assert fold["code"] != wanda["code"]


def test_the_version_of_a_package_that_is_not_installed_is_the_locked_one(monkeypatch):
    monkeypatch.setattr(provenance.metadata, "version", _nothing_is_installed)
    provenance.version.cache_clear()
    try:
        assert provenance.version("timm") == provenance.locked()["timm"]
    finally:
        provenance.version.cache_clear()


def _nothing_is_installed(name):
    raise provenance.metadata.PackageNotFoundError(name)


def test_planning_and_the_environment_need_no_torch():
    program = (
        "import sys, budama.settings.stages, budama.jobs.user_files; from budama.jobs import provenance;"
        "provenance.spec('prune', {});"
        "print(provenance.environment()['cpu']); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=SCRIPTS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_environment_names_versions_hardware_and_commit():
    found = provenance.environment()
    assert found["torch"] == provenance.locked()["torch"]
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0
    assert found["cpu"]
    assert json.loads(json.dumps(found)) == found


# --- the user's own files ---


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A folder of eight small files in train/ and val/, a folder a class."""
    monkeypatch.chdir(tmp_path)
    for part in ("train", "val"):
        for label in ("cat", "dog"):
            folder = tmp_path / "images" / part / label
            folder.mkdir(parents=True)
            for number in range(2):
                (folder / f"{number}.png").write_bytes(f"{part} {label} {number}".encode())
    return tmp_path / "images"


def folder_digest(images):
    data = {"name": "image_folder", "root": str(images), "protocol": "full"}
    return user_files.facts("dataset", {"data": data}, "config/baselines/mine.yaml")["images"]


def test_touched_images_are_the_same(images):
    before = folder_digest(images)
    for path in images.rglob("*.png"):
        os.utime(path, (1, 1))
    assert folder_digest(images) == before


def overwrite(images):
    """As many bytes as before, in place."""
    (images / "train/cat/0.png").write_bytes(b"train cow 0")


def add(images):
    (images / "val/dog/9.png").write_bytes(b"new")


def remove(images):
    (images / "val/dog/1.png").unlink()


def rename(images):
    (images / "val/dog/1.png").rename(images / "val/dog/one.png")


def add_a_class(images):
    (images / "train/cow").mkdir()
    (images / "train/cow/0.png").write_bytes(b"cow")


@pytest.mark.parametrize("edit", [overwrite, add, remove, rename, add_a_class])
def test_changed_images_are_seen(images, edit):
    before = folder_digest(images)
    edit(images)
    assert folder_digest(images) != before


def replace(images):
    """As programs save: a new file takes the place of the old one."""
    (images / "new").write_bytes(b"another size")
    (images / "new").rename(images / "train/cat/0.png")


@pytest.mark.parametrize("edit", [add, remove, rename, add_a_class, replace])
def test_changed_images_are_seen_where_there_are_too_many_to_read(images, monkeypatch, edit):
    monkeypatch.setattr(user_files, "LARGEST_COUNT", 3)
    before = folder_digest(images)
    edit(images)
    assert folder_digest(images) != before


def test_hidden_files_are_no_images(images):
    before = folder_digest(images)
    (images / "train/cat/.DS_Store").write_bytes(b"x")
    assert folder_digest(images) == before


def test_links_in_a_circle_end(images):
    (images / "train/cat/again").symlink_to(images / "train")
    assert folder_digest(images)


def test_an_image_is_read_once(images, monkeypatch):
    before = folder_digest(images)
    monkeypatch.setattr(user_files.files, "sha256", None)
    assert folder_digest(images) == before


def test_missing_imagenet_is_one_line_that_says_where_it_must_lie(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {"name": "imagenet", "root": "data/imagenet", "protocol": "full"}
    with pytest.raises(BudamaError) as told:
        user_files.facts("dataset", {"data": data}, "config/baselines/resnet50_imagenet.yaml")
    (line,) = told.value.lines
    for word in ("config/baselines/resnet50_imagenet.yaml", "data.root", "data/imagenet", "train/", "val/"):
        assert word in line


def test_missing_weights_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = {"source": "torchvision", "name": "resnet18", "weights": "weights/mine.safetensors"}
    with pytest.raises(BudamaError, match=r"mine\.yaml: model\.weights is weights/mine\.safetensors"):
        user_files.facts("baseline", {"model": model}, "mine.yaml")


def test_changed_weights_are_seen_and_touched_ones_are_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "mine.safetensors"
    save_file({"a": torch.zeros(1)}, weights)
    settings = {"model": {"source": "torchvision", "name": "resnet18", "weights": "mine.safetensors"}}
    before = user_files.facts("baseline", settings, "mine.yaml")
    os.utime(weights, (1, 1))
    assert user_files.facts("baseline", settings, "mine.yaml") == before
    save_file({"a": torch.ones(1)}, weights)
    assert user_files.facts("baseline", settings, "mine.yaml") != before


def test_a_changed_model_of_the_users_own_is_seen_and_a_comment_in_it_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mynet.py").write_text("def build():\n    return 1\n")
    settings = {"model": {"source": "python", "name": "mynet:build", "weights": None}}
    before = user_files.facts("baseline", settings, "mine.yaml")
    assert before
    (tmp_path / "mynet.py").write_text("# mine\ndef build():\n    return 1\n")
    assert user_files.facts("baseline", settings, "mine.yaml") == before
    (tmp_path / "mynet.py").write_text("def build():\n    return 2\n")
    assert user_files.facts("baseline", settings, "mine.yaml") != before


def test_a_folder_that_cannot_be_written_costs_no_run(images, monkeypatch):
    shutil.rmtree(".cache", ignore_errors=True)
    Path(".cache").write_text("in the way")
    assert folder_digest(images)
