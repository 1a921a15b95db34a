"""Parameters, size and multiply–accumulate operations of a model.

The operations are those of ptflops' `pytorch` backend, the convention of the tables that budama is compared with. It
also counts biases, normalisation, pooling and activations, and it is checked against torch's own counter, which sees
convolutions and matrix products alone: where their numbers differ, layer by layer, a warning gives both.
"""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from budama.networks import calls, copies
from budama.progress import log
from budama.slow_imports import without, without_compiler

LARGE = 2e9  # operations: a pass takes longer than importing (1 s) what torch computes shapes without storage with


@dataclass(frozen=True)
class Complexity:
    """What a model costs for one image.

    `size_mib`: parameters and buffers, in MiB. `gmacs`: 10⁹ operations as ptflops counts them, plus `uncounted_gmacs`,
    the matrix products that it does not see (functional attention; none in a convolutional network).
    `conv_linear_gmacs`: torch's counter, for convolutions and matrix products alone; the rest, `other_gmacs`, is
    biases, normalisation, pooling, activations and element-wise operations.
    `layers`: `{"name", "gmacs", "parameters"}` of every layer that ptflops counts as one.
    """

    parameters: int
    size_mib: float
    gmacs: float
    conv_linear_gmacs: float
    other_gmacs: float
    uncounted_gmacs: float
    layers: list[dict] = field(repr=False)


def measure(model: nn.Module, input_shape) -> Complexity:
    """Complexity of `model` for one image of `input_shape` (C, H, W). The model is left as it is: a copy is measured.

    Where ptflops and torch.utils.flop_counter disagree, the log says so once, and `gmacs` is ptflops' number.
    """
    counted, elementwise, products, layers = _ptflops(copies.sharing_tensors(model).eval(), _images(model, input_shape))
    by_layer, total = _torch_counts(model, input_shape, weightless=counted > LARGE)
    functional = total - sum(_checked(layer, by_layer.get(name, 0), name) for name, layer in layers.items())
    if products > functional:
        _warn(f"functional matrix products have {products} operations by ptflops, {functional}")
    uncounted = max(0, functional - products)
    macs = counted + elementwise + products + uncounted
    return Complexity(
        parameters=_parameters(model),
        size_mib=size_mib(model),
        gmacs=macs / 1e9,
        conv_linear_gmacs=total / 1e9,
        other_gmacs=(macs - total) / 1e9,
        uncounted_gmacs=uncounted / 1e9,
        layers=[
            {"name": name, "gmacs": layer["macs"] / 1e9, "parameters": _parameters(layer["module"])}
            for name, layer in layers.items()
        ],
    )


def size_mib(model: nn.Module) -> float:
    """Parameters and buffers in MiB (2²⁰ bytes), each tensor once."""
    return sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()]) / 2**20


def conv_linear_macs(model: nn.Module, input_shape) -> int:
    """Multiply–accumulates of convolutions and matrix products for one image: fast, for a search over ratios."""
    return _torch_counts(model, input_shape, weightless=True)[1]


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _images(model: nn.Module, input_shape, device: torch.device | str | None = None) -> torch.Tensor:
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return torch.zeros(1, *input_shape, device=device or like.device, dtype=like.dtype)


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Keep attention from its fused operators, which no counter sees into."""
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)


def _engine():
    """ptflops' engine. It would import torchvision and timm (5 s) to know two of their layers; models of theirs have
    imported them already, and other models have no such layers."""
    with without("torchvision", "timm"):
        import ptflops.pytorch_engine as engine
    # ptflops takes timm's attention for one layer and so leaves out the projections inside it: count its parts instead.
    for kind in [k for k in engine.MODULES_MAPPING if k.__module__.startswith("timm.")]:
        del engine.MODULES_MAPPING[kind]
    return engine


def _ptflops(model: Any, images: torch.Tensor) -> tuple[int, int, int, dict[str, dict]]:
    """What ptflops' `get_flops_pytorch` adds up, in parts: layers, element-wise functions, matrix products.

    ptflops adds methods and hooks to `model`.
    The fourth value has the layers that it counts as one: `{name: {"module", "macs"}}`.
    """
    engine = _engine()
    elementwise: list[int] = []
    products: list[int] = []

    def recorded(handler, out: list[int]):
        def record(*args, **kwargs) -> int:
            out.append(int(handler(*args, **kwargs)))
            return 0

        return record

    subclasses = _subclasses(model, engine)
    engine.MODULES_MAPPING.update(subclasses)
    tensor_ops = dict(engine.TENSOR_OPS_MAPPING)
    additive = (torch.mul, torch.Tensor.mul, torch.add, torch.Tensor.add)
    for operation, handler in tensor_ops.items():
        engine.TENSOR_OPS_MAPPING[operation] = recorded(handler, elementwise if operation in additive else products)
    engine.add_flops_counting_methods(model)
    model.start_flops_count(ost=io.StringIO(), verbose=False, ignore_list=[])
    engine.patch_functional(elementwise)
    engine.patch_tensor_ops([])
    try:
        with calls.by_place(model), torch.no_grad(), _plain_attention():
            model(images)
        counted, _ = model.compute_average_flops_cost()
        layers = dict(_counted_layers(model, engine))
    finally:
        model.stop_flops_count()
        engine.unpatch_functional()
        engine.unpatch_tensor_ops()
        engine.TENSOR_OPS_MAPPING.update(tensor_ops)
        for kind in subclasses:
            del engine.MODULES_MAPPING[kind]
    return int(counted), sum(map(int, elementwise)), sum(products), layers


def _subclasses(model: nn.Module, engine) -> dict[type, Any]:
    """What counts the convolutions and linear layers of a user's own class: ptflops knows torch's classes alone."""
    found = {}
    for kind in {type(module) for module in model.modules()} - set(engine.MODULES_MAPPING):
        if issubclass(kind, nn.modules.conv._ConvNd | nn.Linear):
            base = next((one for one in kind.__mro__ if one in engine.MODULES_MAPPING), None)
            if base is not None:
                found[kind] = engine.MODULES_MAPPING[base]
    return found


def _counted_layers(module: Any, engine, prefix: str = "") -> Iterator[tuple[str, dict]]:
    """Layers in the order of definition, not below a layer that is counted as a whole."""
    if engine.is_supported_instance(module):
        yield prefix, {"module": module, "macs": int(module.__flops__)}
        return
    for name, child in module.named_children():
        yield from _counted_layers(child, engine, f"{prefix}.{name}" if prefix else name)


def _torch_counts(model: nn.Module, input_shape, weightless: bool) -> tuple[dict[str, int], int]:
    """Multiply–accumulates (half of the FLOPs) that torch.utils.flop_counter sees: by module, and in all.

    `weightless`: by a pass that computes shapes alone, where the model allows it.
    """
    from torch.utils import flop_counter

    def count(copied: nn.Module, images: torch.Tensor) -> flop_counter.FlopCounterMode:
        counter = flop_counter.FlopCounterMode(display=False)
        with torch.no_grad(), _plain_attention(), without_compiler(flop_counter._FlopCounterMode), counter:
            copied.eval()(images)
        return counter

    counter = None
    if weightless:
        with contextlib.suppress(Exception):  # a forward pass that looks at values
            counter = count(copies.without_storage(model), _images(model, input_shape, "meta"))
    counter = counter or count(copies.sharing_tensors(model), _images(model, input_shape))
    counts = {name: sum(by_operator.values()) // 2 for name, by_operator in counter.get_flop_counts().items()}
    root = type(model).__name__
    return {name.removeprefix(f"{root}."): count for name, count in counts.items()}, counter.get_total_flops() // 2


def _checked(layer: dict, torch_macs: int, name: str) -> int:
    """Products in one layer by torch's counter, after checking that ptflops' number is these and a bias, no more."""
    module, ptflops_macs = layer["module"], layer["macs"]
    if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear | nn.MultiheadAttention):
        return torch_macs
    surplus = ptflops_macs - torch_macs
    if isinstance(module, nn.MultiheadAttention):  # scaling of q, softmax, biases: small beside the products
        agrees = 0 <= surplus <= 0.05 * torch_macs
    else:
        outputs = module.out_features if isinstance(module, nn.Linear) else module.out_channels
        per_output = torch_macs // outputs if outputs else 0
        inside = prod(module.weight.shape[1:])
        agrees = surplus == (per_output // inside * outputs if module.bias is not None else 0)
    if not agrees:
        _warn(f"the layer {name or type(module).__name__} has {ptflops_macs} operations by ptflops, {torch_macs}")
    return torch_macs


@cache
def _warn(counts: str) -> None:
    """Tell a disagreement of the two counters, once."""
    log(f"warning: {counts} by torch.utils.flop_counter; reports have ptflops' number")
