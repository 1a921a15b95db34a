"""Every architecture that the documentation names: pruned by 30 %, saved, loaded bit-equal, and exported to ONNX."""

import argparse
import runpy
from pathlib import Path

import pytest

from budama.errors import BudamaError

TABLE = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "model_table.py"))
FOLLOWED = [("torchvision", *entry) for entry in TABLE["TORCHVISION"].items()]
FOLLOWED += [("timm", *entry) for entry in TABLE["TIMM"].items() if entry[0] != "cspdarknet53"]


def row(source, name, size, *methods, onnx=True):
    return TABLE["row"](source, name, size, argparse.Namespace(ratio=0.3, methods=methods, no_onnx=not onnx))


@pytest.mark.parametrize("name", ["shufflenet_v2_x1_0", "squeezenet1_1"])
def test_a_small_architecture_is_pruned_and_loaded_bit_equal(name):
    cells = row("torchvision", name, 64, "magnitude", onnx=False)
    assert "equal" in cells
    assert "differs" not in cells


@pytest.mark.long
@pytest.mark.parametrize(("source", "name", "size"), FOLLOWED, ids=lambda value: str(value))
def test_an_architecture_is_pruned_loaded_bit_equal_and_exported(source, name, size):
    *cells, onnx, _ = row(source, name, size, "magnitude", "wanda").split("|")
    print(source, name, cells, onnx)
    assert [cells[i].strip() for i in (3, 6)] == ["equal", "equal"]
    assert float(onnx) < 1e-4


@pytest.mark.long
def test_an_architecture_that_cannot_be_followed_says_which_layer_stands_in_the_way():
    with pytest.raises(BudamaError, match=r"pruning\.ignore: \[stages\.0\.conv_exp\.conv\]"):
        row("timm", "cspdarknet53", 64, "magnitude", onnx=False)
