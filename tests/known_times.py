"""A machine whose times are known: a clock that computes what a model takes from its layers' widths."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from torch import nn

from budama.measuring import latency
from budama.networks import models
from budama.pruning import layer_times

TIMING = {"batch_size": 1, "precision": "float32", "channels_last": True, "rounds": 7}
RESNET = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8, "width": 16}, "weights": None}
SHAPE, CLASSES = (3, 8, 8), 10


def resnet() -> nn.Module:
    return models.build(RESNET, CLASSES, SHAPE, weights=False, seed=1).eval()


def milliseconds(model: nn.Module) -> float:
    """Calling a layer costs 0.02 ms, its products the rest; activations and sums, which are in no layer, take time by
    the channels of normalisations; and every pass has a part that nothing makes shorter."""
    alone = isinstance(model, layer_times._Alone)
    total = 0.0 if alone else 0.1
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            inside = module.in_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
            total += 0.02 + 2e-5 * inside * module.out_channels
        elif isinstance(module, nn.Linear):
            total += 0.02 + 2e-5 * module.in_features * module.out_features
        elif isinstance(module, nn.BatchNorm2d):
            total += 0.02 + (1e-4 if alone else 5e-4) * module.num_features
    return total


def gone(model: nn.Module, pruned: nn.Module) -> float:
    """The share of time that is gone in truth."""
    return 1 - milliseconds(pruned) / milliseconds(model)


@contextmanager
def known_clock(off=lambda model: 1.0) -> Iterator[None]:
    """Every call takes what `milliseconds` says, times `off(model)`."""
    known: dict[int, tuple[nn.Module, float]] = {}

    def call(model, batch):
        if id(model) not in known:
            known[id(model)] = (model, milliseconds(model))
        return known[id(model)][1] * off(model), 0.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "clock_for", lambda device: call)
        patch.setattr(latency, "SAMPLE_MS", 1e-3)  # every call takes the same: few will do
        yield
