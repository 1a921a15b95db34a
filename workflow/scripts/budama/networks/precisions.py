"""float16 and int8 of an ONNX file, each made from the float32 file and judged on real images before it counts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from budama import files
from budama.data import batching
from budama.data.dataset import Data
from budama.errors import BudamaError, one_line
from budama.networks import onnx_file, outputs, quantising
from budama.progress import log

PRECISIONS = {"float32": "model.onnx", "float16": "model.float16.onnx", "int8": "model.int8.onnx"}
# Of the largest logit: float16 keeps 11 binary digits, of which a network's many layers leave seven or eight.
FLOAT16_TOLERANCE = 2**-6
FLOAT16_LARGEST = 65504.0
FLOAT16_EQUAL = 0.99  # share of images that must keep their class: those between two classes may fall to the other side
LEAST_CALIBRATED, MOST_CALIBRATED = 32, 512  # images: fewer give no range to rely on, more change ranges hardly
MOST_JUDGED = 2048  # images
BATCH_VALUES = (
    32 * 3 * 224 * 224
)  # values of images in a batch: all its activations are kept while ranges are collected
INT8_LOSS_POINTS = 1.0  # the first attempt that loses at most this on the images is kept


@dataclass(frozen=True)
class Calibration:
    """What int8 is calibrated with: batches of images `[B, C, H, W]`, how ranges follow, whether about 0."""

    batches: Sequence[Tensor] = ()
    ranges: str = "minmax"
    symmetric: bool = False

    @property
    def images(self) -> int:
        return sum(len(batch) for batch in self.batches)


@dataclass
class Judge:
    """Holds a file against the float32 model on `batches` of images and labels, whose logits it computes once."""

    model: nn.Module
    batches: Iterable[tuple[Tensor, Tensor]]
    expected: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        with torch.no_grad():
            self.expected = [outputs.logits(self.model(images)) for images, _ in self.batches]
        if not self.expected:
            raise BudamaError("there is no image to judge float16 and int8 on; the selection split is empty")

    def __call__(self, exported: Callable) -> dict[str, Any]:
        """What is said of `exported`: agreement with the model, and the accuracy of both, on all images."""
        images = equal = right = right_before = 0
        difference = largest = 0.0
        for (batch, labels), expected in zip(self.batches, self.expected, strict=True):
            found = exported(batch)
            if not torch.isfinite(found).all():
                raise BudamaError("its logits are not finite")
            images += len(batch)
            equal += int((expected.argmax(1) == found.argmax(1)).sum())
            right += int((found.argmax(1) == labels).sum())
            right_before += int((expected.argmax(1) == labels).sum())
            difference = max(difference, float((expected - found).abs().max()))
            largest = max(largest, float(expected.abs().max()))
        return {
            "images": images,
            "top1_equal": equal,
            "max_logit_difference": difference,
            "largest_logit": largest,
            "accuracy_percent": 100 * right / images,
            "float32_accuracy_percent": 100 * right_before / images,
        }


def of(folder: Path, model: nn.Module, data: Data, settings: Mapping[str, Any], facts: Mapping[str, str]) -> dict:
    """`write` with images of `data`: judged on those of the selection split, int8 calibrated on training images.

    `settings` are those of the stage export.
    """
    asked = settings["export"]
    if set(asked["precisions"]) <= {"float32"}:
        return {}
    size = int(np.clip(BATCH_VALUES // np.prod(data.input_shape), 1, 64))
    judged = batching.batches(data, "selection", size, limit=max(1, MOST_JUDGED // size))
    calibration = Calibration()
    if "int8" in asked["precisions"]:
        images = data.calibration(min(settings["calibration_images"], MOST_CALIBRATED))
        batches = [images for images, _ in batching.batches(data, images, size)]
        calibration = Calibration(batches, asked["int8_ranges"], asked["int8_symmetric"])
    return write(folder, asked["precisions"], Judge(model, judged), calibration, facts)


def write(
    folder: Path, asked: Sequence[str], judge: Judge, calibration: Calibration, facts: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Write each of `asked` but float32 beside `folder`'s model.onnx; return the part of export.json about each.

    What cannot be made, or not made well, is `unavailable` with its reason, and leaves no file.
    """
    makers: dict[str, Callable[[Path, Path], dict]] = {
        "float16": lambda source, path: _float16(source, path, judge),
        "int8": lambda source, path: _int8(source, path, judge, calibration),
    }
    told = {}
    for name in (name for name in PRECISIONS if name in asked and name in makers):
        path = folder / PRECISIONS[name]
        try:
            about = makers[name](folder / PRECISIONS["float32"], path)
            onnx_file.finish(path, facts)
        except Exception as error:  # of the converter, too: a row with its reason, and nothing else is lost
            if files.disk_is_full(error):
                raise
            path.unlink(missing_ok=True)
            told[name] = {"status": "unavailable", "reason": one_line(error), "attempts": getattr(error, "tried", [])}
            log(f"{path.name} is left out: {one_line(error)}")
            continue
        size = os.path.getsize(path) / 2**20
        told[name] = {"status": "ok", "reason": None, "file": path.name, "size_mib": size, **about}
        log(f"{path.name}: {about['top1_equal']} of {about['images']} images keep their class")
    return told


def _float16(source: Path, path: Path, judge: Judge) -> dict[str, Any]:
    """float16 throughout, but for the input and the logits. Raises BudamaError where it disagrees."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with tempfile.TemporaryDirectory() as between, onnx_file.quiet():
        # ONNX Runtime's CPU computes in float32 what a GPU does in float16: it would not see what overflows there.
        images = (images for images, _ in judge.batches)
        largest = quantising.largest(quantising.activation_ranges(source, Path(between), images))
        if largest > FLOAT16_LARGEST:
            raise BudamaError(f"activations reach {largest:.3g}; float16 holds {FLOAT16_LARGEST:.0f} at most")
        onnx.save(convert_float_to_float16(onnx.load(str(source)), keep_io_types=True), str(path))
    found = judge(onnx_file.OnnxModel(path))
    far = found["max_logit_difference"] > FLOAT16_TOLERANCE * max(1.0, found["largest_logit"])
    if far or found["top1_equal"] < FLOAT16_EQUAL * found["images"]:
        raise BudamaError(
            f"its logits differ by up to {found['max_logit_difference']:.3g} of {found['largest_logit']:.3g}, and "
            f"{found['images'] - found['top1_equal']} of {found['images']} images get another class"
        )
    return found


class NoAttempt(BudamaError):
    """No attempt gave a model that runs; `tried` says of each what came of it."""

    def __init__(self, tried: list[dict[str, Any]]) -> None:
        super().__init__(str(tried[-1]["error"]))
        self.tried = tried


def _int8(source: Path, path: Path, judge: Judge, calibration: Calibration) -> dict[str, Any]:
    """The first attempt that loses at most INT8_LOSS_POINTS on the images, or else the most accurate."""
    if calibration.images < LEAST_CALIBRATED:
        raise BudamaError(f"it has {calibration.images} calibration images; int8 needs {LEAST_CALIBRATED} or more")
    tried: list[dict[str, Any]] = []
    best: tuple[float, bytes, dict] | None = None
    with tempfile.TemporaryDirectory() as between, onnx_file.quiet():
        quantiser = quantising.Quantiser(
            source, Path(between), calibration.batches, calibration.ranges, calibration.symmetric
        )
        for name, attempt in quantising.ATTEMPTS.items():
            one = Path(between) / f"{name}.onnx"
            try:
                layers = quantiser.write(one, attempt)
                found = judge(onnx_file.OnnxModel(one))
            except Exception as error:
                if files.disk_is_full(error):
                    raise
                tried.append({"name": name, "accuracy_percent": None, "error": one_line(error)})
                continue
            tried.append({"name": name, "accuracy_percent": found["accuracy_percent"], "error": None})
            if best is None or found["accuracy_percent"] > best[0]:
                about = {"kept": name, "layers_int8": layers["int8"], "layers_float32": layers["float32"], **found}
                best = found["accuracy_percent"], one.read_bytes(), about
            if found["accuracy_percent"] >= found["float32_accuracy_percent"] - INT8_LOSS_POINTS:
                break
    if best is None:
        raise NoAttempt(tried)
    files.write_bytes(path, best[1])
    how = {"ranges": calibration.ranges, "symmetric": calibration.symmetric}
    return {**best[2], "attempts": tried, **how, "calibration_images": calibration.images}
