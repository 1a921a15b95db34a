"""One forward and backward pass over the calibration images collects what every method needs.

Two kinds of statistics are kept, both on the device and of a size that does not depend on the number of images:

* at the input of every layer that consumes channels (convolution, linear, attention), so after normalisation,
  non-linearity and residual sum: the sum of each channel and of its squares (Wanda: Sun et al. 2024, eq. 1; FLAP: An et
  al. 2024), and the share of positions at which it is active (coverage: Pei et al. 2017, section 4.1);
* for every parameter, the batch gradient g of the cross-entropy against the weight w: the mean over batches of
  (sum of g·w)² (Taylor: Molchanov et al. 2019, eq. 8) and of the sum of (g·w)² (optimal brain damage: LeCun et al.
  1990) over each channel's weights.

The model is in evaluation mode: BatchNorm uses its running statistics, as the pruned model will.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from budama.errors import BudamaError
from budama.networks import calls, gradients, modes, outputs
from budama.pruning import channels

if TYPE_CHECKING:
    from budama.data.batching import Batches
    from budama.data.dataset import Data


@dataclass(frozen=True)
class Statistics:
    """What the calibration pass saw. `values` maps to float64 vectors on the CPU:

    * ``LAYER/input_sum``, ``LAYER/input_sumsq``, ``LAYER/input_active`` (a share, 0 to 1), one entry an input channel,
      and ``LAYER/rows``, the number of positions seen;
    * ``PARAMETER/taylor_out``, ``…/taylor_in``, ``…/hessian_out``, ``…/hessian_in``, one entry a channel of that side;
      for a parameter that belongs to no layer, ``…/taylor_0``, ``…/hessian_0``, …, one vector an axis.
    """

    values: dict[str, Tensor]
    images: int
    batches: int
    threshold: float

    def get(self, name: str, kind: str) -> Tensor:
        """The vector `kind` of the layer or parameter `name`; BudamaError where the pass did not see it."""
        try:
            return self.values[f"{name}/{kind}"]
        except KeyError:
            raise BudamaError(f"calibration: no {kind} of {name}; it was collected from another model") from None

    def save(self, path: str | Path) -> None:
        """Write as safetensors, whole or not at all."""
        from safetensors.torch import save

        from budama import files

        # One entry: safetensors writes several in an order that differs from run to run; equal statistics would be
        # unequal files, and Snakemake would prune and fine-tune anew.
        about = json.dumps({"images": self.images, "batches": self.batches, "threshold": self.threshold})
        files.write_bytes(path, save(self.values, metadata={"calibration": about}))

    @classmethod
    def load(cls, path: str | Path) -> Statistics:
        """Read what `save` wrote; BudamaError where the file is missing, truncated, or not one of ours."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {})["calibration"])
                values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            return cls(values, about["images"], about["batches"], about["threshold"])
        except (OSError, SafetensorError) as error:
            raise BudamaError(f"{path}: cannot be read as calibration statistics ({error})") from None
        except KeyError as error:
            raise BudamaError(f"{path}: holds no calibration statistics ({error} is missing)") from None


def batches(data: Data, settings: dict, device: torch.device | str = "cpu") -> Batches:
    """The calibration images of `data`, by the keys `batches` and `batch_size` of a baseline's calibration."""
    from budama.data import batching

    images = data.calibration(settings["batches"] * settings["batch_size"])
    return batching.batches(data, images, settings["batch_size"], limit=settings["batches"], device=device)


def collect(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, threshold: float, device: torch.device | str = "cpu"
) -> Statistics:
    """The statistics of `model` over `batches` of (images `[N, C, H, W]`, labels `[N]`), in one pass.

    `threshold` is coverage's, on activations that are scaled to 0…1 over each image's layer input. The model is left as
    it was (mode, gradients, no hooks), after an error too. Raises BudamaError where there are no batches.
    """
    inputs, changes = _Inputs(threshold), _Gradients(model)
    images = count = 0
    device = torch.device(device)
    exact = gradients.exact(model, device)
    with _calibrating(model, inputs):
        for batch, labels in batches:
            batch, labels = batch.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            with torch.enable_grad(), exact:
                loss = functional.cross_entropy(outputs.logits(model(batch)), labels)
                inputs.next_batch()
                changes.add(torch.autograd.grad(loss, changes.parameters, allow_unused=True))
            images, count = images + len(batch), count + 1
    if not count:
        raise BudamaError("calibration: there is no calibration image")
    values = {**inputs.result(), **changes.result(count)}
    return Statistics({k: v.cpu().contiguous() for k, v in values.items()}, images, count, threshold)


def reestimate_batchnorm(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Replace the running statistics of every BatchNorm by their mean over `batches` (images alone are used).

    Pruning changes the distribution of what each layer reads; means and variances of the unpruned model then break
    the pruned one (Li et al. 2020, EagleEye, section 3.3). Every batch counts alike, and a last, smaller one is left
    out. All other layers stay in evaluation mode, and the arithmetic is float32. Raises BudamaError without batches.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return
    device = next(model.parameters()).device
    size = 0
    with modes.evaluation(model), _averaging(norms), torch.no_grad(), torch.autocast(device.type, enabled=False):
        for images, _ in batches:
            if len(images) < size:
                continue
            size = size or len(images)
            model(images.to(device, non_blocking=True))
    if not size:
        raise BudamaError("BatchNorm re-estimation: there is no calibration image")


@contextmanager
def _averaging(norms: Sequence[Any]) -> Iterator[None]:
    """The running statistics of BatchNorm layers start anew, and count every batch alike."""
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative average
            norm.train()
        yield
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum


class _Inputs:
    """Sums over the inputs of consuming layers, collected by forward pre-hooks."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.sums: dict[str, list[Tensor]] = {}
        self.rows: dict[str, int] = {}
        self.seen: dict[tuple, tuple[Tensor, Tensor, Tensor, Tensor]] = {}  # one tensor often feeds several layers

    def register(self, name: str, module: nn.Module):
        axis = 1 if isinstance(module, channels._ConvNd) else -1
        return calls.watch_input(module, lambda value: self._add(name, value.detach(), axis))

    def _add(self, name: str, value: Tensor, axis: int) -> None:
        key = (value.data_ptr(), value.shape, value.stride(), value._version, axis)
        if key not in self.seen:  # the tensor is kept, so that its address is not given to another one in this batch
            self.seen[key] = (value, *_input_sums(value, axis, self.threshold))
        sums = self.seen[key][1:]
        self.rows[name] = self.rows.get(name, 0) + value.numel() // value.shape[axis]
        if name in self.sums:
            for known, one in zip(self.sums[name], sums):
                known += one
        else:
            self.sums[name] = [one.double() for one in sums]

    def next_batch(self) -> None:
        self.seen.clear()

    def result(self) -> dict[str, Tensor]:
        values = {}
        for name, (total, sumsq, active) in self.sums.items():
            values[f"{name}/input_sum"] = total
            values[f"{name}/input_sumsq"] = sumsq
            values[f"{name}/input_active"] = active / self.rows[name]
            values[f"{name}/rows"] = torch.tensor([float(self.rows[name])], dtype=torch.float64)
        return values


@torch.no_grad()
def _input_sums(value: Tensor, axis: int, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """Per channel: the sum, the sum of squares, and at how many positions it lies above `threshold` after scaling.

    The scaling is DeepXplore's: an image's inputs of one layer are mapped to 0…1 by their smallest and largest value
    (Pei et al. 2017, section 4.1), so one pass is enough.
    """
    others = [d for d in range(value.ndim) if d != axis % value.ndim]
    own = list(range(1, value.ndim))
    # On a CPU amin and amax are 20 times faster than aminmax, a float mask 4 times faster than a bool one, and memory
    # that is new to the process slow: one scratch tensor serves both sums.
    if value.is_cuda:
        return _input_sums_on_gpu(value, axis, others, threshold)
    low, high = value.amin(own, keepdim=True), value.amax(own, keepdim=True)
    scratch = torch.gt(value, low + threshold * (high - low), out=torch.empty_like(value))
    active = scratch.sum(others)
    return value.sum(others), torch.mul(value, value, out=scratch).sum(others), active


def _input_sums_on_gpu(value: Tensor, axis: int, others: list[int], threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """`_input_sums` as a GPU does it fastest: in as few passes over the values as there are kernels for."""
    images = value.movedim(axis, -1).flatten(1)  # a view, for channels_last
    low, high = (one.view(-1, *[1] * (value.ndim - 1)) for one in torch.aminmax(images, dim=1))
    active = (value > low + threshold * (high - low)).sum(others)
    return value.sum(others), torch.linalg.vector_norm(value, dim=others).square(), active


class _Gradients:
    """Sums of gradient times weight over each channel's weights, and over batches."""

    def __init__(self, model: nn.Module) -> None:
        named = {name: p for name, p in model.named_parameters() if p.is_floating_point()}
        self.names, self.parameters = list(named), list(named.values())
        self.layouts = _layouts(model, named)
        self.sums: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, gradients: tuple[Tensor | None, ...]) -> None:
        used = [i for i, gradient in enumerate(gradients) if gradient is not None]
        left: list[Any] = [gradients[i] for i in used]
        right: list[Any] = [self.parameters[i] for i in used]
        products = torch._foreach_mul(left, right)
        for index, product in zip(used, products):
            for side, layout in self.layouts[self.names[index]]:
                change = layout(product)
                self._add(f"{self.names[index]}/taylor_{side}", change.sum(1).double().square())
                self._add(f"{self.names[index]}/hessian_{side}", change.square().sum(1).double())

    def _add(self, key: str, value: Tensor) -> None:
        if key in self.sums:
            self.sums[key] += value
        else:
            self.sums[key] = value

    def result(self, batches: int) -> dict[str, Tensor]:
        """Means over batches; half of it for the Hessian's diagonal: ½·E[g²]·w²."""
        return {key: value / batches * (0.5 if "/hessian_" in key else 1.0) for key, value in self.sums.items()}


def _layouts(model: nn.Module, named: dict[str, nn.Parameter]) -> dict[str, list]:
    """For each parameter the sides it has channels on, each with a function from its shape to `[channels, n]`."""
    layouts: dict[str, list] = {name: [] for name in named}
    for prefix, module in model.named_modules():
        norm_or_layer = isinstance(getattr(module, "weight", None), nn.Parameter)
        if not (norm_or_layer or isinstance(module, nn.MultiheadAttention)):
            continue
        for name, side in dict.fromkeys(channels.slices(module, "out") + channels.slices(module, "in")):
            full, value = f"{prefix}.{name}".lstrip("."), channels.parameter(module, name)
            if value is None or full not in named or side in dict(layouts[full]):
                continue
            if side == "out" or value.ndim > 1:
                layouts[full].append((side, _layout(module, name, side)))
    for name, parameter in named.items():  # class tokens, layer scales: no layer of their own
        if not layouts[name]:
            layouts[name] = [(str(axis), _axis(axis)) for axis in range(parameter.ndim)]
    return layouts


def _layout(module: nn.Module, name: str, side: str):
    return lambda value: channels.rows(module, name, side, value)


def _axis(axis: int):
    return lambda value: value.movedim(axis, 0).reshape(value.shape[axis], -1)


@contextmanager
def _calibrating(model: nn.Module, inputs: _Inputs) -> Iterator[None]:
    """Evaluation mode, gradients for every parameter, hooks at every consuming layer; all of it undone at the end."""
    with modes.evaluation(model), modes.all_gradients(model), calls.through_layers(model), ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, channels.CONSUMERS):
                hooks.enter_context(inputs.register(name, module))
        yield
