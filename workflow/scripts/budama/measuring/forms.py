"""The forms in which a model can ship: a runtime and a precision each, ready to be called alike."""

from __future__ import annotations

import copy
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from budama import files
from budama.errors import BudamaError
from budama.measuring import precision
from budama.networks import layout, outputs
from budama.networks.onnx_file import OnnxModel

PYTORCH, ONNXRUNTIME, OPENVINO = "pytorch", "onnxruntime", "openvino"


@dataclass(frozen=True)
class Form:
    """A model in one runtime and precision; `reason` says why there is none.

    `path` is its file (None in PyTorch), `kept` the way in which int8 was quantised.
    """

    runtime: str
    precision: str
    path: Path | None = None
    kept: str | None = None
    reason: str | None = None

    @property
    def size_mib(self) -> float | None:
        return os.path.getsize(self.path) / 2**20 if self.path else None

    @property
    def on_cpu(self) -> bool:
        """Whether it runs on the CPU, wherever PyTorch runs."""
        return self.runtime != PYTORCH


def of(exported: Path | None, settings: Mapping[str, Any]) -> list[Form]:
    """The forms of a model: PyTorch's precisions, and its ONNX files in each runtime that `settings` (of `benchmark`)
    asks for. `exported` is the folder that the stage export wrote, where there is one."""
    found = [Form(PYTORCH, name) for name in dict.fromkeys(["float32", *settings["precisions"]])]
    told = files.read_json(exported / "export.json") if exported else {}
    onnx = told["formats"].get("onnx") if told.get("status") == "ok" else None
    if exported is None or onnx is None:
        return found
    whole = {"status": "ok", "file": onnx["file"]}
    for runtime in settings["runtimes"]:
        for name, one in {"float32": whole, **onnx["precisions"]}.items():
            reason = one.get("reason") or _missing(runtime)
            path = None if reason else exported / one["file"]
            found.append(Form(runtime, name, path, one.get("kept"), reason))
    return found


def ready(form: Form, model: nn.Module | None, device: torch.device, channels_last: bool = True) -> Ready:
    """`form` of `model`, the PyTorch model in float32 (which a file needs not), to be called. Raises where it cannot
    be."""
    if form.reason:
        raise BudamaError(form.reason)
    if form.runtime == PYTORCH:
        assert model is not None, "PyTorch's forms are made of it"
        if form.precision == precision.TFLOAT32 and device.type != "cuda":
            raise BudamaError(f"{form.precision} needs a GPU of NVIDIA's")
        dtype, memory = precision.dtype(form.precision), layout.of(model) if channels_last else torch.contiguous_format
        converted = outputs.Logits(copy.deepcopy(model).to(device, dtype).to(memory_format=memory))
        return Ready(converted.eval(), device, memory, form.precision)
    made = OnnxModel(str(form.path)) if form.runtime == ONNXRUNTIME else OpenVinoModel(str(form.path))
    return Ready(made, torch.device("cpu"), torch.contiguous_format)


class Ready(nn.Module):
    """A form of a model: float32 images `[N, C, H, W]` to float32 logits `[N, classes]`, wherever they come from.

    Its device, precision and memory format are its own: `to` changes nothing.
    """

    def __init__(
        self, model: nn.Module, device: torch.device, form: torch.memory_format, arithmetic: str = "float32"
    ) -> None:
        super().__init__()
        self.model, self.device, self.form = model, device, form
        self.arithmetic, self.dtype = arithmetic, precision.dtype(arithmetic)

    def forward(self, images: Tensor) -> Tensor:
        with precision.arithmetic(self.arithmetic):
            return self.model(images.to(self.device, self.dtype, memory_format=self.form)).float()

    def _apply(self, fn, recurse=True):
        return self


class OpenVinoModel(OnnxModel):
    """An ONNX file as a module, by OpenVINO on the CPU."""

    def open(self) -> OpenVinoModel:
        import openvino

        threads = {"INFERENCE_NUM_THREADS": self.threads or torch.get_num_threads()}
        self.session = openvino.Core().compile_model(self.path, "CPU", {**threads, "PERFORMANCE_HINT": "LATENCY"})
        return self

    def forward(self, images: Tensor) -> Tensor:
        if self.session is None:
            self.open()
        return torch.from_numpy(np.array(self.session([np.ascontiguousarray(images.numpy())])[0]))


def _missing(runtime: str) -> str | None:
    """Why a runtime cannot be used here."""
    if importlib.util.find_spec(runtime) is None:
        return f"{runtime} is not installed (pip install {runtime})"
    return None
