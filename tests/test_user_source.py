"""A user's own model is stale when its own code changes, wherever that lies, and its source goes with checkpoints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from budama import files
from budama.errors import BudamaError
from budama.jobs import user_files
from budama.networks import checkpoint, models, user_source

SCRIPTS = Path(__file__).parents[1] / "workflow/scripts"
NETS = '''
"""Two models."""
import torch
from torch import nn
from parts.blocks import Block

WIDTH = 8


class Head(nn.Linear):
    pass


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.head = Block(WIDTH), Head(WIDTH, 4)

    def forward(self, x):
        return self.head(self.block(x).mean((2, 3)))


def other():
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.LazyLinear(4))
'''
BLOCKS = """
from torch import nn
from . import deeper


class Block(nn.Sequential):
    def __init__(self, width):
        super().__init__(nn.Conv2d(3, width, 3), deeper.relu())
"""
DEEPER = "from torch import nn\n\n\ndef relu():\n    return nn.ReLU()\n"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    for name, text in {"mynets.py": NETS, "parts/blocks.py": BLOCKS, "parts/deeper.py": DEEPER}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "parts/__init__.py").write_text("")
    (tmp_path / "unrelated.py").write_text("import torch")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mynets", "parts")]:
        del sys.modules[name]
    sys.path[:] = [place for place in sys.path if place != str(tmp_path)]


def settings(name: str) -> dict:
    return {"model": {"source": "python", "name": name, "arguments": {}, "weights": None}}


def digest(name: str) -> str:
    return user_files.facts("baseline", settings(name), "b.yaml")["model"]


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        ("mynets.py", "nn.LazyLinear(4)", "nn.LazyLinear(6)", {"other"}),
        ("mynets.py", "self.block(x)", "self.block(2 * x)", {"Small"}),
        ("mynets.py", "    pass", "    extra = 1", {"Small"}),
        ("mynets.py", "WIDTH = 8", "WIDTH = 9", {"Small", "other"}),
        ("mynets.py", '"""Two models."""', '"""Three models."""', set()),
        ("mynets.py", "class Head", "# a comment\nclass Head", set()),
        ("parts/blocks.py", "Conv2d(3, width, 3)", "Conv2d(3, width, 5)", {"Small", "other"}),
        ("parts/deeper.py", "nn.ReLU()", "nn.GELU()", {"Small", "other"}),
        ("unrelated.py", "import torch", "import torch, math", set()),
    ],
)
def test_what_a_model_is_made_of_makes_it_stale_and_nothing_else(folder, file, old, new, stale):
    before = {name: digest(f"mynets:{name}") for name in ("Small", "other")}
    edit(folder / file, old, new)
    assert {name for name, told in before.items() if digest(f"mynets:{name}") != told} == stale


def test_a_name_in_a_registry_counts(folder):
    (folder / "registry.py").write_text(
        "from torch import nn\nNAMES = ['Net']\n\nclass Net(nn.Linear):\n    pass\n\n"
        "def make():\n    return globals()[NAMES[0]](3, 4)\n"
    )
    before = digest("registry:make")
    edit(folder / "registry.py", "pass", "extra = 1")
    assert digest("registry:make") != before


def test_files_that_import_each_other_are_read_once(folder):
    edit(folder / "parts/deeper.py", "from torch import nn", "from torch import nn\nfrom parts import blocks")
    assert set(user_source.parts("mynets:Small")) == {
        "mynets.py", "parts/__init__.py", "parts/blocks.py", "parts/deeper.py"
    }  # fmt: skip


LOAD = "import sys; sys.path.insert(0, sys.argv[1]); import budama; print(type(budama.load(sys.argv[2])).__name__)"


def test_a_checkpoint_carries_the_source_and_says_where_it_is_needed(folder, tmp_path_factory):
    recipe = {**settings("mynets:Small"), "classes": 4, "input_shape": [3, 8, 8]}
    checkpoint.save(folder / "model", models.build(recipe["model"], 4, (3, 8, 8)), recipe=recipe)
    listed = ["mynets.py", "parts/__init__.py", "parts/blocks.py", "parts/deeper.py"]
    assert files.read_json(folder / "model/structure.json")["sources"] == listed
    for name in listed:
        assert (folder / "model/source" / name).read_text() == (folder / name).read_text()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    command = [sys.executable, "-c", LOAD, str(SCRIPTS), str(folder / "model")]
    plain = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True)
    assert plain.returncode != 0
    line = plain.stderr.strip().splitlines()[-1]
    assert f"its source is in {folder / 'model/source'}: that folder must be in PYTHONPATH" in line
    told = {**os.environ, "PYTHONPATH": str(folder / "model/source")}
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, env=told)
    assert (done.stdout, done.stderr) == ("Small\n", ""), "it loads, and without a word"


def test_a_module_that_fails_by_itself_is_not_said_to_be_missing(folder):
    recipe = {**settings("mynets:Small"), "classes": 4, "input_shape": [3, 8, 8]}
    checkpoint.save(folder / "model", models.build(recipe["model"], 4, (3, 8, 8)), recipe=recipe)
    (folder / "mynets.py").write_text("1 / 0")
    del sys.modules["mynets"]
    with pytest.raises(BudamaError, match="ZeroDivisionError") as told:
        checkpoint.load(folder / "model")
    assert "PYTHONPATH" not in str(told.value)
