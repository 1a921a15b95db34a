"""Every method's score of every channel, against a loop over channels that knows each network's groups by hand."""

import math

import pytest
import small_nets
import torch
from torch import nn
from torch.nn import functional

from budama.errors import BudamaError
from budama.networks import models
from budama.pruning import calibration, criteria, gram
from budama.pruning.dependency import Graph

THRESHOLD = 0.25
DETERMINED = ["magnitude", "taylor", "wanda", "coverage", "fpgm", "bn_scale", "lamp", "l1", "flap", "obs", "fold"]
DETERMINED += ["hessian"]


def features(member, channel):
    """The layer's own channels that one channel of the root is."""
    _, _, first, stride = member
    return range(first + channel * stride, first + (channel + 1) * stride)


def weights_of(value, module, role, feature):
    """The part of a weight (or of its gradient) that belongs to a channel, as a flat list of numbers."""
    if role != "in":
        return value[feature].flatten()
    if isinstance(module, nn.Linear):
        return value[:, feature].flatten()
    outs, ins = module.out_channels // module.groups, module.in_channels // module.groups
    block = feature // ins
    return value[block * outs : (block + 1) * outs, feature % ins].flatten()


def seen_inputs(net, batches):
    """The inputs of every convolution and linear layer: one tensor a layer, over all images."""
    seen = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, x, name=name: seen.setdefault(name, []).append(x[0].detach()))
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    for images, _ in batches:
        net(images)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(values) for name, values in seen.items()}


def consumers(net, group):
    """Members at whose input a channel is read."""
    return [m for m in group if m[1] == "in" or (m[1] == "both" and isinstance(net.get_submodule(m[0]), nn.Conv2d))]


def magnitude(net, batches, group, size):
    squared = [0.0] * size
    for member in group:
        module = net.get_submodule(member[0])
        for channel in range(size):
            for feature in features(member, channel):
                for weight in weights_of(module.weight.detach(), module, member[1], feature):
                    squared[channel] += float(weight) ** 2
    return [math.sqrt(value) for value in squared]


def lamp(net, batches, group, size):
    squared = [value**2 for value in magnitude(net, batches, group, size)]
    return [value / sum(other for other in squared if other >= value) for value in squared]


def bn_scale(net, batches, group, size):
    norms = [m for m in group if isinstance(net.get_submodule(m[0]), nn.BatchNorm2d)]
    return [sum(abs(float(net.get_submodule(m[0]).weight.detach()[m[2] + c])) for m in norms) for c in range(size)]


def fpgm(net, batches, group, size):
    total = [0.0] * size
    for member in group:
        module = net.get_submodule(member[0])
        if isinstance(module, nn.BatchNorm2d):
            continue
        filters = [
            torch.cat([weights_of(module.weight, module, member[1], f) for f in features(member, c)])
            for c in range(size)
        ]
        for channel in range(size):
            total[channel] += sum(float((filters[channel] - other).detach().norm()) for other in filters)
    return total


def wanda(net, batches, group, size):
    inputs, total = seen_inputs(net, batches), [0.0] * size
    for member in consumers(net, group):
        module, role = net.get_submodule(member[0]), member[1]
        for channel in range(size):
            for feature in features(member, channel):
                norm = math.sqrt(float((inputs[member[0]][:, feature] ** 2).sum()))
                total[channel] += float(weights_of(module.weight.detach(), module, role, feature).abs().sum()) * norm
    return total


def filters_of(net, group, size):
    """(channel, the layer that produces it, the filter there), for all channels of a group."""
    for member in group:
        module = net.get_submodule(member[0])
        if member[1] == "in" or isinstance(module, nn.BatchNorm2d):
            continue
        for channel in range(size):
            for feature in features(member, channel):
                yield channel, module, feature


def l1(net, batches, group, size):
    total = [0.0] * size
    for channel, module, feature in filters_of(net, group, size):
        total[channel] += sum(abs(float(w)) for w in module.weight.detach()[feature].flatten())
    return total


def fold(net, batches, group, size):
    filters = [[] for _ in range(size)]
    for channel, module, feature in filters_of(net, group, size):
        filters[channel] += [float(w) for w in module.weight.detach()[feature].flatten()]
        filters[channel] += [float(module.bias.detach()[feature])] if module.bias is not None else []
    between = [[math.dist(one, other) for other in filters] for one in filters]
    return [min(between[c][d] for d in range(size) if d != c) for c in range(size)]


def flap(net, batches, group, size):
    inputs, total = seen_inputs(net, batches), [0.0] * size
    for member in consumers(net, group):
        module, role = net.get_submodule(member[0]), member[1]
        for channel in range(size):
            for feature in features(member, channel):
                seen = inputs[member[0]][:, feature].flatten()
                variance = float(((seen - seen.mean()) ** 2).mean())
                total[channel] += variance * float(
                    (weights_of(module.weight.detach(), module, role, feature) ** 2).sum()
                )
    return total


def obs(net, batches, group, size):
    """Of all that may go next, that after which the least is missed, every set of removed channels by itself."""
    inputs, found = seen_inputs(net, batches), []
    for name, role, first, stride in consumers(net, group):
        module = net.get_submodule(name)
        grouped, depthwise = (getattr(module, "groups", 1), role == "both")
        own = [list(features((name, role, first, stride), c)) for c in range(size)]
        seen = torch.stack([inputs[name][:, f].transpose(0, 1).flatten(1).flatten() for f in own])
        moment = torch.cov(seen, correction=0)
        if grouped > 1:
            block = torch.arange(size) // (1 if depthwise else size // grouped)
            moment = moment * (block[:, None] == block[None])
        weights = torch.stack([
            torch.cat([weights_of(module.weight.detach(), module, role, f) for f in one]) for one in own
        ])  # fmt: skip
        found.append((moment + 1e-3 * moment.diagonal().mean() * torch.eye(size, dtype=torch.float64), weights))

    def missed(gone):
        kept, total = [c for c in range(size) if c not in gone], 0.0
        for moment, weights in found:
            rest = moment[gone][:, gone]
            if kept:
                between = moment[gone][:, kept]
                rest = rest - between @ torch.linalg.inv(moment[kept][:, kept]) @ between.T
            total += float((weights[gone] * (rest @ weights[gone])).sum())
        return total

    gone, scores = [], [0.0] * size
    while len(gone) < size:
        channel = min((c for c in range(size) if c not in gone), key=lambda c: missed([*gone, c]))
        gone.append(channel)
        scores[channel] = missed(gone)
    return scores


def coverage(net, batches, group, size):
    inputs, total, readers = seen_inputs(net, batches), [0.0] * size, consumers(net, group)
    for member in readers:
        for channel in range(size):
            active = positions = 0
            for image in inputs[member[0]]:
                scaled = (image - image.min()) / (image.max() - image.min())
                for feature in features(member, channel):
                    active += int((scaled[feature] > THRESHOLD).sum())
                    positions += scaled[feature].numel()
            total[channel] += active / positions / len(readers)
    return total


def gradient_sums(net, batches, group, size, change):
    """Σ over members, parameters and channels' weights of `change(gradients · weights)`, averaged over batches."""
    total = [0.0] * size
    for images, labels in batches:
        net.zero_grad()
        functional.cross_entropy(net(images), labels).backward()
        for member in group:
            module, role = net.get_submodule(member[0]), member[1]
            for channel in range(size):
                for feature in features(member, channel):
                    weight, gradient = (
                        weights_of(v, module, role, feature) for v in (module.weight, module.weight.grad)
                    )
                    total[channel] += change((weight * gradient).detach()) / len(batches)
                    if role != "in" and module.bias is not None:
                        total[channel] += change((module.bias[feature] * module.bias.grad[feature]).detach()) / len(
                            batches
                        )
    net.zero_grad(set_to_none=True)
    return total


def taylor(net, batches, group, size):
    return gradient_sums(net, batches, group, size, lambda products: float(products.sum()) ** 2)


def hessian(net, batches, group, size):
    return gradient_sums(net, batches, group, size, lambda products: 0.5 * float(products.pow(2).sum()))


def traced(net):
    graph = Graph(net, models.example_input(small_nets.SHAPE).double(), [net.fc])
    return {group.name: group for group in graph.groups()}


@pytest.fixture(scope="module", params=list(small_nets.NETS))
def case(request):
    net, batches = small_nets.build(request.param), small_nets.batches()
    statistics, groups = calibration.collect(net, batches, threshold=THRESHOLD), traced(net)
    statistics.values.update(gram.moments(net, list(groups.values()), (images for images, _ in batches)))
    return net, batches, groups, statistics


def test_groups_are_those_that_one_finds_by_hand(case):
    net, _, groups, _ = case
    for root, expected in net.groups.items():
        found = {(m.name, m.role): dict(zip(m.idxs.tolist(), m.roots.tolist())) for m in groups[root].members}
        size = groups[root].size
        assert found == {(m[0], m[1]): {f: c for c in range(size) for f in features(m, c)} for m in expected}


@pytest.mark.parametrize("method", DETERMINED)
def test_scores_equal_a_loop_over_channels(case, method):
    net, batches, groups, statistics = case
    scores = criteria.get(method).importance(net, statistics, seed=0)
    compared = 0
    for root, group in net.groups.items():
        if method == "bn_scale" and not any(name.startswith("bn") for name, *_ in group):
            with pytest.raises(criteria.Unavailable, match=root):
                scores(groups[root].traced)
            continue
        expected = globals()[method](net, batches, group, groups[root].size)
        torch.testing.assert_close(
            scores(groups[root].traced), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-12
        )
        compared += 1
    assert compared


def test_random_scores_depend_on_the_seed_and_the_layer_alone(case):
    net, _, groups, _ = case
    one, other = (list(groups.values())[i].traced for i in (0, 1))
    scores = criteria.get("random").importance(net, seed=1)
    assert torch.equal(scores(one), criteria.get("random").importance(net, seed=1)(one))
    assert not torch.equal(scores(one), criteria.get("random").importance(net, seed=2)(one))
    assert not torch.equal(scores(one)[:4], scores(other)[:4])


def test_scratch_ranks_as_magnitude_does(case):
    net, _, groups, _ = case
    for group in groups.values():
        expected = criteria.get("magnitude").importance(net)(group.traced)
        assert torch.equal(criteria.get("scratch").importance(net, seed=5)(group.traced), expected)


def test_bn_scale_says_that_it_needs_batchnorm():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    assert "no BatchNorm" in criteria.get("bn_scale").unavailable(net)
    assert criteria.get("magnitude").unavailable(net) is None


def test_methods_that_read_data_refuse_to_run_without_statistics(case):
    for method in ("wanda", "coverage", "flap", "obs", "taylor", "hessian"):
        with pytest.raises(BudamaError, match=f"{method} needs calibration statistics"):
            criteria.get(method).importance(case[0])


def test_an_unknown_method_is_told_with_the_nearest_name():
    with pytest.raises(BudamaError, match="did you mean magnitude"):
        criteria.get("magnitud")
