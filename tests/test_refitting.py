"""Refitting: what a plain loop of least squares gives, exact where it can be, never worse on held images."""

import copy

import pytest
import small_nets
import torch
from test_compensation import NETS, batches, cut, duplicate, misled
from torch import nn
from torch.nn import functional

from budama.networks.hooks import check_no_hooks
from budama.pruning import calibration, compensation, normal_equations, patches, pruner, refitting

EXACT = 1e-12  # a ridge that changes nothing


def seen_by(model, module, images, *, output):
    """What `module` reads, or gives, for all `images`."""
    found = []
    handle = module.register_forward_hook(lambda _, args, given: found.append((given if output else args[0]).clone()))
    with torch.no_grad():
        model(images)
    handle.remove()
    return found[0]


def unfolded(module, value):
    """`[rows, features]` of one block's `value`, and how its outputs lie beside them."""
    if isinstance(module, nn.Linear):
        return value.reshape(-1, value.shape[-1])
    columns = functional.unfold(value, module.kernel_size, module.dilation, module.padding, module.stride)
    return columns.transpose(1, 2).flatten(0, 1)


def by_a_plain_loop(original, pruned, kept, images):
    """Every convolution and linear layer refitted in turn with lstsq, by all `images` in one batch, of which every
    eighth does not count; BatchNorm by the batch."""
    whole = dict(original.named_modules())
    for module in pruned.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train().momentum = 0.0
    counted = torch.arange(len(images)) % 8 != 7
    for name, module in pruned.named_modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        read = seen_by(pruned, module, images, output=False)[counted]
        wanted = seen_by(original, whole[name], images, output=True)[counted]
        wanted = wanted[:, kept[name]] if name in kept else wanted
        blocks = module.groups if isinstance(module, nn.Conv2d) else 1
        for block in range(blocks):
            rows = unfolded(module, read.chunk(blocks, 1)[block])
            target = wanted.chunk(blocks, 1)[block].movedim(1, -1).flatten(0, -2)
            own = slice(block * target.shape[1], (block + 1) * target.shape[1])
            free = module.bias is not None or name in FREE
            given = rows - rows.mean(0) if free else rows
            weight = torch.linalg.lstsq(given, target - target.mean(0) if free else target).solution.T
            module.weight.data[own] = weight.reshape(module.weight[own].shape)
            if module.bias is not None and name not in FREE:
                module.bias.data[own] = target.mean(0) - weight @ rows.mean(0)
    return pruned


FREE = {
    "conv1",
    "inner",
    "outer",
    "expand",
    "depthwise",
    "grouped",
}  # a BatchNorm follows
HALF = {
    "plain": {"conv1": [0, 2, 5], "conv2": [1, 3]},
    "residual": {"conv1": [1, 4], "inner": [0, 3, 5]},
    "concatenating": {"left": [1], "right": [0, 2, 3], "join": [2, 4]},
    "depthwise": {"expand": [0, 5, 6], "project": [1, 2]},
    "grouped": {"conv1": [0, 2, 4, 6], "grouped": [1, 4, 7, 10], "last": [0, 3]},
}


@pytest.mark.parametrize("name", NETS)
def test_every_layer_is_what_a_plain_loop_of_least_squares_gives(name, monkeypatch):
    monkeypatch.setattr(normal_equations, "RIDGES", (EXACT,))
    net, images = small_nets.build(name), batches(1, 160)[0][0]
    _, after = cut(net, HALF[name])
    expected = by_a_plain_loop(net, copy.deepcopy(after.model), after.record.kept, images)
    told = refitting.refit(net, after.record.kept, after, [(images, None)], renewed=True)
    assert len(told["refitted"]) >= 2
    assert not told["left"]
    for module in after.model.modules():
        module.training = isinstance(module, nn.BatchNorm2d)
    with torch.no_grad():
        torch.testing.assert_close(after.model(images), expected(images), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "root"), [(name, root) for name in NETS for root in small_nets.NETS[name].groups])
def test_a_duplicated_channel_goes_without_a_trace(name, root, monkeypatch):
    monkeypatch.setattr(normal_equations, "RIDGES", (1e-7, EXACT))
    net = small_nets.build(name)
    gone = duplicate(net, root)
    images = batches(1)[0][0]
    _, after = cut(net, {root: gone})
    refitting.refit(net, after.record.kept, after, batches(), renewed=False)
    torch.testing.assert_close(after.model(images), net(images), rtol=0, atol=1e-5)
    check_no_hooks(net)
    check_no_hooks(after.model)


def test_nothing_changes_where_nothing_is_missing():
    net = small_nets.build("residual")
    _, after = cut(net, {})
    told = refitting.refit(net, {}, after, batches(), renewed=False)
    assert told == {"refitted": [], "left": []}
    assert all(torch.equal(one, other) for one, other in zip(after.model.parameters(), net.parameters()))


@pytest.mark.parametrize("ridge", [1e-3, 1.0])
def test_the_ridge_draws_to_the_weights_that_the_layer_has(ridge):
    generator = torch.Generator().manual_seed(0)
    rows, target = (torch.randn(200, 1, 1, n, generator=generator, dtype=torch.float64) for n in (6, 3))
    now = normal_equations.Weights(torch.randn(1, 3, 6, generator=generator, dtype=torch.float64), None, False)
    sums = normal_equations.Sums()
    for part, wanted in zip(rows.split(70), target.split(70)):
        sums.add(part, wanted)
    strength = ridge * float(rows.square().mean()) * 200
    tall = torch.cat([rows.flatten(0, 2), strength**0.5 * torch.eye(6, dtype=torch.float64)])
    aim = torch.cat([target.flatten(0, 2), strength**0.5 * now.weight[0].T])
    found = sums.fitted(now, ridge)
    torch.testing.assert_close(found.weight[0].T, torch.linalg.lstsq(tall, aim).solution, rtol=1e-9, atol=1e-9)
    missed = target - torch.einsum("npbf,bof->npbo", rows, found.weight)
    assert sums.error(found) == pytest.approx(float(missed.square().sum() / target.square().sum()), rel=1e-9)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(6, 4, 3, stride=2, padding=1, dilation=2),
        nn.Conv2d(6, 4, (3, 2), padding="same", groups=2),
        nn.Conv2d(6, 4, 3, padding=2, padding_mode="reflect"),
        nn.Conv1d(6, 4, 5, stride=3),
        nn.Conv3d(6, 4, (1, 2, 3), padding=(0, 1, 1)),
        nn.Linear(6, 4),
    ],
    ids=repr,
)
@pytest.mark.parametrize("wanted", [7, 1000])
def test_a_layer_is_its_weights_times_what_a_kernel_covers(layer, wanted):
    layer = layer.double()
    axes = layer.weight.ndim - 2
    value = torch.randn(3, *((6, *(9, 8, 7)[:axes]) if axes else (11, 6)), dtype=torch.float64)
    output = layer(value)
    rows = patches.inputs(layer, value, output, wanted, 0.3)
    expected = patches.outputs(layer, output, wanted, 0.3)
    assert rows.shape[1] == min(wanted, output[0, 0].numel() if axes else 11)
    product = torch.einsum("npbf,bof->npbo", rows, patches.weight_rows(layer, layer.weight))
    torch.testing.assert_close(product + layer.bias.reshape(product.shape[2:]), expected)


def test_what_the_model_gives_is_nearer_to_the_original_than_with_one_pass():
    net, seen = small_nets.build("residual"), batches(20, 16)
    generator = torch.Generator().manual_seed(9)
    images = torch.randn(200, *small_nets.SHAPE, generator=generator, dtype=torch.float64)
    errors = []
    for sequential in False, True:

        def compensate(before, after, gone, sequential=sequential):
            told = compensation.compensate(before, after, seen, renewed=True)
            if sequential:
                told["refitting"] = refitting.refit(net, gone.kept, after, seen, renewed=True)
                assert all(row["reached"] < row["without"] for row in told["refitting"]["refitted"])
            calibration.reestimate_batchnorm(after.model, seen)
            return told

        asked = {"ratio": 0.5, "steps": 2}
        done = pruner.prune(net, small_nets.SHAPE, small_nets.CLASSES, "magnitude", asked, compensate=compensate)
        with torch.no_grad():
            errors.append(float((done.model(images) - net(images)).square().mean()))
    assert errors[1] < 0.8 * errors[0]


def test_a_layer_that_gets_worse_on_held_images_keeps_its_weights_and_is_named():
    net, images = misled()
    _, after = cut(net, {"0": [1]})
    weight = after.model[1].weight.clone()
    told = refitting.refit(net, after.record.kept, after, [(images, None)], renewed=False)
    assert {"name": "1", "reason": "worse"} in told["left"]
    assert torch.equal(after.model[1].weight, weight)


def test_running_statistics_stay_and_layers_that_do_not_multiply_by_their_weights_are_named():
    class Standardised(nn.Conv2d):
        def forward(self, x):
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            return functional.conv2d(x, weight, self.bias, padding=self.padding)

    net = small_nets.build("plain")
    own = Standardised(6, 8, 3, padding=1).double()
    own.load_state_dict(net.conv2.state_dict())
    net.conv2 = own
    _, after = cut(net, {"conv1": [1, 4]})
    norm = after.model.bn1
    before = copy.deepcopy(norm.state_dict())
    weight = after.model.conv2.weight.clone()
    told = refitting.refit(net, after.record.kept, after, batches(), renewed=True)
    assert {"name": "conv2", "reason": "unlike"} in told["left"]
    assert [row["name"] for row in told["refitted"]] == ["fc"]
    assert torch.equal(after.model.conv2.weight, weight)
    assert all(torch.equal(value, before[key]) for key, value in norm.state_dict().items())
    assert norm.momentum == 0.1
    assert not norm.training


class Tokens(nn.Module):
    """A layer that is called twice, on what it gave itself, and one that reads tokens."""

    def __init__(self):
        super().__init__()
        self.first, self.again = nn.Linear(3, 6), nn.Linear(6, 6)
        self.last, self.fc = nn.Linear(6, 4), nn.Linear(4, small_nets.CLASSES)

    def forward(self, x):
        x = torch.relu(self.first(x.flatten(2).transpose(1, 2)))
        x = torch.relu(self.again(torch.relu(self.again(input=x))))
        return self.fc(torch.relu(self.last(x)).mean(1))


def test_layers_that_read_tokens_or_are_called_twice_are_refitted_to_all_that_they_gave():
    torch.manual_seed(1)
    net = Tokens().double()
    _, after = cut(net, {"last": [0, 2]})
    after.model.again.weight.data.mul_(0.7)
    seen = batches(8, 16)
    told = refitting.refit(net, after.record.kept, after, seen, renewed=False)
    names = [row["name"] for row in told["refitted"]]
    assert names[0] == "again"
    assert names[-1] == "fc"
    assert told["refitted"][0]["reached"] < 0.5 * told["refitted"][0]["without"]
