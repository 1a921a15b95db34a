"""Every architecture that the documentation names: pruned by 30 %, saved, loaded bit-equal, and exported to ONNX.

`pytest -m long -s tests/test_model_table.py` prints the rows of docs/models.md as it goes.
"""

import re
import runpy
from pathlib import Path

import pytest

from budama.errors import BudamaError

ROOT = Path(__file__).parents[1]
TABLE = runpy.run_path(str(ROOT / "benchmarks" / "model_table.py"))
NAMED = [("torchvision", *entry) for entry in TABLE["TORCHVISION"].items()]
NAMED += [("timm", *entry) for entry in TABLE["TIMM"].items()]
METHODS = ["magnitude", "wanda"]
DOCUMENTED = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/models.md").read_text(encoding="utf-8").splitlines()
    if line.startswith(("| torchvision/", "| timm/"))
]


@pytest.mark.parametrize("name", ["shufflenet_v2_x1_0", "squeezenet1_1"])
def test_a_small_architecture_is_pruned_and_loaded_bit_equal(name):
    found = TABLE["row"]("torchvision", name, 64, 0.3, ["magnitude"], onnx=False)
    assert found.left["magnitude"][2]
    assert found.left["magnitude"][1] < 0.75


def test_the_documented_table_has_a_good_row_for_every_named_architecture():
    assert [row[:2] for row in DOCUMENTED] == [[f"{source}/{name}", str(size)] for source, name, size in NAMED]
    for row in DOCUMENTED:
        assert (row[5], row[8]) == ("equal", "equal")
        assert float(row[9]) < 1e-4


def test_an_architecture_that_takes_too_long_is_a_row_that_says_so():
    """Pruning catches every exception where it looks for the layers in the way, so none may be what ends it."""
    assert TABLE["within"](0.2, ("timm", "mixnet_s", 64, 0.3, ["magnitude"], False)) == "**no**: not done in 0.2 s"


def test_an_architecture_that_is_refused_is_a_row_with_the_reason():
    assert TABLE["within"](60, ("torchvision", "no_such_net", 64, 0.3, ["magnitude"], False)).startswith("**no**: ")


@pytest.mark.long
@pytest.mark.parametrize(("source", "name", "size"), NAMED, ids=lambda value: str(value))
def test_an_architecture_is_pruned_loaded_bit_equal_and_exported(source, name, size):
    found = TABLE["attempt"](source, name, size, 0.3, METHODS)
    print(f"\n| {source}/{name} | {size} | {found.cells()} |", flush=True)
    assert all(equal and parameters < 0.9 and gmacs < 0.95 for parameters, gmacs, equal in found.left.values())
    assert list(found.left) == METHODS
    assert found.onnx < 1e-4


@pytest.mark.long
def test_an_architecture_that_cannot_be_followed_says_which_layers_stand_in_the_way():
    layers = ", ".join(f"stages.{stage}.conv_exp.conv" for stage in range(5))
    with pytest.raises(BudamaError, match=re.escape(f"leave them out with pruning.ignore: [{layers}]")):
        TABLE["row"]("timm", "cspdarknet53", 64, 0.3, ["magnitude"], onnx=False)
