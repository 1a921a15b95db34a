"""int8 of an ONNX file by ONNX Runtime's static quantisation: what is tried, and how it is made.

Weights are quantised a channel each, activations a tensor each, from their ranges on calibration images; operations
stand between QuantizeLinear and DequantizeLinear (QDQ), which ONNX Runtime, OpenVINO and TensorRT read. What cannot be
quantised, or is better not, stays in float32. (Jacob et al. 2018, "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference"; Nagel et al. 2021, "A White Paper on Neural Network Quantization".)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from budama.errors import BudamaError

# Layers that multiply by weights: nearly all time, and nearly all weights.
MULTIPLY = ("Conv", "Gemm", "MatMul")
QDQ = ("QuantizeLinear", "DequantizeLinear")
RANGES = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
PERCENTILE = 99.99  # of a tensor's values lie within the range, where ranges are percentiles


@dataclass(frozen=True)
class Attempt:
    """A way of quantising.

    Attributes:
        seven_bits: weights of 7 bits. Without VNNI, x86 processors add two products of 8 × 8 bits in 16 bits, which
            overflow; with 7 bits they cannot.
        only: kinds of operations to quantise; None for all that ONNX Runtime can.
        spared: whether the first and the last layer that multiply, and depthwise convolutions, stay in float32: few
            weights, and most of what int8 loses.
    """

    seven_bits: bool = False
    only: tuple[str, ...] | None = None
    spared: bool = False


# In the order in which they are tried: what is fastest and smallest first.
ATTEMPTS = {
    "whole": Attempt(),
    "seven_bits": Attempt(seven_bits=True),
    "multiplications": Attempt(seven_bits=True, only=MULTIPLY),
    "spared": Attempt(seven_bits=True, only=MULTIPLY, spared=True),
}


class Quantiser:
    """An ONNX file made ready (BatchNorm folded into the layer before it), with the ranges of its activations.

    Args:
        source: the float32 file.
        folder: where what is between may lie.
        images: batches `[B, C, H, W]` of calibration images.
        ranges: `minmax`, `percentile` or `entropy`: how an activation's range follows from its values.
        symmetric: whether ranges are symmetric about 0 and int8; otherwise they are as they are, and uint8.
    """

    def __init__(
        self,
        source: Path,
        folder: Path,
        images: Iterable[torch.Tensor],
        ranges: str = "minmax",
        symmetric: bool = False,
    ) -> None:
        from onnxruntime.quantization.shape_inference import quant_pre_process

        self.prepared = folder / "prepared.onnx"
        self.symmetric = symmetric
        # Symbolic shapes need sympy, and help no network with fixed sides.
        quant_pre_process(source, self.prepared, skip_symbolic_shape=True)
        self.ranges = activation_ranges(self.prepared, folder, images, ranges, symmetric)

    def write(self, path: Path, attempt: Attempt) -> dict[str, int]:
        """Write the quantised file; return how many layers that multiply by weights are `int8`, and how many `float32`.

        Raises BudamaError where none is int8.
        """
        import onnx
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
        from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
        from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

        model = load_model_with_shape_infer(self.prepared)
        kinds = list(attempt.only or sorted({*QLinearOpsRegistry, *QDQRegistry}))
        spared = _spared(model.graph) if attempt.spared else []
        options: dict[str, Any] = {"ActivationSymmetric": self.symmetric, "MatMulConstBOnly": attempt.only is not None}
        quantizer = QDQQuantizer(
            *(model, True, attempt.seven_bits, QuantType.QInt8),
            QuantType.QInt8 if self.symmetric else QuantType.QUInt8,
            *(self.ranges, [], spared, kinds, options),
        )
        quantizer.quantize_model()
        graph = quantizer.model.model.graph
        _trim(graph)
        onnx.save(quantizer.model.model, str(path))
        counts = layers(graph)
        if not counts["int8"]:
            raise BudamaError("it has no layer that can be quantised")
        return counts


def largest(ranges: Any) -> float:
    """The largest absolute value in `activation_ranges`."""
    return max(float(np.abs(end).max()) for one in ranges.data.values() for end in one.range_value)


def layers(graph: Any) -> dict[str, int]:
    """How many operations that multiply by weights of their own read int8, and how many float32."""
    weights = {one.name for one in graph.initializer}
    dequantised = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    counts = {"int8": 0, "float32": 0}
    for node in _multiplying(graph, weights | dequantised.keys()):
        counts["int8" if all(name in dequantised for name in node.input[:2]) else "float32"] += 1
    return counts


def _trim(graph: Any) -> None:
    """Make the file small: without this, what is not weights takes 6 % of a small network's.

    One of equal constants is kept (zero points are all alike), what stands between quantising and dequantising gets
    numbers for names, and the shapes of what is between, which follow from the rest, go.
    """
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return  # a branch or a loop may read constants from outside
    first: dict[tuple, str] = {}
    kept, renamed = [], {}
    for constant in graph.initializer:
        array = _numpy(constant)
        name = first.setdefault((array.dtype.str, array.shape, array.tobytes()), constant.name)
        if name == constant.name:
            kept.append(constant)
        renamed[constant.name] = name
    outputs = {one.name for one in graph.output}
    for number, node in enumerate(node for node in graph.node if node.op_type in QDQ):
        node.name = ""
        if node.output[0] not in outputs:
            renamed[node.output[0]] = f"q{number}"
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]


def _numpy(constant: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.to_array(constant)


def _multiplying(graph: Any, weights: Iterable[str]) -> Iterator[Any]:
    """The nodes that multiply by one of `weights`."""
    known = set(weights)
    return (node for node in graph.node if node.op_type in MULTIPLY and len(node.input) > 1 and node.input[1] in known)


def _spared(graph: Any) -> list[str]:
    """Names of the first and last node that multiply by weights, and of depthwise convolutions."""
    weights = {one.name: one for one in graph.initializer}
    every = list(_multiplying(graph, weights))
    ends = [node.name for node in (every[:1] + every[-1:])]
    groups = {node.name: next((a.i for a in node.attribute if a.name == "group"), 1) for node in every}
    return [*ends, *(node.name for node in every if 1 < groups[node.name] == weights[node.input[1]].dims[0])]


def activation_ranges(
    model: Path, folder: Path, images: Iterable[torch.Tensor], ranges: str = "minmax", symmetric: bool = False
) -> Any:
    """Ranges of all activations over `images`, as ONNX Runtime has them; `folder`: where what is between may lie.

    A batch at a time, whose activations are all kept meanwhile.
    """
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    options = {"symmetric": symmetric, **({"percentile": PERCENTILE} if ranges == "percentile" else {})}
    method = getattr(CalibrationMethod, RANGES[ranges])
    calibrator = create_calibrator(
        model, None, augmented_model_path=str(folder / "augmented.onnx"), calibrate_method=method, extra_options=options
    )
    name = calibrator.infer_session.get_inputs()[0].name
    for batch in images:
        calibrator.collect_data(_Once({name: batch.numpy()}))
    return calibrator.compute_data()


class _Once:
    """What ONNX Runtime's calibrator reads: one batch, and then nothing."""

    def __init__(self, feed: Mapping[str, Any]) -> None:
        self.feed: Mapping[str, Any] | None = feed

    def get_next(self) -> Mapping[str, Any] | None:
        feed, self.feed = self.feed, None
        return feed
