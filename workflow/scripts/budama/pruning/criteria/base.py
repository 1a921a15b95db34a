"""What all methods share: how scores of a group's layers become scores of its channels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from budama.errors import BudamaError
from budama.methods import Method
from budama.pruning import channels
from budama.pruning.dependency import Member, members, producer

if TYPE_CHECKING:
    from budama.pruning.calibration import Statistics


class Unavailable(BudamaError):
    """A method cannot serve this model; the scenario goes on without it, with a row that says why."""


class Criterion(ABC):
    """A pruning method.

    Attributes:
        method: its row, all else that is known about it: its name, what it needs of the calibration statistics.
        comparable: whether scores of different groups are in one unit as they are; where not, they are divided by their
            group's mean before groups are compared (`scope: global`), which is Torch-Pruning's default normaliser
            (what it is worth: benchmarks/ablation.md).
    """

    method: Method
    comparable: bool = False

    def unavailable(self, model: nn.Module) -> str | None:
        """Why this method cannot serve `model`, or None where it can."""
        return None

    def importance(
        self, model: nn.Module, statistics: Statistics | None = None, seed: int = 0
    ) -> Callable[[object], Tensor]:
        """A function from a whole group of Torch-Pruning's to float64 scores, one a channel of the root.

        `statistics` are those of `model` as it is now; methods that need weights alone take None.
        """
        if self.method.needs != "weights" and statistics is None:
            raise BudamaError(f"pruning method {self.method.name} needs calibration statistics")

        @torch.no_grad()
        def scores(group) -> Tensor:
            parts = members(group)
            return self.score(parts, len(group[0].idxs), statistics, f"{seed}:{producer(parts)}").cpu()

        return scores

    @abstractmethod
    def score(self, group: list[Member], size: int, statistics: Statistics | None, seed: str) -> Tensor:
        """Scores `[size]` (float64) of the channels of the group's root."""


def gather(member: Member, values: Tensor, size: int) -> Tensor:
    """`values` `[channels of the member's layer]` added up on the root channels they go with: `[size]`, float64."""
    picked = values.double()[member.idxs.to(values.device)].cpu()
    return torch.zeros(size, dtype=torch.float64).index_add_(0, member.roots, picked)


def weight_rows(member: Member, *, biases: bool = False) -> list[tuple[str, str, Tensor]]:
    """The member's weights as (full parameter name, side, `[channels of the layer, n]`), detached."""
    if member.axis is not None:  # a parameter outside any layer
        value = member.module.detach().movedim(member.axis, 0)
        return [(member.name, str(member.axis % member.module.ndim), value.reshape(value.shape[0], -1))]
    found = []
    for name, side in channels.slices(member.module, member.role):
        value = channels.parameter(member.module, name)
        if value is not None and (biases or not name.endswith("bias")):
            full = f"{member.name}.{name}".lstrip(".")
            found.append((full, side, channels.rows(member.module, name, side, value.detach())))
    return found
