"""Compensation: the layers that read pruned channels are folded so that the kept ones make up for those that are gone.

Every convolution and linear layer behind a cut is folded by a prediction of its input's removed channels
(`least_squares`), from Gram matrices of calibration images (`gram`): the same at every place of a kernel, by block in
a grouped convolution, by channel in a flattened input. Where a BatchNorm that is re-estimated follows, or the layer has
a bias, the mean need not be predicted: covariances are used, and the re-estimation or the bias takes up the mean.

Of every eight images one is held back. On these the layer's output with folded weights must be nearer to the unpruned
layer's than without; a layer that fails stays as pruning left it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from budama.pruning import channels, folding, gram, least_squares, reading
from budama.pruning.folding import Fold
from budama.pruning.gram import Gram, Reader

if TYPE_CHECKING:
    from budama.pruning.working_copy import WorkingCopy
    from budama.results.contracts import Compensated, Compensation, NotCompensated

HOLD = 8  # of so many calibration images one is held back
WIDEST = 8192  # channels at an input: its Gram matrix has their square, in float64 half a gigabyte


def compensate(
    before: WorkingCopy, after: WorkingCopy, batches: Iterable[tuple[Tensor, Tensor]], *, renewed: bool
) -> Compensation:
    """Fold the layers of `after`, in place, which lost channels that those of `before` still have.

    `batches`: the calibration images; the labels are not used. `renewed`: whether BatchNorm is re-estimated afterwards.
    """
    told: Compensation = {"positions": gram.POSITIONS, "folded": [], "left": []}
    cuts = list(_cuts(before, after, told["left"], renewed=renewed))
    layers = [cut.reader for cut in cuts]
    seen, held = (gram.collect(before.model, layers, images(batches, held=held)) for held in (False, True))
    read = [cut for cut in cuts if cut.reader.name in seen]
    told["left"] += [{"name": cut.reader.name, "reason": "unread"} for cut in cuts if cut.reader.name not in seen]
    folds = [_fold(cut, seen[cut.reader.name], held.get(cut.reader.name)) for cut in read]
    errors = folding.errors(before.model, folds, images(batches, held=bool(held)))
    for fold in folds:
        without, reached = errors[fold.name]
        if reached > without:
            told["left"].append({"name": fold.name, "reason": "worse"})
            continue
        fold.apply()
        row: Compensated = {
            "name": fold.name,
            "without": without,
            "promised": fold.promised,
            "reached": reached,
            "ridge": fold.ridge,
        }
        told["folded"].append(row)
    return told


def images(batches: Iterable[tuple[Tensor, Tensor]], *, held: bool) -> Iterator[Tensor]:
    """Of the images of `batches`, every `HOLD`th, or all others."""
    first = 0
    for batch, _ in batches:
        back = (torch.arange(first, first + len(batch)) % HOLD == HOLD - 1).to(batch.device)
        first += len(batch)
        if (chosen := batch[back if held else ~back]).numel():
            yield chosen


@dataclass(frozen=True)
class _Cut:
    """A layer's input before and after.

    `kept` of its channels stay, and `kept_features` of its places; `weight` reads all of them, for what is left of its
    outputs, and `shrunk` is the layer that reads the kept ones. `free`: what is constant in its output does not count.
    """

    reader: Reader
    shrunk: Any
    weight: Tensor
    kept: Tensor
    kept_features: list[int]
    free: bool

    @property
    def centred(self) -> bool:
        """Whether the mean of what is gone need not be predicted."""
        return self.free or (self.shrunk.bias is not None and not reading.transposed(self.shrunk))


def _still(earlier: Mapping[str, list[int]], later: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Of the channels that layers have by `earlier`, the places of those that they have by `later`, where fewer."""
    found = {}
    for name, left in later.items():
        places = {channel: place for place, channel in enumerate(earlier[name])} if name in earlier else None
        if places is None or len(places) > len(left):
            found[name] = [places[channel] for channel in left] if places is not None else left
    return found


def _cuts(before: WorkingCopy, after: WorkingCopy, left: list[NotCompensated], *, renewed: bool) -> Iterator[_Cut]:
    """The layers that can be folded; the others are noted in `left`."""
    kept = _still(before.record.kept_inputs, after.record.kept_inputs)
    outputs = _still(before.record.kept, after.record.kept)
    shrunk, owners = dict(after.model.named_modules()), reading.owners(after.model)
    for name, module in before.model.named_modules():
        if name in kept and isinstance(module, nn.MultiheadAttention):
            left.append({"name": name, "reason": "attention"})
    for reader in gram.readers(before.model, before.groups, kept):
        layer, features = shrunk[reader.name], kept[reader.name]
        weight = reading.of_outputs(reader.module, outputs.get(reader.name))
        if len(reader.features) > WIDEST:
            left.append({"name": reader.name, "reason": "wide"})
        elif owners[id(layer.weight)] != 1:
            left.append({"name": reader.name, "reason": "shared"})
        elif weight is None or not reading.same(reader.module, weight, layer, features):
            left.append({"name": reader.name, "reason": "unlike"})
        else:
            stays = set(features)
            own = torch.tensor([c for c, places in enumerate(reader.features.tolist()) if places[0] in stays])
            free = renewed and reading.normalised(before.graph, reader.module)
            yield _Cut(reader, layer, weight, own, features, free)


def _fold(cut: _Cut, seen: Gram, held: Gram | None) -> Fold:
    """The layer's new weights, each block of its input by a prediction of its own."""
    reader, layer = cut.reader, cut.shrunk
    rows = channels.input_rows(reader.module, cut.weight.detach()).double()  # [features, n]
    moment = seen.moment(centred=cut.centred)
    other = held.moment(centred=cut.centred) if held else None
    folded = torch.zeros(len(cut.kept_features), rows.shape[1], dtype=torch.float64, device=rows.device)
    place = {feature: at for at, feature in enumerate(cut.kept_features)}
    shifts: list[Tensor] = []
    whole = missed = ridge = 0.0
    for block in torch.arange(len(reader.features)).chunk(reading.blocks(reader.module)):
        read = rows[reader.features[block].to(rows.device)]  # [channels, places, n]
        reads = torch.einsum("cpn,dpn->cd", read, read)
        stays, own = torch.isin(block, cut.kept).nonzero().flatten(), moment[block][:, block]
        found = least_squares.best(own, None if other is None else other[block][:, block], stays, reads)
        new = torch.einsum("ck,cpn->kpn", found.matrix, read)
        for k, features in enumerate(reader.features[block[stays]].tolist()):
            folded[[place[feature] for feature in features]] = new[k]
        energy = float((own * reads).sum())
        whole, missed = whole + energy, missed + energy * least_squares.residual(found, own, reads)
        ridge, mean = max(ridge, found.ridge), seen.mean[block]
        shifts.append(torch.einsum("cpn,c->n", read, found.error @ mean))
    bias = None
    if cut.centred and not cut.free:
        bias = (layer.bias.detach().double() + reading.sum_of_kernel(shifts, layer)).to(layer.bias)
    return Fold(
        reader.name, layer, reader.module, cut.weight, cut.kept_features,
        reading.from_input_rows(layer, folded).to(layer.weight), bias,
        cut.free, missed / whole if whole > 0 else 0.0, ridge,
    )  # fmt: skip
