"""Refitting: layer by layer, in the order of the forward pass, to what the unpruned model's layer gives.

He et al. 2017 (arXiv:1707.06168, eq. 2) fit a layer's weights to the original's output by least squares; as Zhang et
al. 2015 (arXiv:1505.06798, section 3.3) do, each layer is fitted from what it reads in the pruned model as it is by
then, so that it also makes up for what the layers before it miss. With p what a kernel covers in the pruned model and y
the original's output at the same position, W minimises E‖y − W p − b‖² + λ‖W − W₀‖², W₀ the weights that it has.

All it needs are sums over images and positions, of a pass a layer through both models as far as that layer. Where a
BatchNorm that is re-estimated follows, what is constant in y does not count. BatchNorms that will be re-estimated go by
their batches' statistics meanwhile, as they do in their re-estimation. Of every eight images one is held back; a layer
whose output there does not come nearer to the original's keeps its weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from budama.networks import calls, modes
from budama.pruning import channels, gram, normal_equations, patches, reading
from budama.pruning.compensation import HOLD
from budama.pruning.normal_equations import Sums

if TYPE_CHECKING:
    from budama.pruning.working_copy import WorkingCopy
    from budama.results.contracts import Compensated, Refitting

WIDEST = 4608  # features of a kernel (512 channels · 3 · 3): the sums have their square, in float64 170 MB
NOTHING = 1e-10  # of the output's energy: so little is rounding, and not to be made up for
SAME = 1e-3  # of the output's largest value: a layer that differs by more does not multiply by its weights alone


@dataclass(frozen=True)
class _Layer:
    """A layer of the pruned model beside the original's, of whose outputs it has `kept` (None: all)."""

    name: str
    module: Any
    original: Any
    kept: Tensor | None
    free: bool  # what is constant in its output does not count


@torch.no_grad()
def refit(
    original: nn.Module,
    kept: Mapping[str, Sequence[int]],
    after: WorkingCopy,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    renewed: bool,
) -> Refitting:
    """Refit the layers of `after`, in place, to what those of `original` give.

    `kept`: for layers that lost outputs, the channels of `original` that they still have. `batches`: the calibration
    images. `renewed`: whether BatchNorm is re-estimated afterwards.
    """
    told: Refitting = {"refitted": [], "left": []}
    layers = {layer.name: layer for layer in _layers(original, kept, after, renewed=renewed)}
    for front, count in _fronts(after.model, list(layers.values()), after.original.images):
        sums = _collect(original, after.model, [layers[name] for name in front], count, batches, renewed=renewed)
        for name in front:
            if name not in sums:
                told["left"].append({"name": name, "reason": "unlike"})
                continue
            without, row = _improved(layers[name], *sums[name])
            if row is not None:
                told["refitted"].append(row)
            elif without > NOTHING:
                told["left"].append({"name": name, "reason": "worse"})
    return told


def _layers(
    original: nn.Module, kept: Mapping[str, Sequence[int]], after: WorkingCopy, *, renewed: bool
) -> Iterator[_Layer]:
    """The layers that multiply by their weights and share these with no other."""
    whole, owners = dict(original.named_modules()), reading.owners(after.model)
    for name, module in after.model.named_modules():
        if not isinstance(module, channels.READERS) or reading.transposed(module) or owners[id(module.weight)] != 1:
            continue
        if patches.weight_rows(module, module.weight).shape[2] > WIDEST:
            continue
        stays = torch.tensor(kept[name]) if name in kept else None
        if channels.width(module, "out") != (channels.width(whole[name], "out") if stays is None else len(stays)):
            continue
        free = renewed and reading.normalised(after.graph, module)
        yield _Layer(name, module, whole[name], stays, free)


def _fronts(model: nn.Module, layers: Sequence[_Layer], images: Tensor) -> list[tuple[list[str], int]]:
    """The layers in the order in which the model first calls them, neighbours that
    read one tensor together; beside each, how often its layers are called."""
    called: list[tuple[str, tuple]] = []
    with modes.evaluation(model), calls.through_layers(model), ExitStack() as hooks:
        for layer in layers:

            def note(value: Tensor, name: str = layer.name) -> None:
                called.append((name, (value.data_ptr(), value.shape, value._version)))

            hooks.enter_context(calls.watch_input(layer.module, note))
        model(images)
    fronts: list[list[str]] = []
    last = None
    counts = Counter(name for name, _ in called)
    firsts = dict(reversed(called))
    for name in dict(called):
        if firsts[name] == last:
            fronts[-1].append(name)
        else:
            fronts.append([name])
        last = firsts[name]
    return [(front, sum(counts[name] for name in front)) for front in fronts]


class _Enough(Exception):
    """The layers that are looked at have all been called."""


def _collect(
    original: nn.Module,
    pruned: nn.Module,
    layers: Sequence[_Layer],
    count: int,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    renewed: bool,
) -> dict[str, tuple[Sums, Sums]]:
    """Of every layer the sums over all images but the held ones, and over these."""
    found = {layer.name: (Sums(), Sums()) for layer in layers}
    draw, device, first, size = torch.Generator().manual_seed(0), next(pruned.parameters()).device, 0, 0
    with ExitStack() as within:
        for model in original, pruned:
            within.enter_context(modes.evaluation(model))
            within.enter_context(calls.through_layers(model))
        if renewed:
            within.enter_context(_by_batch(pruned))
        for images, _ in batches:
            if renewed and len(images) < size:
                continue  # as in the re-estimation: its statistics are another size's
            size, start = size or len(images), float(torch.rand(1, generator=draw))
            held = torch.arange(first, first + len(images)) % HOLD == HOLD - 1
            first += len(images)
            images = images.to(device, non_blocking=True)
            wanted = {layer.original: layer for layer in layers}
            given = _seen(original, wanted, count, images, start, whole=True)
            read = _seen(pruned, {layer.module: layer for layer in layers}, count, images, start, whole=False)
            for layer in layers:
                if layer.name not in found:
                    continue
                if not _add(found[layer.name], layer, read.get(layer.name, []), given.get(layer.name, []), held):
                    del found[layer.name]
    return found


def _seen(
    model: nn.Module, wanted: Mapping[Any, _Layer], count: int, images: Tensor, start: float, *, whole: bool
) -> dict[str, list[tuple[Tensor | None, Tensor]]]:
    """What each layer read (None of the `whole` model) and gave, at some positions, a pair a call."""
    seen: dict[str, list[tuple[Tensor | None, Tensor]]] = {}

    def look(module: Any, args: tuple, named: dict, output: Tensor) -> None:
        layer = wanted[module]
        value = next(iter((*args, *named.values())))
        here = max(1, gram.POSITIONS * len(images) // len(value))
        read = None if whole else patches.inputs(module, value, output, here, start)
        if whole and layer.kept is not None:
            axis = 1 if isinstance(module, channels._ConvNd) else -1
            output = output.index_select(axis, layer.kept.to(output.device))
        given = patches.outputs(layer.module, output, here, start).clone()
        seen.setdefault(layer.name, []).append((read, given))
        if sum(map(len, seen.values())) == count:
            raise _Enough

    with ExitStack() as hooks:
        for module in wanted:
            hooks.enter_context(module.register_forward_hook(look, with_kwargs=True))
        with suppress(_Enough):
            model(images)
    return seen


def _add(
    sums: tuple[Sums, Sums],
    layer: _Layer,
    read: Sequence[tuple[Tensor | None, Tensor]],
    given: Sequence[tuple[Tensor | None, Tensor]],
    held: Tensor,
) -> bool:
    """Add a batch's calls; whether the layer multiplies by its weights, and was called alike in both models."""
    shapes = [[tuple(output.shape) for _, output in calls_] for calls_ in (read, given)]
    if not read or shapes[0] != shapes[1]:
        return False
    for (inputs, own), (_, target) in zip(read, given):
        assert inputs is not None
        if not sums[0].count and not _multiplies(layer.module, inputs, own):
            return False
        times, rest = divmod(len(inputs), len(held))
        back = held.repeat_interleave(times).to(inputs.device) if not rest else None
        for part, chosen in zip(sums, (back, back) if back is None else (~back, back)):
            part.add(inputs, target) if chosen is None else part.add(inputs[chosen], target[chosen])
    return True


def _multiplies(module: Any, inputs: Tensor, own: Tensor) -> bool:
    """Whether the outputs `own` are the weights times `inputs`, and the bias; of some subclasses they are not."""
    weight = patches.weight_rows(module, module.weight)
    expected = torch.einsum("npbf,bof->npbo", inputs[:2], weight)
    if module.bias is not None:
        expected = expected + module.bias.reshape(expected.shape[2:])
    return float((expected - own[:2]).abs().max()) <= SAME * max(float(own[:2].abs().max()), 1e-6)


def _improved(layer: _Layer, seen: Sums, held: Sums) -> tuple[float, Compensated | None]:
    """How far the layer was off, and what is said of the nearer weights that it has now; None where it keeps its."""
    now = normal_equations.Weights.of(layer.module, free=layer.free)
    held = held if held.count else seen
    without = held.error(now)
    if without <= NOTHING:
        return without, None
    fitted, ridge = min(
        ((seen.fitted(now, ridge), ridge) for ridge in normal_equations.RIDGES), key=lambda one: held.error(one[0])
    )
    promised, reached = seen.error(fitted), held.error(fitted)
    if not reached < without:
        return without, None
    fitted.write(layer.module)
    return without, {
        "name": layer.name, "without": without, "promised": promised, "reached": reached, "ridge": ridge
    }  # fmt: skip


@contextmanager
def _by_batch(model: nn.Module) -> Iterator[None]:
    """BatchNorms with running statistics go by their batches', and keep the running ones as they are."""
    norms: list[Any] = [
        m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats
    ]
    known = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
            norm.train()
        yield
    finally:
        for norm, (momentum, count) in zip(norms, known):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)
            norm.eval()
