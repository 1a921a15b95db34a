"""Folding: channels that are alike become one, as a loop over clusters would have it; equal ones go without a trace."""

import copy

import pytest
import small_nets
import torch
from test_compensation import NETS, cut, duplicate
from torch import nn

from budama.methods import METHODS
from budama.networks.hooks import check_no_hooks
from budama.pruning import calibration, compensation, merging, pruner
from budama.pruning.working_copy import Original, WorkingCopy


def groups_of(net):
    original = Original.of(net, small_nets.SHAPE, small_nets.CLASSES, ())
    return {group.name: group for group in WorkingCopy(copy.deepcopy(net), original).groups}


def alike(net, root, clusters, noise=0.01):
    """Make what produces the channels of each cluster nearly the same."""
    generator = torch.Generator().manual_seed(2)
    for name, role, first, _ in small_nets.NETS[root[0]].groups[root[1]]:
        module = net.get_submodule(name)
        if role == "in" or isinstance(module, nn.BatchNorm2d):
            continue
        for value in (module.weight, module.bias):
            for cluster in clusters if value is not None else ():
                for channel in cluster:
                    near = value.data[first + cluster[0]]
                    shift = noise * torch.randn(near.shape, generator=generator, dtype=near.dtype)
                    value.data[first + channel] = near + shift


def folded_by_a_loop(net, group, clusters):
    """The whole network, in which the first channel of every cluster stands for all and nothing reads the others."""
    net = copy.deepcopy(net)
    for name, role, first, stride in group:
        module = net.get_submodule(name)
        for cluster in clusters:
            if role == "in":
                for place in range(stride):
                    places = [first + channel * stride + place for channel in cluster]
                    if isinstance(module, nn.Conv2d) and module.groups > 1:
                        width = module.in_channels // module.groups
                        outs = module.out_channels // module.groups
                        block = places[0] // width
                        rows = module.weight.data[block * outs : (block + 1) * outs]
                        within = [one % width for one in places]
                    else:
                        rows, within = module.weight.data, places
                    total = sum(rows[:, one].clone() for one in within)
                    for one in within:
                        rows[:, one] = 0
                    rows[:, within[0]] = total
                continue
            tensors = [module.weight, module.bias]
            if isinstance(module, nn.BatchNorm2d):
                tensors += [module.running_mean, module.running_var]
            for value in tensors:
                if value is not None:
                    value.data[first + cluster[0]] = sum(value.data[first + c] for c in cluster) / len(cluster)
    return net


CASES = {
    ("plain", "conv1"): [[0, 3, 5], [1], [2, 4]],
    ("plain", "conv2"): [[0, 7], [1, 2, 3], [4], [5], [6]],
    ("residual", "conv1"): [[0, 2], [1, 3, 6], [4], [5], [7]],
    ("concatenating", "right"): [[0, 1, 5], [2], [3], [4]],
    ("depthwise", "expand"): [[0, 1], [2, 7], [3], [4], [5, 6]],
    ("grouped", "grouped"): [[0, 1], [2], [3], [4, 5], [6, 8], [7], [9], [10, 11]],
}


@pytest.mark.parametrize(("where", "clusters"), CASES.items(), ids=lambda value: "-".join(map(str, value)))
def test_clusters_are_averaged_where_they_are_made_and_summed_where_they_are_read(where, clusters):
    net, images = small_nets.build(where[0]), small_nets.batches(1)[0][0]
    alike(net, where, clusters)
    gone = [channel for cluster in clusters for channel in cluster[1:]]
    before, after = cut(net, {where[1]: gone})
    done = merging.merged(before, after)
    group = groups_of(net)[where[1]]
    standing = merging.represented(group, gone)
    assert [[c for c in range(group.size) if standing[c] == first] for first, *_ in clusters] == clusters
    expected = folded_by_a_loop(net, small_nets.NETS[where[0]].groups[where[1]], clusters)
    with torch.no_grad():
        torch.testing.assert_close(done.model(images), expected(images), rtol=0, atol=1e-9)
        assert float((after.model(images) - expected(images)).abs().max()) > 1e-3
    assert done.record == after.record
    check_no_hooks(done.model)


@pytest.mark.parametrize(("name", "root"), [(name, root) for name in NETS for root in small_nets.NETS[name].groups])
def test_a_duplicated_channel_goes_without_a_trace(name, root):
    net = small_nets.build(name)
    gone = duplicate(net, root)
    images = small_nets.batches(1)[0][0]
    before, after = cut(net, {root: gone})
    with torch.no_grad():
        torch.testing.assert_close(merging.merged(before, after).model(images), net(images), rtol=0, atol=1e-9)


def test_with_fewer_different_channels_than_stay_nothing_is_counted_twice():
    net, images = small_nets.build("plain"), small_nets.batches(1)[0][0]
    for value in (net.conv1.weight, net.conv1.bias, *net.bn1.parameters(), *net.bn1.buffers()):
        if value.ndim:
            value.data[:] = value.data[0].clone()
    before, after = cut(net, {"conv1": [1, 3]})
    with torch.no_grad():
        torch.testing.assert_close(merging.merged(before, after).model(images), net(images), rtol=0, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_the_method_merges_at_every_step_and_is_not_compensated(steps, scope):
    net, seen = small_nets.build("residual"), small_nets.batches()

    def compensate(before, after, gone):
        return compensation.compensate(before, after, seen, renewed=True)

    asked = {"ratio": 0.5, "steps": steps, "scope": scope}
    done = pruner.prune(net, small_nets.SHAPE, small_nets.CLASSES, "fold", asked, compensate=compensate)
    assert done.compensations == []
    assert done.uncompensated is None
    assert 0.4 < done.achieved["channels"] < 0.6
    assert {name: len(kept) for name, kept in done.kept.items()} == {
        layer["name"]: layer["after"] for layer in done.layers if layer["after"] < layer["before"]
    }
    kept = done.kept["conv1"] if "conv1" in done.kept else done.kept["inner"]
    name = "conv1" if "conv1" in done.kept else "inner"
    assert not torch.equal(done.model.get_submodule(name).weight, net.get_submodule(name).weight[kept])
    calibration.reestimate_batchnorm(done.model, seen)
    assert METHODS["fold"].merges


def test_embeddings_that_attention_reads_lose_channels_and_are_named(capsys):
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 8)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.fc = nn.Linear(8, small_nets.CLASSES)

        def forward(self, x):
            x = self.first(x.flatten(2).transpose(1, 2))
            return self.fc((x + self.attention(x, x, x, need_weights=False)[0]).mean(1))

    torch.manual_seed(0)
    net = Attending().double().eval()
    done = pruner.prune(net, small_nets.SHAPE, small_nets.CLASSES, "fold", {"ratio": 0.5})
    assert "the channels of first are removed, not merged" in capsys.readouterr().err
    assert torch.equal(done.model.first.weight, net.first.weight[done.kept["first"]])
