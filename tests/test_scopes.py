"""In which order channels of different layers go, by other ways of computing: plain loops over weights and images."""

import copy

import pytest
import small_nets
import torch
from torch import nn

from budama.errors import BudamaError
from budama.measuring import complexity
from budama.networks import models
from budama.pruning import gram, pruner, scopes, selection
from budama.pruning.dependency import Graph

RESNET = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 14}, "weights": None}
SMALL = (3, 16, 16)


class Chain(nn.Module):
    """Three convolutions, each read by the next one."""

    def __init__(self, widths=(6, 8, 5)):
        super().__init__()
        first, second, third = widths
        self.a, self.b = nn.Conv2d(3, first, 3, padding=1), nn.Conv2d(first, second, 1, stride=1)
        self.c, self.fc = nn.Conv2d(second, third, 1), nn.Linear(third, small_nets.CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.c(torch.relu(self.b(torch.relu(self.a(x)))))).mean((2, 3)))


def chain():
    torch.manual_seed(3)
    return Chain().eval()


def images():
    return torch.cat([images for images, _ in small_nets.batches(dtype=torch.float32)])


def moments(of):
    return gram.moments(of.model, of.groups, [images()])


def prune(net, shape=small_nets.SHAPE, classes=small_nets.CLASSES, **asked):
    settings = {"ratio": 0.5, "match": "channels", "steps": 1, "max_ratio": 0.95, **asked}
    return pruner.prune(net, shape, classes, "magnitude", settings, moments=moments)


def order_of_magnitude(net, name):
    """Channels by the L2 norm of their filter, which is what the method `magnitude` takes first."""
    from budama.pruning import criteria

    graph = Graph(net, models.example_input(small_nets.SHAPE), [net.fc])
    group = next(group for group in graph.groups() if group.name == name)
    return criteria.get("magnitude").importance(net)(group.traced).argsort(stable=True).tolist()


def missed(net, reader, gone):
    """What a 1×1 reader's output loses of its energy, from the images themselves."""
    seen = []
    hook = getattr(net, reader).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        net(images())
    hook.remove()
    rows = seen[0].movedim(1, -1).flatten(0, -2).double() if seen[0].ndim == 4 else seen[0].double()
    weight = getattr(net, reader).weight.detach().double().flatten(1)
    centred = rows - rows.mean(0)
    whole, part = centred @ weight.T, centred[:, gone] @ weight[:, gone].T
    return float(part.square().sum() / whole.square().sum())


@pytest.mark.parametrize("match", ["channels", "parameters"])
def test_sensitivity_is_the_greedy_choice_of_least_loss_for_what_is_saved(match):
    net = chain()
    readers, names = {"a": "b", "b": "c", "c": "fc"}, ["a", "b", "c"]
    orders = {name: order_of_magnitude(net, name) for name in names}
    widths, taken, expected = [6, 8, 5], dict.fromkeys(names, 0), []
    while any(widths[i] > 1 for i in range(3)):
        prices = {}
        for i, name in enumerate(names):
            if widths[i] > 1:
                before, after = orders[name][: taken[name]], orders[name][: taken[name] + 1]
                loss = [max(missed(net, readers[name], before[:n]) for n in range(len(before) + 1))]
                grown = max(loss[0], missed(net, readers[name], after)) - loss[0]
                fewer = [width - (j == i) for j, width in enumerate(widths)]
                saved = 1 if match == "channels" else layers_left(widths) - layers_left(fewer)
                prices[name] = grown / saved
        best = min(prices, key=prices.get)
        expected.append((best, orders[best][taken[best]]))
        widths[names.index(best)] -= 1
        taken[best] += 1
    assert found_order(net, match) == expected


def layers_left(widths):
    """Parameters, as the share of a layer's inputs times that of its outputs."""
    first, second, third = widths
    full = {"a": 3 * 9 * 6 + 6, "b": 6 * 8 + 8, "c": 8 * 5 + 5, "fc": 5 * small_nets.CLASSES + small_nets.CLASSES}
    left = {"a": first / 6, "b": first / 6 * second / 8, "c": second / 8 * third / 5, "fc": third / 5}
    return sum(full[name] * left[name] for name in full)


def found_order(net, match):
    from budama.pruning import criteria

    graph = Graph(net, models.example_input(small_nets.SHAPE), [net.fc])
    groups = graph.groups()
    importance = criteria.get("magnitude").importance(net)
    scores = [selection.position_scores(group, importance(group.traced), normalise=True) for group in groups]
    limits = selection.Limits({group.name: group.size for group in groups}, 0.95, 1)
    measured = complexity.measure(net, small_nets.SHAPE)
    costs = {layer["name"]: layer["parameters"] for layer in measured.layers}
    cost = None if match == "channels" else selection.Cost(groups, measured.parameters, costs)
    seen = gram.moments(net, groups, [images()])
    removals = scopes.removals("sensitivity", groups, scores, limits, cost, lambda: seen)
    assert [one.key for one in removals] == sorted(one.key for one in removals)
    return [(groups[one.group].name, one.idxs[0]) for one in removals]


def test_sensitivity_takes_first_what_no_reader_misses():
    net = chain()
    with torch.no_grad():
        net.b.weight[:, [1, 4]] = 0  # two channels of `a` that `b` does not read: the method takes them first, too
        net.a.weight[[1, 4]] *= 1e-3
    pruned = prune(net, ratio=2 / 19, scope="sensitivity")
    assert pruned.kept["a"] == [0, 2, 3, 5]
    assert [(layer["name"], layer["after"]) for layer in pruned.layers[:3]] == [("a", 4), ("b", 8), ("c", 5)]


@pytest.mark.parametrize("scope", ["isomorphic", "sensitivity"])
@pytest.mark.parametrize("match", ["channels", "macs"])
def test_the_asked_reduction_is_reached_in_steps_within_the_cap_and_in_multiples(scope, match):
    net = models.build(RESNET, 10, SMALL, seed=1)
    rounding = {"round_to": 4} if match == "channels" else {}
    seen = [torch.randn(4, *SMALL, generator=torch.Generator().manual_seed(1))]
    asked = {"ratio": 0.5, "scope": scope, "match": match, "steps": 2, "max_ratio": 0.75, **rounding}
    pruned = pruner.prune(
        copy.deepcopy(net), SMALL, 10, "magnitude", asked, moments=lambda of: gram.moments(of.model, of.groups, seen)
    )
    assert pruned.achieved[match] == pytest.approx(0.5, abs=0.02 if rounding else 0.005)
    others = [layer for layer in pruned.layers if layer["name"] != "fc"]
    assert all(layer["after"] >= layer["before"] / 4 for layer in others)
    if rounding:
        assert all(layer["after"] % 4 == 0 for layer in others)


def test_a_larger_ratio_leaves_no_layer_wider():
    net, earlier = chain(), None
    for ratio in (0.2, 0.4, 0.6, 0.8):
        now = [layer["after"] for layer in prune(net, ratio=ratio, scope="sensitivity").layers]
        assert earlier is None or all(one <= other for one, other in zip(now, earlier))
        earlier = now


def test_sensitivity_without_images_is_told():
    with pytest.raises(BudamaError, match=r"pruning\.scope sensitivity needs calibration images"):
        pruner.prune(chain(), small_nets.SHAPE, 5, "magnitude", {"ratio": 0.5, "scope": "sensitivity"})


def test_isomorphic_ranks_within_one_structure_and_takes_the_same_share_of_each():
    """The inner convolutions of six blocks are one class, the three residual sums another (one has no downsampling)."""
    net = models.build(RESNET, 10, SMALL, seed=1)
    graph = Graph(net, models.example_input(SMALL), [net.fc])
    groups = graph.groups()
    inner = [group for group in groups if group.name.endswith("conv1") and "." in group.name]
    assert len(inner) == 6
    assert len({scopes.structure(group) for group in inner}) == 1
    assert not {scopes.structure(group) for group in groups if group not in inner} & {scopes.structure(inner[0])}
    limits = selection.Limits({group.name: group.size for group in groups}, 0.95, 1)
    torch.manual_seed(0)
    scores = [torch.rand(group.size, dtype=torch.float64) for group in groups]
    removals = scopes.isomorphic(groups, scores, limits)
    total = sum(group.size for group in inner)
    numbers = [groups.index(group) for group in inner]
    flat = sorted((float(score), number, c) for number in numbers for c, score in enumerate(scores[number]))
    for ratio in (0.1, 0.3, 0.5):
        chosen = {(one.group, one.idxs[0]) for one in removals if one.key < ratio - 1e-9 and one.group in numbers}
        count = next(n for n in range(total + 1) if n / total >= ratio - 1e-9)
        assert chosen == {(number, c) for _, number, c in flat[:count]}


@pytest.mark.parametrize("name", [name for name in small_nets.NETS if name != "embedding"])
@pytest.mark.parametrize("scope", ["isomorphic", "sensitivity"])
def test_every_kind_of_group_can_be_pruned(name, scope):
    pruned = prune(small_nets.build(name, torch.float32), scope=scope, ratio=0.4)
    assert pruned.achieved["channels"] > 0.2
