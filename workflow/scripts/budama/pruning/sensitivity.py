"""`scope: sensitivity`: what goes next is what costs the least predicted loss for what it saves.

The loss of removing channels R is what their readers miss, before any training and without a pass through the model:
for a reader y = W x with the covariance G of its input, E‖W_R x_R − its mean‖² = tr(W_R G[R,R] W_Rᵀ), over the same of
its whole input, tr(W G Wᵀ), summed over the readers. Which channels of a group go first is the method's to say.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from budama.errors import BudamaError
from budama.pruning import channels, selection
from budama.pruning.dependency import Group, Member
from budama.pruning.selection import Limits, Removal

NOTHING = 1e-12  # of the reader's energy: a loss below is rounding


def greedy(
    groups: Sequence[Group],
    scores: Sequence[Tensor],
    limits: Limits,
    cost: selection.Cost | None,
    moments: Mapping[str, Tensor],
) -> list[Removal]:
    """All removals that the limits allow: at each step the next one of that group in which a unit of cost is cheapest.

    `cost` is what is matched, of the model as it is now (None: the number of channels), `moments` what `gram.moments`
    gives. A removal's key is the loss that is predicted for a unit of cost, which grows no smaller along the list.
    """
    waiting: list[list[tuple[Removal, float]]] = []  # by group: its removals and what each adds to the loss
    ordered = selection.in_groups(groups, scores, limits)
    for group, own in zip(groups, ordered):
        losses = _losses(group, own, moments) if own else []
        waiting.append(list(zip(own, losses)))
    saved = _Saved(cost, len(groups))
    queue: list[tuple[float, int, int]] = []  # price of the group's next removal, the group, its version
    versions = [0] * len(groups)
    done = [0] * len(groups)

    def put(index: int) -> None:
        versions[index] += 1
        if done[index] < len(waiting[index]):
            removal, loss = waiting[index][done[index]]
            price = loss / max(saved.by(index, len(removal.idxs)), 1e-300)
            heapq.heappush(queue, (price, index, versions[index]))

    for index in range(len(groups)):
        put(index)
    found, highest = [], 0.0
    while queue:
        price, index, version = heapq.heappop(queue)
        if version != versions[index]:
            continue
        removal = waiting[index][done[index]][0]
        highest = max(highest, price)
        found.append(Removal(index, removal.idxs, highest))
        done[index] += 1
        for other in saved.take(index, len(removal.idxs)):
            put(other)
    return found


class _Saved:
    """What removing channels saves, as channel counts fall; nothing but the number of channels without a cost."""

    def __init__(self, cost: selection.Cost | None, groups: int) -> None:
        self.cost = cost
        self.left: dict[tuple[str, str], float] = {}
        self.sharing: list[set[int]] = [{index} for index in range(groups)]
        if cost is not None:
            layers = [{name for name, _, _ in parts} for parts in cost.parts]
            self.sharing = [
                {other for other in range(groups) if other == index or layers[index] & layers[other]}
                for index in range(groups)
            ]

    def by(self, index: int, count: int) -> float:
        """What is saved when group `index` loses `count` root channels more."""
        if self.cost is None:
            return float(count)
        then = dict[tuple[str, str], float]()
        for name, side, share in self.cost.parts[index]:
            then[name, side] = then.get((name, side), self.left.get((name, side), 1.0)) - share * count
        saved = 0.0
        for name in {name for name, _ in then}:
            now = [self.left.get((name, side), 1.0) for side in ("in", "out")]
            new = [then.get((name, side), self.left.get((name, side), 1.0)) for side in ("in", "out")]
            saved += self.cost.of(name, *now) - self.cost.of(name, *new)
        return saved

    def take(self, index: int, count: int) -> set[int]:
        """Take them; the groups for which the price is another one now."""
        if self.cost is not None:
            for name, side, share in self.cost.parts[index]:
                self.left[name, side] = self.left.get((name, side), 1.0) - share * count
        return self.sharing[index]


def _losses(group: Group, own: Sequence[Removal], moments: Mapping[str, Tensor]) -> list[float]:
    """What each of a group's removals, one after the other, adds to the predicted loss; never less than nothing."""
    order = torch.tensor([idx for removal in own for idx in removal.idxs])
    among = missed(group, moments)[order][:, order]
    ends = torch.tensor(list(accumulate(len(removal.idxs) for removal in own))) - 1
    whole = among.cumsum(0).cumsum(1).diagonal()[ends].tolist()  # sums over the first channels × the first channels
    grown = [0.0, *accumulate((loss if loss > NOTHING else 0.0 for loss in whole), max)]
    return [after - before for before, after in pairwise(grown)]


def missed(group: Group, moments: Mapping[str, Tensor]) -> Tensor:
    """`[size, size]`: its sum over R × R is the loss that is predicted for the removal of root channels R; float64."""
    found = torch.zeros(group.size, group.size, dtype=torch.float64)
    readers = [member for member in group.members if _reads(member, moments)]
    if not readers:
        raise BudamaError(
            f"pruning.scope sensitivity: no convolution or linear layer reads the channels of {group.name}; "
            f"leave it out with pruning.ignore: [{group.name}]"
        )
    for name in dict.fromkeys(member.name for member in readers):
        own = [member for member in readers if member.name == name]
        energy = _energy(own[0].module, moments[f"{name}/covariance"], moments[f"{name}/channel"])
        whole = float(energy.sum())
        if whole <= 0:
            continue
        idxs = torch.cat([member.idxs for member in own])
        roots = torch.cat([member.roots for member in own])
        seen = moments[f"{name}/channel"][idxs]
        places = torch.zeros(len(energy), group.size, dtype=torch.float64)
        places[seen, roots] = 1
        found += places.T @ energy @ places / whole
    return found


def _reads(member: Member, moments: Mapping[str, Tensor]) -> bool:
    return (
        member.role == "in" and isinstance(member.module, channels.READERS) and f"{member.name}/covariance" in moments
    )


def _energy(module: nn.Module, covariance: Tensor, channel: Tensor) -> Tensor:
    """WᵀW ∘ G `[C, C]` of a reader: what pairs of channels, by `channel` of each input place, add to its output."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    rows = channels.input_rows(module, weight.detach().double().cpu())
    width = len(covariance)
    places = torch.argsort(channel, stable=True)
    product = rows[places].reshape(width, -1)
    among = product @ product.T
    if isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1:
        block = torch.arange(width) // (width // module.groups)
        among = among * (block[:, None] == block[None])
    return among * covariance
