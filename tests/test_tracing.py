"""The search for layers that share channels: the library's groups, found without looking through them at each step."""

import pytest
import small_nets
import torch
from torch import nn
from torch_pruning.dependency import graph as library

from budama.networks import models
from budama.pruning import tracing
from budama.pruning.dependency import Graph

PARTIAL = {"source": "timm", "name": "rexnet_100", "arguments": {}, "weights": None}


def contents(group):
    return [(str(dep), list(idxs)) for dep, idxs in group.items]


@pytest.mark.parametrize("name", [*small_nets.NETS])
def test_groups_are_the_librarys_own(name):
    net = small_nets.build(name, torch.float32)
    graph = Graph(net, torch.zeros(2, *small_nets.SHAPE)).traced
    for layer in (module for module in net.modules() if isinstance(module, nn.Conv2d) and module.groups == 1):
        pruner = graph.get_pruner_of_module(layer)
        every = list(range(pruner.get_out_channels(layer)))
        expected = graph.get_pruning_group(layer, pruner.prune_out_channels, every)
        assert contents(tracing.group(graph, layer, 10**6)) == contents(expected)


def test_no_step_looks_through_the_whole_group(monkeypatch):
    """Shortcuts that join parts of layers, as in RexNet, make groups of thousands of entries."""

    def slow(*_):
        raise AssertionError("the library's own look through the group")

    monkeypatch.setattr(library.Group, "has_pruning_op", slow)
    model = models.build(PARTIAL, 10, (3, 32, 32))
    graph = Graph(model, torch.zeros(2, 3, 32, 32)).traced
    assert len(tracing.group(graph, model.stem.conv, 10**6).items) > 1
