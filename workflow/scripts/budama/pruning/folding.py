"""A layer beside what it would be with other weights, and which of the two is nearer to the layer before the cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from budama.networks import calls, modes
from budama.pruning import channels


@dataclass(frozen=True)
class Fold:
    """A layer with new weights beside those that it has.

    `module` and `weight` read all channels, `layer` the `kept` features. `free`: what is constant in the output does
    not count, since a BatchNorm behind takes it up. `promised`: the relative error by the Gram matrix, with the `ridge`
    λ over the mean of its diagonal.
    """

    name: str
    layer: Any
    module: Any
    weight: Tensor
    kept: Sequence[int]
    new_weight: Tensor
    new_bias: Tensor | None
    free: bool
    promised: float
    ridge: float

    def apply(self) -> None:
        """Give the layer its new weights."""
        self.layer.weight.data.copy_(self.new_weight)
        if self.new_bias is not None:
            self.layer.bias.data.copy_(self.new_bias)


@torch.no_grad()
def errors(model: nn.Module, folds: Sequence[Fold], images: Iterable[Tensor]) -> dict[str, tuple[float, float]]:
    """How far each layer's output is from the unpruned one's, without and with its new weights, in one pass.

    Both read the input that the layer has in `model`. Σ‖y − y'‖² over Σ‖y‖², of deviations from the channel's mean
    where the fold is `free`; 0 where the layer always gives 0.
    """
    sums: dict[str, list[_Squares]] = {}

    def judge(fold: Fold, value: Tensor) -> None:
        axis = 1 if isinstance(fold.module, channels._ConvNd) else -1
        read = value.index_select(axis, torch.tensor(fold.kept, device=value.device))
        own_bias = fold.layer.bias
        whole = _output(fold.layer, fold.weight, own_bias, value)
        plain = _output(fold.layer, fold.layer.weight, own_bias, read)
        new = _output(fold.layer, fold.new_weight, own_bias if fold.new_bias is None else fold.new_bias, read)
        own = sums.setdefault(fold.name, [_Squares(fold.free) for _ in range(3)])
        for one, output in zip(own, (whole, whole - plain, whole - new)):
            one.add(output.movedim(axis, -1).flatten(0, -2))

    device = next(model.parameters()).device
    with modes.evaluation(model), calls.through_layers(model), ExitStack() as hooks:
        for fold in folds:
            hooks.enter_context(fold.module.register_forward_pre_hook(lambda _, args, fold=fold: judge(fold, args[0])))
        for batch in images:
            model(batch.to(device, non_blocking=True))
    return {name: _relative(*own) for name, own in sums.items()}


class _Squares:
    """Σ x² over rows, or of the deviations from each column's mean where `free`."""

    def __init__(self, free: bool) -> None:
        self.free, self.count = free, 0
        self.total: Tensor | float = 0.0
        self.squares = 0.0

    def add(self, rows: Tensor) -> None:
        exact = rows.double()
        self.count += len(exact)
        self.total = self.total + exact.sum(0)
        self.squares += float(exact.square().sum())

    @property
    def value(self) -> float:
        taken = float(torch.as_tensor(self.total).square().sum()) / self.count if self.free else 0.0
        return max(self.squares - taken, 0.0)


def _relative(whole: _Squares, plain: _Squares, new: _Squares) -> tuple[float, float]:
    energy = whole.value
    return (plain.value / energy, new.value / energy) if energy > 0 else (0.0, 0.0)


def _output(module: Any, weight: Tensor, bias: Tensor | None, value: Tensor) -> Tensor:
    """The layer's output with other weights, of another width too; the layer itself carries no hook."""
    given = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return functional_call(module, given, (value,))
