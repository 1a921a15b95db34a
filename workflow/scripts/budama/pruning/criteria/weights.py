"""Methods that read the weights alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from budama import methods
from budama.pruning import channels
from budama.pruning.criteria.base import Criterion, Unavailable, gather, weight_rows
from budama.pruning.dependency import Member, producer

_BATCHNORM = nn.modules.batchnorm._BatchNorm


class Magnitude(Criterion):
    """Group L2 norm: √Σ w² over every weight of the group that belongs to the channel.

    Li et al. 2017 (arXiv:1608.08710), section 3.1, rank filters by the norm of their own weights; Fang et al. 2023
    (arXiv:2301.12900), eq. 5, take the norm over the whole group: the filters that produce the channel, the scale of a
    normalisation it passes through, and the weights that consume it. Biases and normalisation shifts are left out.
    """

    method = methods.MAGNITUDE

    def score(self, group: list[Member], size: int, statistics, seed: str) -> Tensor:
        return squared_norms(group, size).sqrt()


class L1(Criterion):
    """Σ|w| over the weights that produce the channel, added up over the group's layers.

    Li et al. 2017 (arXiv:1608.08710), section 3.1: s_j = Σ|F_ij| of the filter's own weights; normalisations and the
    layers that consume the channel are left out. A depthwise filter is one of those that produce it.
    """

    method = methods.L1

    def score(self, group: list[Member], size: int, statistics, seed: str) -> Tensor:
        total = torch.zeros(size, dtype=torch.float64)
        for member in group:
            if isinstance(member.module, channels.CONSUMERS) and member.role != "in":
                for _, side, weights in weight_rows(member):
                    if side == "out":
                        total += gather(member, weights.double().abs().sum(1), size)
        return total


class LAMP(Criterion):
    """Layer-adaptive magnitude: s_c / Σ s_d over all channels d of the group with s_d ≥ s_c, s the squared group norm.

    Lee et al. 2021 (arXiv:2010.07611), eq. 3, for channels in place of single weights. Within a group it ranks as
    magnitude does; across groups it bounds the distortion of each one, and never empties a group, whose largest score
    is 1.
    """

    method = methods.LAMP
    comparable = True

    def score(self, group: list[Member], size: int, statistics, seed: str) -> Tensor:
        squared = squared_norms(group, size)
        ordered, order = squared.sort(stable=True)
        remaining = ordered.flip(0).cumsum(0).flip(0)
        return torch.zeros_like(squared).index_copy_(0, order, ordered / remaining.clamp_min(1e-300))


class FPGM(Criterion):
    """Distance to the geometric median: Σ_d ‖F_c − F_d‖₂ over the other channels d, added up over the group's layers.

    He et al. 2019 (arXiv:1811.00250), eq. 4: the filter nearest to all the others is the one they can replace. F_c are
    the weights of one convolution or linear layer that produce the channel, or those that consume it (as in
    Torch-Pruning's group version); normalisations are left out.
    """

    method = methods.FPGM

    def score(self, group: list[Member], size: int, statistics, seed: str) -> Tensor:
        total = torch.zeros(size, dtype=torch.float64)
        for member in group:
            for _, _, weights in weight_rows(member):
                if weights.ndim == 2 and weights.shape[1] > 1:
                    roots, filters = _by_root(member, weights)
                    total.index_add_(0, roots, torch.cdist(filters, filters).sum(1).cpu())
        return total


class Fold(Criterion):
    """Distance of the filters that produce the channel to those of the nearest other channel: min_d ‖F_c − F_d‖₂.

    It says which groups lose channels and which stay as places; channels are then merged, not removed (`merging`):
    model folding, Wang et al. 2025 (arXiv:2502.10216), by k-means over these filters.
    """

    method = methods.FOLD

    def score(self, group: list[Member], size: int, statistics, seed: str) -> Tensor:
        if size == 1:
            return torch.zeros(1, dtype=torch.float64)
        rows = filters(group, size)
        return torch.cdist(rows, rows).fill_diagonal_(float("inf")).min(1).values


class BNScale(Criterion):
    """Σ|γ| of the BatchNorm layers that the channel passes through.

    Liu et al. 2017, network slimming (arXiv:1708.06519), section 3. The paper trains with an L1 penalty on γ first;
    here the baseline is taken as it is. Groups without BatchNorm cannot be ranked.
    """

    method = methods.BN_SCALE

    def unavailable(self, model: nn.Module) -> str | None:
        if any(isinstance(module, _BATCHNORM) and module.affine for module in model.modules()):
            return None
        return "the model has no BatchNorm layer with a scale"

    def score(self, group: list[Member], size: int, statistics, seed: str) -> Tensor:
        norms = [m for m in group if isinstance(m.module, _BATCHNORM) and m.module.affine]
        if not norms:
            root = producer(group)
            raise Unavailable(
                f"the channels of {root} pass through no BatchNorm; leave them out for all methods with "
                f"pruning.ignore: [{root}]"
            )
        start = torch.zeros(size, dtype=torch.float64)
        return sum((gather(norm, norm.module.weight.detach().abs(), size) for norm in norms), start)


def filters(group: list[Member], size: int) -> Tensor:
    """Weights and biases of the convolutions and linear layers that produce the channels: `[size, n]`, float64."""
    found = []
    for member in group:
        if isinstance(member.module, channels.READERS) and member.role != "in":
            for _, side, rows in weight_rows(member, biases=True):
                if side == "out":
                    found.append(_by_root(member, rows)[1].cpu())
    return torch.cat(found, 1) if found else torch.zeros(size, 1, dtype=torch.float64)


def squared_norms(group: list[Member], size: int) -> Tensor:
    """Σ w² of each channel over the whole group, biases left out: `[size]`, float64."""
    total = torch.zeros(size, dtype=torch.float64)
    for member in group:
        for _, _, weights in weight_rows(member):
            total += gather(member, weights.double().square().sum(1), size)
    return total


def _by_root(member: Member, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The root channels of a member, and for each its weights in one row: flattened channels have several."""
    order = torch.argsort(member.roots, stable=True)
    roots = torch.unique(member.roots)
    return roots, weights.double()[member.idxs[order].to(weights.device)].reshape(len(roots), -1)
