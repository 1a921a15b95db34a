"""A model in other programs' formats: ONNX and torch.export, each checked against PyTorch on real images."""

import io
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from budama import files
from budama.errors import BudamaError, one_line
from budama.networks import models, onnx_file, outputs, titles
from budama.networks.hooks import check_no_hooks
from budama.networks.onnx_file import quiet
from budama.progress import log

FORMATS = {"onnx": "model.onnx", "torch_export": "model.pt2"}
# Of logits, in their own unit, or of the largest of them where that is above 1: float32 keeps 7 digits. PyTorch's own
# logits of 158 (EfficientNet-B0 after a few steps) are 5e-4 away from float64's; nothing can agree with them better.
TOLERANCE = 1e-4
TEMPLATE = Path(__file__).with_name("load_example.py.j2")


@dataclass(frozen=True)
class Agreement:
    """How an exported model's logits compare with PyTorch's on `images` images."""

    images: int
    max_difference: float
    largest_logit: float
    top1_equal: int

    @property
    def ok(self) -> bool:
        """Whether every image has the same top-1 class and logits within `TOLERANCE`."""
        return self.top1_equal == self.images and self.max_difference <= TOLERANCE * max(1.0, self.largest_logit)


def to_onnx(
    model: nn.Module, input_shape, path: str | Path, exporter: str = "dynamo", facts: Mapping[str, str] | None = None
) -> str:
    """Write `model` as ONNX with inputs `images` `[batch, C, H, W]` and outputs `logits`; return the exporter's name.

    `facts` become the file's metadata: what a program must know that has nothing but the file (`onnx_file.facts_of`).

    `exporter` is `dynamo` (torch.export) or `torchscript`, much faster but on its way out of PyTorch. Where the first
    fails the second is tried. Raises BudamaError where both fail.
    """
    check_no_hooks(model)
    images = models.example_input(input_shape, batch=2)
    reasons = []
    for name in ["dynamo", "torchscript"] if exporter == "dynamo" else [exporter]:
        dynamic: dict[str, Any]
        if name == "dynamo":
            dynamic = {"dynamo": True, "dynamic_shapes": ({0: torch.export.Dim("batch")},), "external_data": False}
        else:
            dynamic = {"dynamo": False, "dynamic_axes": {"images": {0: "batch"}, "logits": {0: "batch"}}}
        try:
            with quiet(), torch.no_grad():
                torch.onnx.export(
                    model.eval(), (images,), str(path), input_names=["images"], output_names=["logits"], **dynamic
                )
            onnx_file.finish(path, facts or {})
            return name
        except Exception as error:
            if files.disk_is_full(error):
                raise
            reasons.append(f"{name}: {type(error).__name__}: {one_line(error)}")
    raise BudamaError(f"the model cannot be written as ONNX ({'; '.join(reasons)})")


def to_program(model: nn.Module, input_shape, path: str | Path) -> None:
    """Write `model` as a `torch.export` program (.pt2) for any batch size. Raises BudamaError where that fails."""
    check_no_hooks(model)
    images = models.example_input(input_shape, batch=2)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(
                model.eval(), (images,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
            )
            content = io.BytesIO()  # torch's own writer ends the process where the disk is full
            torch.export.save(program, content)
    except Exception as error:
        raise BudamaError(f"the model cannot be written by torch.export ({one_line(error)})") from error
    files.write_bytes(path, content.getvalue())


def load_program(path: str | Path) -> nn.Module:
    """The module of a .pt2 file; it takes float32 images of any batch size on the CPU."""
    with quiet():
        return torch.export.load(str(path)).module()


def agreement(model: nn.Module, exported: Callable, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> Agreement:
    """Compare `exported` with `model` (in eval mode, on the CPU) on every image of `batches`."""
    images = equal = 0
    difference = largest = 0.0
    for batch, _ in batches:
        with torch.no_grad():
            expected, found = outputs.logits(model(batch)), exported(batch)
        images += len(batch)
        equal += int((expected.argmax(1) == found.argmax(1)).sum())
        difference = max(difference, float((expected - found).abs().max()))
        largest = max(largest, float(expected.abs().max()))
    return Agreement(images, difference, largest, equal)


def write(
    folder: Path,
    model: nn.Module,
    formats: list[str],
    input_shape,
    batches: Iterable,
    facts: Mapping[str, str] | None = None,
) -> dict:
    """Write `model` into `folder` in each of `formats` and check it; return the part of export.json about each.

    `facts` go into formats that have a place for them.

    Raises BudamaError where a file does not agree with PyTorch: such a file is never left for a user.
    """
    written = {}
    with torch.no_grad():
        given = model(models.example_input(input_shape))
        if not isinstance(given, torch.Tensor) or given.dim() != 2:
            model = outputs.Logits(model).eval()
    for name in formats:
        path = folder / FORMATS[name]
        about = {"file": path.name}
        if name == "onnx":
            about["exporter"] = to_onnx(model, input_shape, path, facts=facts)
            exported: nn.Module = onnx_file.OnnxModel(path)
        else:
            to_program(model, input_shape, path)
            exported = load_program(path)
        found = agreement(model, exported, batches)
        if not found.ok:
            raise BudamaError(
                f"{path.name} does not agree with PyTorch: logits differ by up to {found.max_difference:.3g}, and "
                f"{found.images - found.top1_equal} of {found.images} images get another class"
            )
        written[name] = {
            **about,
            "size_mib": os.path.getsize(path) / 2**20,
            "images": found.images,
            "top1_equal": found.top1_equal,
            "max_logit_difference": found.max_difference,
            "largest_logit": found.largest_logit,
        }
        log(f"{path.name}: {found.images} images, logits differ by at most {found.max_difference:.2g}")
    return written


def write_example(path: str | Path, checkpoint_folder: str | Path, recipe: dict) -> None:
    """Render `load_example.py`: one page that loads a checkpoint and classifies images."""
    from jinja2 import Environment, StrictUndefined

    here = Path(path).resolve().parent
    channels, height, _ = recipe["input_shape"]
    normalisation = recipe.get("normalisation") or {}
    template = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(files.read_text(TEMPLATE))
    text = template.render(
        title=titles.title(recipe["model"]),
        own=recipe["model"]["source"] == "python",
        onnx=FORMATS["onnx"],
        model=os.path.relpath(checkpoint_folder, here),
        channels=channels,
        size=height,
        resize=normalisation.get("resize") or height,
        mean=list(normalisation.get("mean") or [0.0] * channels),
        std=list(normalisation.get("std") or [1.0] * channels),
    )
    files.write_text(path, text)
