"""Methods that read how the channels of an input vary together: covariances of what the consumers read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from budama.errors import BudamaError
from budama.methods import OBS
from budama.pruning import channels
from budama.pruning.criteria.base import Criterion, weight_rows
from budama.pruning.dependency import Member, producer

RIDGE = 1e-3  # λ over the mean of the covariance's diagonal


class SurgeonOfStructures(Criterion):
    """What the consumers miss when the channel, and all that are worth less, are gone and the others make up for them.

    Optimal brain surgeon (Hassibi and Stork 1993, eq. 5) for whole channels (Kurtic et al. 2023, arXiv:2302.04089;
    Frantar and Alistarh 2022, arXiv:2208.11580): channel c costs ‖W_c‖² / [H⁻¹]_cc, summed over the consumers, with H
    the covariance of a consumer's input plus λI. The one that costs the least goes; then W ← W − H⁻¹[:,c] W_c /
    H⁻¹[c,c] and H⁻¹ ← H⁻¹ − H⁻¹[:,c] H⁻¹[c,:] / H⁻¹[c,c], and so on. A channel's score is the sum of costs up to its
    own removal. Blocks of a grouped convolution, and the channels of a depthwise one, do not make up for one another.
    """

    method = OBS

    def score(self, group: list[Member], size: int, statistics, seed: str) -> Tensor:
        readings = [_reading(member, size, statistics) for member in group if _reads(member)]
        if not readings:
            root = producer(group)
            raise BudamaError(f"no layer reads the channels of {root}; leave it out with pruning.ignore: [{root}]")
        scores, gone, total = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.bool), 0.0
        for _ in range(size):
            costs = torch.zeros(size, dtype=torch.float64)
            for reading in readings:
                costs += reading.costs()
            channel = int(costs.masked_fill(gone, float("inf")).argmin())
            total += max(float(costs[channel]), 0.0)
            scores[channel], gone[channel] = total, True
            for reading in readings:
                reading.remove(channel)
        return scores


class _Reading:
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


def _reads(member: Member) -> bool:
    """Whether a member consumes channels whose inputs were seen: convolutions and linear layers."""
    return isinstance(member.module, channels.READERS) and (member.role == "in" or channels.is_depthwise(member.module))


def _reading(member: Member, size: int, statistics) -> _Reading:
    own = next(rows for _, side, rows in weight_rows(member) if side == "in" or channels.is_depthwise(member.module))
    rows = own.detach().double().cpu()
    if channels.is_depthwise(member.module):
        count = statistics.get(member.name, "rows")
        mean = statistics.get(member.name, "input_sum") / count
        variance = (statistics.get(member.name, "input_sumsq") / count - mean.square()).clamp_min(0)
        return _Reading(rows[member.idxs], torch.diag(variance[member.idxs]), member.roots, size)
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
    return _Reading(weights, covariance, roots[first], size)
