"""Models made ready to be timed: copies on the device, in the precision, memory format and form that was asked for."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from budama.errors import BudamaError
from budama.measuring.precision import TFLOAT32

WARM_UP = 3  # passes before a graph is captured, so that libraries have chosen kernels and taken their memory


@dataclass(frozen=True)
class How:
    """`form`: memory format of images and weights; `compile`: by torch.compile; `cuda_graph`: replayed from a graph."""

    form: torch.memory_format
    precision: str
    compile: bool
    cuda_graph: bool


def prepare(models: Mapping[str, nn.Module], batch: Tensor, how: How) -> tuple[dict[str, Callable], dict[str, str]]:
    """Copies ready to run on `batch`, and the errors of those that cannot run: a row that says so, not a crash."""
    ready: dict[str, Callable] = {}
    errors: dict[str, str] = {}
    for label, model in models.items():
        try:
            _check(batch.device, how)
            ready[label] = _ready(model, batch, how)
        except Exception as error:  # no kernel for this precision, no compiler, an operation that waits for the GPU
            told = "" if isinstance(error, BudamaError) else f"{type(error).__name__}: "
            errors[label] = told + (str(error).strip() or "no message").splitlines()[0]
    return ready, errors


def _check(device: torch.device, how: How) -> None:
    if device.type != "cuda" and (how.cuda_graph or how.precision == TFLOAT32):
        raise BudamaError(f"{'a CUDA graph' if how.cuda_graph else TFLOAT32} needs a GPU of NVIDIA's")


def _ready(model: Any, batch: Tensor, how: How) -> Callable:
    own = copy.deepcopy(model).eval().to(device=batch.device, dtype=batch.dtype, memory_format=how.form)
    run = torch.compile(own) if how.compile else own
    with torch.inference_mode():
        run(batch)
        return _graph(run, batch) if how.cuda_graph else run


def _graph(model: Callable, batch: Tensor) -> Callable:
    """`model` on this very `batch` as one CUDA graph, in a callable that replays it.

    The passes before it are made where an operation that waits for the GPU is an error: a capture that fails at one
    leaves torch's random numbers on the GPU unusable in this process.
    """
    aside = torch.cuda.Stream(batch.device)
    aside.wait_stream(torch.cuda.current_stream(batch.device))
    with torch.cuda.stream(aside), _waiting_is_an_error():
        for _ in range(WARM_UP):
            model(batch)
    torch.cuda.current_stream(batch.device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = model(batch)
    return _Replay(model, batch, graph, output)


@dataclass(frozen=True)
class _Replay:
    """A captured graph and all that it reads and writes by address, which must live as long as it does."""

    model: Callable
    batch: Tensor
    graph: torch.cuda.CUDAGraph
    output: Tensor

    def __call__(self, _batch: Tensor) -> Tensor:
        self.graph.replay()
        return self.output


@contextmanager
def _waiting_is_an_error() -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
