"""An ONNX file: as a module, and what it says of itself."""

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from budama import files
from budama.networks import titles


class OnnxModel(nn.Module):
    """An ONNX file as a module, by ONNX Runtime on the CPU: images `[N, C, H, W]` to logits `[N, classes]`.

    The file is opened by the first call (or `open`), with as many threads as torch has then, or `threads`. A deep copy
    opens it anew, so that two copies share nothing.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        super().__init__()
        self.path, self.threads = str(path), threads
        self.session: Any = None
        self.input = ""

    def open(self) -> "OnnxModel":
        """Read the file; raises what ONNX Runtime raises where it cannot be run."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads or torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.session is None:
            self.open()
        return torch.from_numpy(self.session.run(None, {self.input: np.ascontiguousarray(images.numpy())})[0])

    def __deepcopy__(self, memo) -> "OnnxModel":
        return type(self)(self.path, self.threads)


def facts_of(recipe: dict) -> dict[str, str]:
    """What an ONNX file says of itself: the classes in the order of the logits, and how images are made ready."""
    normalisation = recipe.get("normalisation") or {}
    channels, height, width = recipe["input_shape"]
    facts = {
        "model": titles.title(recipe["model"]),
        "class_names": recipe.get("class_names"),
        "channels": channels,
        "image_size": [height, width],
        **{key: normalisation.get(key) for key in ("resize", "mean", "std")},
        "preprocessing": "shorter side to resize (null: as it is), middle to image_size, (pixels / 255 - mean) / std",
    }
    return {
        name: told if isinstance(told, str) else json.dumps(told, ensure_ascii=False) for name, told in facts.items()
    }


def facts_in(path: str | Path) -> dict[str, str]:
    """The facts that were written into a file."""
    import onnx

    return {one.key: one.value for one in onnx.load(str(path)).metadata_props}


def finish(path: str | Path, facts: Mapping[str, str]) -> None:
    """Write the facts into an ONNX file, and take out of it what the exporter notes of its own making: the lines of the
    sources, with their places on this machine, in every operation. Equal models are equal files then, wherever they
    are made."""
    import onnx

    written = onnx.load(str(path))
    graphs = [written.graph, *written.functions]
    for graph in graphs:
        for node in graph.node:
            del node.metadata_props[:]
        del graph.metadata_props[:]
    for value in (*written.graph.input, *written.graph.output, *written.graph.value_info):
        del value.metadata_props[:]
    onnx.helper.set_model_props(written, dict(facts))
    files.write_bytes(path, written.SerializeToString(deterministic=True))


@contextmanager
def quiet() -> Iterator[None]:
    """The exporters tell pages of progress and warnings of their own; errors still come as exceptions."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
