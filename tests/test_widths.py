"""`round_to: auto`: what is measured on the machine, and what is chosen by it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from budama.measuring import widths
from budama.networks import models
from budama.pruning import pruner, rounding

STAGE = Path(__file__).parents[1] / "workflow/scripts"


def curve(time) -> dict:
    """A measurement in which a width takes `time(width)`."""
    return {"widths": {str(width): {"ratio": time(width) / time(128)} for width in range(95, 129)}}


def in_steps_of(unit: int):
    """A machine that works in blocks: any width costs as much as the next multiple, and a remainder costs extra."""
    return lambda width: -(-width // unit) * unit * (1 if width % unit == 0 else 1.1)


@pytest.mark.parametrize("unit", [4, 8, 16, 32])
def test_the_unit_in_which_the_machine_works_is_found(unit):
    assert rounding.recommended(curve(in_steps_of(unit)), narrowest=512) == unit


def test_where_time_grows_with_the_width_nothing_is_rounded():
    assert rounding.recommended(curve(lambda width: width**2), narrowest=512) == 1


def test_noise_of_a_percent_is_no_reason_to_round():
    noisy = curve(lambda width: width * (1 + 0.01 * (-1) ** width))
    assert rounding.recommended(noisy, narrowest=512) == 1


def test_one_fast_width_makes_no_rule():
    spike = curve(lambda width: width**2 * (0.5 if width == 104 else 1))
    assert rounding.recommended(spike, narrowest=512) == 1


def test_narrow_layers_are_not_rounded_to_all_or_nothing():
    assert rounding.recommended(curve(in_steps_of(16)), narrowest=64) == 16
    assert rounding.recommended(curve(in_steps_of(16)), narrowest=32) < 16


def test_every_width_is_timed_beside_the_widest():
    torch.set_num_threads(1)
    measured = widths.measure(widest=24, narrowest=16, side=4, rounds=3)
    assert json.loads(json.dumps(measured)) == json.loads(json.dumps(measured, allow_nan=False))
    assert list(measured["widths"]) == [str(width) for width in range(16, 25)]
    assert measured["widths"]["24"]["ratio"] == 1
    assert all(entry["ms"] > 0 for entry in measured["widths"].values())
    assert rounding.recommended(measured, 512) >= 1


def test_pruning_keeps_to_the_multiples_that_the_machine_likes():
    model = models.build({"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8}}, 10, (1, 8, 8))
    asked = {"ratio": 0.3, "round_to": "auto", "widths": curve(in_steps_of(4))}
    pruned = pruner.prune(model, (1, 8, 8), 10, "magnitude", asked)
    assert pruned.round_to == 4
    assert {layer["after"] % 4 for layer in pruned.layers if layer["name"] != "fc"} == {0}
    assert any(layer["after"] < layer["before"] for layer in pruned.layers)


def test_auto_without_a_measurement_is_told_in_one_line():
    settings = {"method": "magnitude", "round_to": "auto", "calibration": {}}
    command = [sys.executable, STAGE / "prune.py", "--spec", json.dumps(settings), "--dataset", "d", "--model", "m"]
    command += ["--calibration", "c", "--output", "o", "--report", "r"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: pruning.round_to is auto: --widths must name the file that widths.py wrote on this machine"
    ]
