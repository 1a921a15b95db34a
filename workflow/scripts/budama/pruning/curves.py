"""Sensitivity curves: what the readers of each group of channels miss at every width, before any training.

Channels go by optimal brain surgeon (`surgeon`): those whose loss costs the readers least, once all others
make up for them. What is missed by then, over what the readers' outputs vary by, is 0 at the full width and 1 at none.
A group that loses little until few channels are left is empty, one that loses from the first channel on is full.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from budama.errors import BudamaError
from budama.pruning import gram
from budama.pruning.dependency import Group
from budama.pruning.surgeon import Reading, reading, reads
from budama.pruning.working_copy import Original, WorkingCopy

if TYPE_CHECKING:
    from budama.pruning.calibration import Statistics
    from budama.reporting.contract import Curve
    from budama.results.contracts import Sensitivity

POINTS = 32  # widths of a curve, at most
IMAGES = 512  # about so many are looked at, in batches spread over all: 65,000 positions of a layer


@torch.no_grad()
def measure(
    model: nn.Module,
    input_shape: Sequence[int],
    classes: int,
    batches: Iterable[tuple[Tensor, Tensor]],
    statistics: Statistics,
) -> Sensitivity:
    """The curve of every group of `model`, from `batches` of images; `statistics` are of the same images.

    A model that no scenario could prune without leaving layers out has no curves, but the reason.
    """
    found: Sensitivity = {"images": 0, "positions": gram.POSITIONS, "curves": [], "reason": None}
    try:
        whole = WorkingCopy(copy.deepcopy(model).eval(), Original.of(model, input_shape, classes, ()))
    except BudamaError as error:
        return {**found, "reason": str(error)}

    def some() -> Iterator[Tensor]:
        step = max(1, statistics.images // IMAGES)
        for number, (images, _) in enumerate(batches):
            if number % step == 0:
                found["images"] += len(images)
                yield images

    moments = gram.moments(whole.model, whole.groups, some())
    seen = replace(statistics, values={**statistics.values, **moments})
    for group in whole.groups:
        readings = [reading(member, group.size, seen) for member in group.members if reads(member)]
        if readings and group.positions > 1:
            found["curves"].append(curve(group, readings))
    return found


def curve(group: Group, readings: Sequence[Reading]) -> Curve:
    """By how many channels at a time a group is emptied, and what its readers miss then; `readings` are used up."""
    left, step = set(range(group.positions)), max(1, -(-group.positions // POINTS))
    widths, costs = [group.size], [0.0]
    while left:
        price = sum((one.costs() for one in readings), torch.zeros(group.size, dtype=torch.float64))
        order = torch.argsort(group.means(price), stable=True).tolist()
        chosen = [position for position in order if position in left][:step]
        left -= set(chosen)
        roots = torch.tensor(group.at(chosen))
        costs.append(costs[-1] + sum(one.remove_together(roots) for one in readings))
        widths.append(len(left) * group.size // group.positions)
    whole = costs[-1]
    lost = [cost / whole if whole > 0 else 0.0 for cost in costs]
    return {"name": group.name, "channels": group.size, "widths": widths, "lost": lost}
