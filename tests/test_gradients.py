"""Gradients on a CPU, in processes of their own: kernels that write out of bounds would end the tests' own."""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from budama.networks import gradients, models

PROGRAM = Path(__file__).with_name("gradients_of_shapes.py")
LESSER = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}  # a better processor plays a lesser one
PROCESSORS = pytest.mark.parametrize("processor", [{}, LESSER], ids=["this processor", "as one without AVX-512"])
ON_CPU = torch.device("cpu")


def run(*arguments, **environment):
    """The program's exit status, and the last lines that it printed. glibc looks for damage where it can."""
    if platform.libc_ver()[0] == "glibc":
        environment |= {"GLIBC_TUNABLES": "glibc.malloc.check=3", "LD_PRELOAD": "libc_malloc_debug.so.0"}
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    everything = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    ended = subprocess.run(command, env=everything, capture_output=True, text=True)
    return ended.returncode, (ended.stdout + ended.stderr)[-300:]


@PROCESSORS
@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_are_those_of_float64(threads, processor):
    status, shown = run("--threads", threads, **processor)
    assert status == 0, shown
    assert "all right" in shown


def test_without_the_context_the_program_fails():
    """So the test above would notice. Processors differ; the kernels of this one, as a lesser one, may be right."""
    status, shown = run("--plain", **LESSER)
    if status == 0:
        pytest.skip(f"PyTorch's own kernels are right on this processor ({platform.machine()}): nothing to see here")
    assert status in (-signal.SIGABRT, -signal.SIGSEGV, 1), shown
    assert "1 2 " in shown, shown


class Called(nn.Module):
    """A user's own code, which calls a function where others have a layer."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 1, 1))

    def forward(self, images):
        return functional.conv2d(images, self.weight, stride=(2, 3), padding="valid").mean((2, 3))


def test_functions_that_a_users_code_calls_are_replaced_too():
    model, images = Called(), torch.randn(2, 3, 8, 9)
    plain = model(images)
    with gradients.exact(model, ON_CPU):
        assert torch.allclose(model(images), plain, atol=1e-6)
        (weight,) = torch.autograd.grad(model(images).square().sum(), model.weight)
    wide = Called().double()
    wide.load_state_dict(model.state_dict())
    (expected,) = torch.autograd.grad(wide(images.double()).square().sum(), wide.weight)
    assert torch.allclose(weight.double(), expected, rtol=1e-4)


def skipping(width):
    return nn.Sequential(nn.Conv2d(width, 8, 1, stride=2), nn.Conv2d(8, 8, 3, stride=2), nn.Conv2d(8, 8, 1))


@pytest.mark.parametrize(
    ("model", "device", "guarded"),
    [
        (skipping(15), "cpu", True),
        (skipping(16), "cpu", False),
        (skipping(15), "cuda", False),
        (models.build({"source": "budama", "name": "resnet_cifar"}, 10, (3, 32, 32)), "cpu", False),
        (models.build({"source": "torchvision", "name": "resnet18"}, 10, (3, 64, 64)), "cpu", False),
        (Called(), "cpu", True),
    ],
    ids=["narrow", "wide", "on a GPU", "resnet_cifar", "resnet18", "a function"],
)
def test_only_models_that_may_need_it_pay_for_it(model, device, guarded):
    assert (not isinstance(gradients.exact(model, device), gradients.nullcontext)) == guarded
