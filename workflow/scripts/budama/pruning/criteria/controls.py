"""Controls: what a method must beat to have shown anything."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from budama.methods import ORIGINAL_FT, RANDOM, SCRATCH
from budama.pruning.criteria.base import Criterion
from budama.pruning.criteria.weights import Magnitude
from budama.pruning.dependency import Member


class Random(Criterion):
    """Scores drawn uniformly from 0…1, from the seed and the name of the group's root.

    Blalock et al. 2020 (arXiv:2003.03033), section 4.5: the baseline that a criterion must beat.
    """

    method = RANDOM

    def score(self, group: list[Member], size: int, statistics, seed: str) -> Tensor:
        digest = hashlib.sha256(f"{seed}:{size}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
        return torch.rand(size, generator=generator, dtype=torch.float64)


class Scratch(Magnitude):
    """The structure that `magnitude` finds, with new weights: does pruning find weights, or only a smaller network?

    Liu et al. 2019 (arXiv:1810.05270), section 3.
    """

    method = SCRATCH


class OriginalFt(Criterion):
    """The model as it is: nothing is removed, all else that is done to pruned models is done to it.

    Wang et al. 2023 (arXiv:2301.05219), section 3: what pruned models are compared with must have been trained as long
    and by the same recipe.
    """

    method = ORIGINAL_FT

    def score(self, group: list[Member], size: int, statistics, seed: str) -> Tensor:
        return torch.ones(size, dtype=torch.float64)
