"""Optimal brain surgeon's algebra for channels: what their removal costs a reader, the others making up for them.

Hassibi and Stork 1993 (eq. 5), for structures Kurtic et al. 2023 (arXiv:2302.04089): with H the covariance of a
reader's input plus λI and W its weights, channels R cost tr(W_Rᵀ (H⁻¹[R,R])⁻¹ W_R); then W ← W − H⁻¹[:,R] (H⁻¹[R,R])⁻¹
W_R, and H⁻¹ ← H⁻¹ − H⁻¹[:,R] (H⁻¹[R,R])⁻¹ H⁻¹[R,:].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from budama.pruning import channels
from budama.pruning.dependency import Member

if TYPE_CHECKING:
    from budama.pruning.calibration import Statistics

RIDGE = 1e-3  # λ over the mean of the covariance's diagonal


class Reading:
    """One consumer's weights `[channels, n]` and the inverse H⁻¹ `[channels, channels]`; `roots`: whose they are."""

    def __init__(self, weights: Tensor, covariance: Tensor, roots: Tensor, size: int) -> None:
        self.weights, self.roots, self.size = weights.clone(), roots, size
        strength = RIDGE * covariance.diagonal().mean().clamp_min(1e-30)
        self.inverse = torch.linalg.inv(covariance + strength * torch.eye(len(covariance), dtype=torch.float64))
        self.left = torch.ones(len(roots), dtype=torch.bool)

    def costs(self) -> Tensor:
        """Of every root channel `[size]`; 0 for those that are gone."""
        own = self.weights.square().sum(1) / self.inverse.diagonal().clamp_min(1e-300)
        return torch.zeros(self.size, dtype=torch.float64).index_add_(0, self.roots, own * self.left)

    def remove(self, root: int) -> None:
        """Have the channels that are left make up for those of `root`."""
        for at in (self.roots == root).nonzero().flatten().tolist():
            column = self.inverse[:, at] / self.inverse[at, at]
            self.weights.addr_(column, self.weights[at].clone(), alpha=-1)
            self.inverse.addr_(column, self.inverse[at].clone(), alpha=-1)
            self.left[at] = False
            self.weights[at] = 0
            self.inverse[at, at] = 1  # row and column are 0: it is out of what is left

    def remove_together(self, roots: Tensor) -> float:
        """The same for several root channels at once, and what they cost together: tr(W_Rᵀ (H⁻¹[R,R])⁻¹ W_R). Weights
        and inverse keep the channels that are left alone."""
        gone = torch.isin(self.roots, roots) & self.left
        if not gone.any():
            return 0.0
        stay = self.left & ~gone
        columns, rows = self.inverse[stay][:, gone], self.inverse[gone][:, stay]
        weights = self.weights[gone]
        solved = torch.linalg.solve(self.inverse[gone][:, gone], torch.cat([weights, rows], 1))
        new, less = solved.split([weights.shape[1], rows.shape[1]], 1)
        cost = float((weights * new).sum())
        self.weights = self.weights[stay].addmm_(columns, new, alpha=-1)
        self.inverse = self.inverse[stay][:, stay].addmm_(columns, less, alpha=-1)
        self.roots, self.left = self.roots[stay], self.left[stay]
        return max(cost, 0.0)


def reads(member: Member) -> bool:
    """Whether a member consumes channels whose inputs were seen: convolutions and linear layers."""
    return isinstance(member.module, channels.READERS) and (member.role == "in" or channels.is_depthwise(member.module))


def reading(member: Member, size: int, statistics: Statistics) -> Reading:
    """What a member that `reads` does with the group's channels, of which the root has `size`; `statistics` have the
    moments of its input (`gram.moments`)."""
    weight = member.module.weight.detach().double().cpu()
    depthwise = channels.is_depthwise(member.module)
    rows = channels.output_rows(member.module, weight) if depthwise else channels.input_rows(member.module, weight)
    if depthwise:
        count = statistics.get(member.name, "rows")
        mean = statistics.get(member.name, "input_sum") / count
        variance = (statistics.get(member.name, "input_sumsq") / count - mean.square()).clamp_min(0)
        return Reading(rows[member.idxs], torch.diag(variance[member.idxs]), member.roots, size)
    channel = statistics.get(member.name, "channel")
    order = torch.argsort(channel[member.idxs], stable=True)
    idxs, roots = member.idxs[order], member.roots[order]
    mine, counts = channel[idxs].unique_consecutive(return_counts=True)
    first = counts.cumsum(0) - counts
    covariance = statistics.get(member.name, "covariance")[mine][:, mine]
    if isinstance(member.module, nn.modules.conv._ConvNd) and member.module.groups > 1:
        block = mine // (channels.width(member.module, "in") // member.module.groups)
        covariance = covariance * (block[:, None] == block[None])
    weights = rows[idxs].reshape(len(mine), -1)
    return Reading(weights, covariance, roots[first], size)
