"""What is removed is what was asked for, the lowest-scored, and nothing else."""

import copy

import pytest
import small_nets
import torch
from torch import nn
from torch.nn import functional

from budama.errors import BudamaError
from budama.networks import models
from budama.pruning import calibration, criteria, gram, pruner
from budama.pruning.dependency import Graph

METHODS = [name for name, one in criteria.CRITERIA.items() if not one.method.unpruned]
RESNET = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 14}, "weights": None}
SMALL = (3, 16, 16)


def settings(ratio=0.5, **others):
    return {"ratio": ratio, "scope": "layerwise", "match": "channels", "steps": 1, "max_ratio": 0.95, **others}


def prune(net, method="magnitude", shape=small_nets.SHAPE, classes=small_nets.CLASSES, **options):
    data = {"statistics": options.pop("statistics", None), "recalibrate": options.pop("recalibrate", None)}
    fresh = options.pop("fresh", None)
    return pruner.prune(net, shape, classes, method, settings(**options), fresh=fresh, moments=moments, **data)


def moments(of):
    return gram.moments(of.model, of.groups, (images for images, _ in small_nets.batches(dtype=torch.float32)))


def collect(net):
    return calibration.collect(net, small_nets.batches(dtype=torch.float32), threshold=0.25)


@pytest.fixture(params=list(small_nets.NETS))
def net(request):
    return small_nets.build(request.param, torch.float32)


@pytest.fixture(scope="module")
def resnet():
    return models.build(RESNET, 10, SMALL, seed=1)


@pytest.mark.parametrize("scope", ["layerwise", "global"])
@pytest.mark.parametrize("method", METHODS)
def test_all_removed_channels_are_the_lowest_scored_of_their_group(net, method, scope):
    if method == "bn_scale" and any("bn" not in str(group) for group in net.groups.values()):
        pytest.skip("a group without BatchNorm")
    statistics = collect(net)
    pruned = prune(net, method, scope=scope, statistics=statistics, seed=3, fresh=lambda: copy.deepcopy(net))
    graph = Graph(net, models.example_input(small_nets.SHAPE), [net.fc])
    groups, removed = graph.groups(), 0
    seen = (images for images, _ in small_nets.batches(dtype=torch.float32))
    statistics.values.update(gram.moments(net, groups, seen))
    importance = criteria.get(method).importance(net, statistics, seed=3)
    for group in groups:
        scores = importance(group.traced).reshape(group.repeats, -1).mean(0)
        kept = pruned.kept.get(group.name, list(range(group.size)))
        gone = [c for c in range(group.size) if c not in kept]
        removed += len(gone)
        block = group.size // group.repeats
        if gone:
            assert {c % block for c in gone} == set(
                torch.argsort(scores, stable=True)[: len(gone) // group.repeats].tolist()
            )
    assert removed


def test_the_pruned_model_computes_what_is_left_of_the_original(net):
    pruned = prune(net)
    silenced = small_nets.build(type(net).__name__.lower(), torch.float32)
    for name, kept in pruned.kept_inputs.items():
        module = silenced.get_submodule(name)
        for channel in range(module.weight.shape[1] * getattr(module, "groups", 1)):
            if channel not in kept and name != "depthwise":
                outs, ins = module.weight.shape[0] // getattr(module, "groups", 1), module.weight.shape[1]
                module.weight.data[channel // ins * outs : (channel // ins + 1) * outs, channel % ins] = 0
    images = small_nets.batches(dtype=torch.float32)[0][0]
    torch.testing.assert_close(pruned.model(images), silenced(images), rtol=1e-4, atol=1e-5)


def test_kept_channels_are_those_of_the_weights(net):
    pruned = prune(net, ratio=0.3)
    assert pruned.kept
    for name, kept in pruned.kept.items():
        old, new = net.get_submodule(name).weight, pruned.model.get_submodule(name).weight
        inputs = pruned.kept_inputs.get(name)
        if inputs is None or name == "depthwise":
            assert torch.equal(new, old[kept])
        elif net.get_submodule(name).groups == 1:
            assert torch.equal(new, old[kept][:, inputs])


def test_the_original_model_is_left_alone(net):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    prune(net)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_a_ratio_too_small_for_any_channel_is_an_error(net):
    with pytest.raises(BudamaError, match="removes no channel"):
        prune(net, ratio=0.001)
    with pytest.raises(BudamaError, match="removes no channel"):
        prune(net, ratio=0.001, match="macs")


def test_a_leftover_hook_is_refused(net):
    net.fc.register_forward_hook(lambda *_: None)
    with pytest.raises(BudamaError, match="hook was left on fc"):
        prune(net)


@pytest.mark.parametrize("scope", ["layerwise", "global"])
@pytest.mark.parametrize("match", ["channels", "macs", "parameters"])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.8])
def test_the_achieved_reduction_is_the_one_asked_for(resnet, scope, match, ratio):
    pruned = prune(resnet, shape=SMALL, classes=10, ratio=ratio, scope=scope, match=match)
    assert abs(pruned.achieved[match] - ratio) <= 0.005


@pytest.mark.parametrize("match", ["channels", "macs", "parameters"])
def test_layerwise_methods_remove_the_same_structure(resnet, match):
    shapes = {
        method: str(prune(resnet, method, SMALL, 10, match=match, seed=seed, ratio=0.4).layers)
        for method, seed in (("magnitude", 0), ("fpgm", 0), ("random", 1), ("random", 2), ("lamp", 0))
    }
    assert len(set(shapes.values())) == 1


def test_global_pruning_takes_more_from_some_layers_than_from_others(resnet):
    layers = [layer for layer in prune(resnet, shape=SMALL, classes=10, scope="global").layers if layer["name"] != "fc"]
    assert len({round(layer["after"] / layer["before"], 2) for layer in layers}) > 3


def test_no_layer_loses_more_than_max_ratio(resnet):
    pruned = prune(resnet, "bn_scale", SMALL, 10, scope="global", ratio=0.6, max_ratio=0.7)
    assert all(layer["after"] >= 0.3 * layer["before"] for layer in pruned.layers)
    with pytest.raises(BudamaError, match="cannot be met"):
        prune(resnet, shape=SMALL, classes=10, ratio=0.8, max_ratio=0.5)


@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_round_to_keeps_multiples(resnet, scope):
    pruned = prune(resnet, shape=SMALL, classes=10, ratio=0.4, scope=scope, round_to=8)
    assert all(layer["after"] % 8 == 0 for layer in pruned.layers if layer["name"] != "fc")
    assert pruned.achieved["channels"] == pytest.approx(0.4, abs=0.03)


def test_grouped_convolutions_keep_the_same_number_in_each_group():
    pruned = prune(small_nets.build("grouped", torch.float32), ratio=0.5)
    grouped = pruned.model.grouped
    assert grouped.groups == 4
    assert (grouped.in_channels, grouped.out_channels) == (4, 4)


def test_ignored_layers_stay_whole(resnet):
    pruned = prune(resnet, shape=SMALL, classes=10, ignore=["stage1.*", "conv1"])
    layers = {layer["name"]: layer for layer in pruned.layers}
    assert all(x["after"] == x["before"] for name, x in layers.items() if name.startswith(("stage1", "conv1", "fc")))
    assert any(x["after"] < x["before"] for name, x in layers.items() if name.startswith("stage2"))


@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_steps_recalibrate_what_is_left_and_end_at_the_ratio(scope):
    net, widths = small_nets.build("residual", torch.float32), []

    def recalibrate(model):
        widths.append(model.conv1.out_channels)
        return collect(model)

    pruned = prune(net, "wanda", statistics=collect(net), recalibrate=recalibrate, steps=4, scope=scope)
    assert len(widths) == 3
    assert widths == sorted(widths, reverse=True)
    assert pruned.achieved["channels"] == pytest.approx(0.5, abs=0.04)
    assert pruned.kept["conv1"] == sorted(set(pruned.kept["conv1"]))


def test_steps_need_new_statistics_at_every_step():
    net = small_nets.build("plain", torch.float32)
    with pytest.raises(BudamaError, match="calibrated anew"):
        prune(net, "wanda", statistics=collect(net), steps=2)


def test_scratch_has_the_structure_of_magnitude_and_new_weights(resnet):
    fresh = lambda: models.build(RESNET, 10, SMALL, seed=9)  # noqa: E731
    scratch = prune(resnet, "scratch", SMALL, 10, fresh=fresh, ratio=0.4, steps=2)
    magnitude = prune(resnet, "magnitude", SMALL, 10, ratio=0.4, steps=2)
    assert scratch.kept == magnitude.kept
    kept = scratch.kept["conv1"]
    assert torch.equal(scratch.model.conv1.weight, fresh().conv1.weight[kept])
    assert not torch.equal(scratch.model.conv1.weight, magnitude.model.conv1.weight)


def test_the_seed_decides_what_random_removes_and_nothing_else(resnet):
    kept = [prune(resnet, "random", SMALL, 10, seed=seed).kept for seed in (1, 1, 2)]
    assert kept[0] == kept[1] != kept[2]
    assert prune(resnet, "magnitude", SMALL, 10, seed=1).kept == prune(resnet, "magnitude", SMALL, 10, seed=2).kept


def test_a_method_that_cannot_serve_the_model_says_so():
    with pytest.raises(criteria.Unavailable, match="conv2 pass through no BatchNorm"):
        prune(small_nets.build("plain", torch.float32), "bn_scale")


class Shuffled(nn.Module):
    """Channels are put into another order, which the dependency graph does not see."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, small_nets.CLASSES)
        # The first half scores lowest; a choice that mirrors itself would survive the new order.
        self.conv2.weight.data.mul_(torch.arange(1, 9).view(-1, 1, 1, 1))

    def forward(self, x):
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.conv2(x)).flip(1)
        return self.fc(functional.relu(self.conv3(x)).mean((2, 3)))


def test_a_layer_that_stands_in_the_way_is_named_with_how_to_leave_it_out():
    with pytest.raises(BudamaError, match=r"^conv2 cannot be pruned.*pruning.ignore: \[conv2\]"):
        prune(Shuffled().eval())
    assert prune(Shuffled().eval(), ignore=["conv2"]).model.conv1.out_channels == 4


class Halved(nn.Module):
    """Half of the channels go past a layer, twice, as in CSPNet; `joined` adds them to what went through, too."""

    def __init__(self, joined: bool):
        super().__init__()
        self.first, self.past = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.second, self.past2 = nn.Conv2d(8, 8, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.last, self.fc, self.joined = nn.Conv2d(8, 6, 1), nn.Linear(6, small_nets.CLASSES), joined

    def forward(self, x):
        kept, half = functional.relu(self.first(x)).split(4, 1)
        kept, half = functional.relu(self.second(torch.cat([kept, self.past(half)], 1))).split(4, 1)
        half = self.past2(half) + half if self.joined else self.past2(half)
        return self.fc(functional.relu(self.last(torch.cat([kept, half], 1))).mean((2, 3)))


def test_every_layer_that_stands_in_the_way_is_named_at_once():
    with pytest.raises(BudamaError, match=r"^first, second cannot be pruned.*pruning.ignore: \[first, second\]"):
        prune(Halved(joined=False).eval())
    assert prune(Halved(joined=False).eval(), ignore=["first", "second"]).model.last.out_channels == 3


def test_a_model_on_which_the_dependency_graph_itself_fails_is_told_in_one_line():
    with pytest.raises(BudamaError, match=r"^the model cannot be pruned: .* graph fails \(TypeError: [^\n]*$"):
        prune(Halved(joined=True).eval())


def test_statistics_that_are_not_finite_are_told():
    net = small_nets.build("plain", torch.float32)
    net.conv1.weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(BudamaError, match="scores of conv1 are not finite"):
        prune(net)


@pytest.mark.parametrize(("ratio", "mib", "gmacs"), [(0.1, 79.67, 3.34), (0.2, 63.64, 2.66)])
def test_resnet50_comes_out_as_in_the_published_tables(ratio, mib, gmacs):
    net = models.build(
        {"source": "torchvision", "name": "resnet50", "weights": None}, 1000, (3, 224, 224), weights=False
    )
    pruned = prune(net, shape=(3, 224, 224), classes=1000, ratio=ratio)
    assert (round(pruned.before.size_mib, 2), round(pruned.before.gmacs, 2)) == (97.70, 4.13)
    assert (round(pruned.after.size_mib, 2), round(pruned.after.gmacs, 2)) == (mib, gmacs)
