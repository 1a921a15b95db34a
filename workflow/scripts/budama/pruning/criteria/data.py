"""Methods that read the calibration statistics: activations at the consumers' inputs, or gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from budama.errors import BudamaError
from budama.methods import COVERAGE, FLAP, HESSIAN, TAYLOR, WANDA
from budama.pruning import channels
from budama.pruning.criteria.base import Criterion, gather, weight_rows
from budama.pruning.dependency import Member, producer


class Wanda(Criterion):
    """Σ |w| · ‖X_c‖₂ over the weights w that consume the channel, added up over the consumers.

    Sun et al. 2024 (arXiv:2306.11695), eq. 1, scores one weight as |W_ij| · ‖X_j‖₂; here the scores of all weights that
    read channel j are added up. X_j is the channel at the consumer's input, over all calibration images and positions.
    """

    method = WANDA

    def score(self, group: list[Member], size: int, statistics, seed: str) -> Tensor:
        total = torch.zeros(size, dtype=torch.float64)
        for member in _consumers(group):
            norms = statistics.get(member.name, "input_sumsq").sqrt()
            weights = sum(
                rows.double().abs().sum(1).cpu()
                for name, side, rows in weight_rows(member)
                if side == "in" or channels.is_depthwise(member.module)
            )
            total += gather(member, weights * norms, size)
        return total


class Fluctuation(Criterion):
    """Var(x_c) · Σ w² over the weights w that consume the channel, added up over the consumers.

    An et al. 2024 (arXiv:2312.11983), the fluctuation metric: of a channel whose mean a bias can take up, what is lost
    is how it fluctuates around that mean, times the squared norm of the weights that read it. x_c is the channel at the
    consumer's input, over all calibration images and positions.
    """

    method = FLAP

    def score(self, group: list[Member], size: int, statistics, seed: str) -> Tensor:
        total = torch.zeros(size, dtype=torch.float64)
        for member in _consumers(group):
            rows = statistics.get(member.name, "rows")
            mean = statistics.get(member.name, "input_sum") / rows
            variance = (statistics.get(member.name, "input_sumsq") / rows - mean.square()).clamp_min(0)
            weights = sum(
                rows.double().square().sum(1).cpu()
                for name, side, rows in weight_rows(member)
                if side == "in" or channels.is_depthwise(member.module)
            )
            total += gather(member, weights * variance, size)
        return total


class Coverage(Criterion):
    """Share of calibration positions at which the channel is active, averaged over the consumers.

    Pei et al. 2017, DeepXplore (arXiv:1705.06640), section 4.1: a neuron is covered when its output, scaled to 0…1
    over its layer for one image, lies above a threshold (`calibration.coverage_threshold`). Hu et al. 2016
    (arXiv:1607.03250), eq. 1, prune by the average percentage of zeros, the same at threshold 0. The channel is looked
    at where it is read.
    """

    method = COVERAGE

    def score(self, group: list[Member], size: int, statistics, seed: str) -> Tensor:
        total, readers = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
        for member in _consumers(group):
            active = statistics.get(member.name, "input_active")
            seen = gather(member, torch.ones_like(active), size)  # a flattened channel has several features
            total += torch.where(seen > 0, gather(member, active, size) / seen.clamp_min(1), 0)
            readers += seen > 0
        return total / readers.clamp_min(1)


class Taylor(Criterion):
    """Σ over the group's parameters of the mean over batches of (Σ g·w)².

    Molchanov et al. 2019 (arXiv:1906.10771), eq. 8: the squared first-order change of the loss when a structure of
    weights is set to zero, with the gradient g of a mini-batch. One structure is the part of one parameter (weights,
    biases, scales and shifts of normalisations) that belongs to the channel; a flattened channel has one a feature.
    """

    method = TAYLOR
    statistic = "taylor"

    def score(self, group: list[Member], size: int, statistics, seed: str) -> Tensor:
        total = torch.zeros(size, dtype=torch.float64)
        for member in group:
            for name, side, _ in weight_rows(member, biases=True):
                total += gather(member, statistics.get(name, f"{self.statistic}_{side}"), size)
        return total


class Hessian(Taylor):
    """Σ ½·E[g²]·w² over every weight of the group that belongs to the channel: optimal brain damage's saliency.

    LeCun et al. 1990, eq. 5, with the diagonal of the Hessian approximated by the mean squared mini-batch gradient
    (empirical Fisher), as in Torch-Pruning's group Hessian importance.
    """

    method = HESSIAN
    statistic = "hessian"


def _consumers(group: list[Member]) -> list[Member]:
    found = [member for member in group if member.consumes and isinstance(member.module, nn.Module)]
    if not found:
        root = producer(group)
        raise BudamaError(f"no layer reads the channels of {root}; leave it out with pruning.ignore: [{root}]")
    return found
