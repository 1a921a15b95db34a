"""Methods that read how the channels of an input vary together: covariances of what the consumers read."""

from __future__ import annotations

import torch
from torch import Tensor

from budama.errors import BudamaError
from budama.methods import OBS
from budama.pruning.criteria.base import Criterion
from budama.pruning.dependency import Member, producer
from budama.pruning.surgeon import reading, reads


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
        readings = [reading(member, size, statistics) for member in group if reads(member)]
        if not readings:
            root = producer(group)
            raise BudamaError(f"no layer reads the channels of {root}; leave it out with pruning.ignore: [{root}]")
        scores, gone, total = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.bool), 0.0
        for _ in range(size):
            costs = torch.zeros(size, dtype=torch.float64)
            for one in readings:
                costs += one.costs()
            channel = int(costs.masked_fill(gone, float("inf")).argmin())
            total += max(float(costs[channel]), 0.0)
            scores[channel], gone[channel] = total, True
            for one in readings:
                one.remove(channel)
        return scores
