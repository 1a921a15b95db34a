"""The library by itself: a wheel, in a folder that has nothing of the workflow, beside torch and safetensors alone."""

import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import torch

import budama
from budama.networks import checkpoint, models
from budama.pruning import pruner

ROOT = Path(__file__).parents[1]
SETTINGS = {"ratio": 0.4, "scope": "layerwise", "steps": 1, "match": "channels", "round_to": None}
# What Windows lacks.
ELSEWHERE = ("fcntl", "grp", "pwd", "resource", "termios")

PROGRAM = """
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in {missing!r} or not (top in {present!r} or top in sys.stdlib_module_names):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
for name in {missing!r}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Missing())
import budama
model = budama.load("model")
import torch
expected = torch.load("expected.pt", weights_only=True)
assert type(model).__name__ == "ResNetCifar" and not model.training
with torch.no_grad():
    assert torch.equal(model(expected["images"]), expected["logits"])
print(budama.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, check=True, cwd=ROOT, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def elsewhere(tmp_path):
    """A folder with a pruned model, and what it makes of some images."""
    description = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8}}
    model = models.build(description, 10, (3, 32, 32), seed=3)
    pruned = pruner.prune(model, (3, 32, 32), 10, "magnitude", SETTINGS).model
    recipe = {"model": description, "classes": 10, "input_shape": [3, 32, 32]}
    checkpoint.save(tmp_path / "model", pruned, recipe=recipe)
    images = models.example_input((3, 32, 32), batch=4)
    with torch.no_grad():
        torch.save({"images": images, "logits": pruned(images)}, tmp_path / "expected.pt")
    return tmp_path


def with_what_they_need(*names):
    """Distributions that installing `names` brings, and the modules in them."""
    reached, ahead = set(), list(names)
    while ahead:
        name = re.split(r"[^\w.-]", ahead.pop())[0].lower().replace("_", "-")
        if name not in reached:
            reached.add(name)
            try:
                needed = metadata.requires(name) or []
            except metadata.PackageNotFoundError:  # for other systems
                continue
            ahead += [one for one in needed if "extra ==" not in one]
    owners = metadata.packages_distributions()
    return {module for module, owned in owners.items() if reached & {name.lower().replace("_", "-") for name in owned}}


@pytest.mark.parametrize("missing", [(), ELSEWHERE], ids=["here", "where Linux's modules are not"])
def test_a_model_loads_with_torch_and_safetensors_alone(wheel, elsewhere, missing):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(elsewhere / "site")
    present = {"budama", *with_what_they_need("torch", "safetensors")}
    assert not present & {"numpy", "torchvision", "torch_pruning", "snakemake", "pandas"}
    program = PROGRAM.format(missing=missing, present=sorted(present))
    environment = {"PYTHONPATH": str(elsewhere / "site"), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=elsewhere, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(elsewhere / "site"))


def test_installing_it_asks_for_torch_and_safetensors_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    needed = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    assert {one for one in needed if "extra ==" not in one} == {"torch", "safetensors"}
    assert f"Version: {budama.__version__}" in lines


def test_the_wheel_has_every_file_that_the_library_reads(wheel):
    library = ROOT / "workflow/scripts/budama"
    tracked = subprocess.run(["git", "ls-files", "."], cwd=library, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert {f"budama/{name}" for name in tracked.stdout.split()} <= held
