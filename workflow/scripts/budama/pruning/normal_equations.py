"""Least squares from sums: weights that give a wanted output from what is read, and how far they are off."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from budama.pruning import patches

RIDGES = (1e-1, 1e-2, 1e-3, 1e-5, 1e-7)  # λ over the mean of the covariance's diagonal
ELEMENTS = 2**24  # of a float64 copy at once: 128 MiB


@dataclass(frozen=True)
class Weights:
    """A layer's weights `[blocks, outputs, features]` and bias `[blocks, outputs]`, in float64.

    `free`: what is constant in the output does not count. Without a bias the layer gives W p alone.
    """

    weight: Tensor
    bias: Tensor | None
    free: bool

    @classmethod
    def of(cls, module: Any, *, free: bool) -> Weights:
        weight = patches.weight_rows(module, module.weight.detach()).double()
        bias = None if module.bias is None else module.bias.detach().double().reshape(weight.shape[:2])
        return cls(weight, bias, free)

    def write(self, module: Any) -> None:
        """Give a layer these weights."""
        module.weight.data.copy_(self.weight.reshape(module.weight.shape))
        if self.bias is not None:
            module.bias.data.copy_(self.bias.flatten())


@dataclass
class Sums:
    """Over `count` positions, of what is read p and wanted y: Σp `[blocks, features]`, Σy `[blocks, outputs]`, Σppᵀ,
    Σypᵀ `[blocks, outputs, features]` and Σy²; float64."""

    count: int = 0
    read: Any = 0.0
    given: Any = 0.0
    among: Any = 0.0
    across: Any = 0.0
    squares: Any = field(default=0.0)

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """`[N, positions, blocks, features]` and `[N, positions, blocks, outputs]`."""
        rows, wanted = inputs.flatten(0, 1), outputs.flatten(0, 1)
        some = max(1, ELEMENTS // rows[0].numel()) if len(rows) else 1
        for part, target in zip(rows.split(some), wanted.split(some)):
            p, y = part.double().transpose(0, 1), target.double().transpose(0, 1)  # [blocks, rows, …]
            self.count += p.shape[1]
            self.read, self.given = self.read + p.sum(1), self.given + y.sum(1)
            self.among, self.across = self.among + p.mT @ p, self.across + y.mT @ p
            self.squares = self.squares + y.square().sum(1)

    def fitted(self, now: Weights, ridge: float) -> Weights:
        """The weights that minimise E‖y − W p − b‖² + λ‖W − W₀‖², W₀ those of `now`; λ is `ridge` times the mean of
        what p varies by. Where a bias or `free` takes up what is constant, of deviations from the means."""
        among, across = self._moments(centred=now.free or now.bias is not None)
        strength = ridge * among.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-30)
        regular = among + strength[:, None, None] * torch.eye(among.shape[1], dtype=among.dtype, device=among.device)
        missing = across - now.weight @ among
        weight = now.weight + torch.linalg.solve(regular, missing.mT).mT
        if now.bias is None or now.free:
            return replace(now, weight=weight)
        return replace(now, weight=weight, bias=(self.given - (weight @ self.read[..., None])[..., 0]) / self.count)

    def error(self, weights: Weights) -> float:
        """E‖y − W p − b‖² over E‖y‖², of deviations from the means where `free`; 0 where y is always 0."""
        among, across = self._moments(centred=True)
        mean = self.given / self.count
        varies = self.squares / self.count - mean.square()
        missed = varies - 2 * (weights.weight * across).sum(2) + (weights.weight @ among * weights.weight).sum(2)
        missed, whole = float(missed.sum()), float(varies.sum())
        if not weights.free:
            bias = 0.0 if weights.bias is None else weights.bias
            off = mean - (weights.weight @ (self.read / self.count)[..., None])[..., 0] - bias
            missed, whole = missed + float(off.square().sum()), whole + float(mean.square().sum())
        return max(missed, 0.0) / whole if whole > 0 else 0.0

    def _moments(self, *, centred: bool) -> tuple[Tensor, Tensor]:
        """E[p pᵀ] and E[y pᵀ], or the covariances."""
        among, across = self.among / self.count, self.across / self.count
        if centred:
            read, given = self.read / self.count, self.given / self.count
            among, across = among - read[:, :, None] * read[:, None], across - given[:, :, None] * read[:, None]
        return among, across
