"""Merging: channels that are alike become one, and what read them reads that one as often as there were some.

Model folding (Wang et al. 2025, arXiv:2502.10216): k-means over the filters that produce a group's channels; each
cluster's mean produces the channel that is left of it, and the layers that read the channels sum the weights with which
they read those of a cluster. Where all channels of a cluster are equal nothing changes. What channels pass through
(normalisations, depthwise filters) is averaged as what produces them is; BatchNorm's statistics are re-estimated later.

Blocks of channels of which as many must go (grouped convolutions) have clusters of their own. Heads of attention and
embeddings that attention reads are no filters: of these, channels are removed.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from budama.progress import log
from budama.pruning import channels
from budama.pruning.criteria.weights import filters
from budama.pruning.dependency import Group, Member
from budama.pruning.working_copy import Record, WorkingCopy


@torch.no_grad()
def merged(before: WorkingCopy, after: WorkingCopy) -> WorkingCopy:
    """A copy with the channels of `after`, each of which stands for those of `before` that are most alike."""
    model = copy.deepcopy(before.model)
    cuts = after.record.cuts[len(before.record.cuts) :]
    groups = {group.name: group for group in before.groups}
    for name, removed in cuts:
        if _of_attention(groups[name]):
            log(f"the channels of {name} are removed, not merged: they belong to attention")
            continue
        _merge(model, groups[name], represented(groups[name], removed))
    return before.replayed(model, Record(cuts=cuts))


def represented(group: Group, removed: list[int]) -> Tensor:
    """By which of the channels that stay each root channel is represented: int64 `[size]`."""
    rows, gone = filters(list(group.members), group.size), set(removed)
    found = torch.arange(group.size)
    for block in found.clone().chunk(group.repeats):
        stay = torch.tensor([channel for channel in block.tolist() if channel not in gone])
        if len(stay) < len(block):
            labels, centres = _clusters(rows[block], len(stay))
            found[block] = stay[_nearest(centres, rows[stay])[labels]]
    return found


def _clusters(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """k-means of `rows` `[n, features]`: the cluster of each, and the centres `[count, features]`."""
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there may be fewer different rows than clusters
        found = KMeans(count, n_init=10, random_state=0).fit(rows.numpy())
    return torch.from_numpy(found.labels_).long(), torch.from_numpy(found.cluster_centers_)


def _nearest(centres: Tensor, rows: Tensor) -> Tensor:
    """For every centre a row of its own, so that they are as near as can be in sum."""
    from scipy.optimize import linear_sum_assignment

    return torch.from_numpy(linear_sum_assignment(torch.cdist(centres, rows).square().numpy())[1])


def _merge(model: nn.Module, group: Group, representing: Tensor) -> None:
    """Give every channel that stays the mean of what produces those that it represents, and the sum of what reads
    them."""
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    summed = torch.zeros(group.size, group.size, dtype=torch.float64)
    summed[representing, torch.arange(group.size)] = 1
    count = summed.sum(1)
    averaged = torch.where(count[:, None] > 0, summed / count.clamp_min(1)[:, None], torch.eye(group.size).double())
    done = set()
    for member in group.members:
        for value, rows in _parts(member, modules, parameters):
            side = "in" if member.role == "in" else "out"
            if (id(value), side) not in done:  # weights may be shared
                done.add((id(value), side))
                _combine(value, rows, member, summed if side == "in" else averaged)


def _parts(member: Member, modules: dict[str, nn.Module], parameters: dict[str, nn.Parameter]) -> list[tuple]:
    """Tensors that hold a member's channels, each with the places `[channels of the layer, n]` of its values."""
    if member.axis is not None:
        free = parameters[member.name]
        places = torch.arange(free.numel()).reshape(free.shape).movedim(member.axis, 0)
        return [(free, places.reshape(free.shape[member.axis], -1))]
    module: Any = modules[member.name]
    found: list[tuple[Tensor, Tensor]] = []
    for name, side in channels.slices(module, member.role):
        value = channels.parameter(module, name)
        if value is not None:
            places = torch.arange(value.numel()).reshape(value.shape)
            found.append((value, channels.rows(module, name, side, places)))
    if isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats:
        buffers: Any = (module.running_mean, module.running_var)
        found += [(own, torch.arange(len(own))[:, None]) for own in buffers]
    return found


def _combine(value: Tensor, rows: Tensor, member: Member, matrix: Tensor) -> None:
    """Replace the values of root channel c by those of all channels, weighted by `matrix[c]`, at each of its places."""
    if len(rows) == 1:  # one value for all channels
        return
    order = torch.argsort(member.roots * len(rows) + member.idxs)
    own = member.idxs[order].reshape(len(matrix), -1)
    flat = value.data.reshape(-1).clone()
    for channels_of_place in own.T:
        places = rows[channels_of_place].to(flat.device)
        flat[places] = (matrix.to(flat.device) @ flat[places].double()).to(flat)
    value.data.copy_(flat.reshape(value.shape))


def _of_attention(group: Group) -> bool:
    return group.run > 1 or any(isinstance(member.module, nn.MultiheadAttention) for member in group.members)
