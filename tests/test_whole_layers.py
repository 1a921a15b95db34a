"""Layers that cannot be pruned are named with the reason, and nobody makes up for them."""

import pytest
import reports
import small_nets
import torch
from test_pruning import prune
from torch import nn
from torch.nn import functional

from budama.errors import BudamaError
from budama.networks import models
from budama.pruning import pruner


class Chain(nn.Module):
    """Layers one after the other; `last` channels reach the classifier."""

    def __init__(self, last: int, **layers: nn.Module):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.order, self.fc = tuple(layers), nn.Linear(last, small_nets.CLASSES)

    def forward(self, x):
        for name in self.order:
            x = functional.relu(self.get_submodule(name)(x))
        return self.fc(x.mean((2, 3)))


def conv(inputs, outputs, **others):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **others)


class Attended(nn.Module):
    """A map of one channel multiplies all channels; it reads them all, or their mean and greatest value."""

    def __init__(self, pooled: bool):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = conv(3, 16), conv(16, 32), conv(32, 24)
        self.map, self.fc, self.pooled = conv(2 if pooled else 32, 1), nn.Linear(24, small_nets.CLASSES), pooled

    def forward(self, x):
        x = functional.relu(self.conv2(functional.relu(self.conv1(x))))
        read = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1) if self.pooled else x
        return self.fc(functional.relu(self.conv3(x * self.map(read).sigmoid())).mean((2, 3)))


def multiplied():
    """Depthwise layers with two outputs an input."""
    return Chain(
        64, a=conv(3, 16), b=conv(16, 32, groups=16), c=conv(32, 32), d=conv(32, 64, groups=32), e=conv(64, 64)
    )


def transposed():
    return Chain(16, a=conv(3, 16), t=nn.ConvTranspose2d(16, 8, 2, 2, groups=8), b=conv(8, 16))


class Branched(nn.Module):
    """A second layer gives classes, too."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 16), conv(16, 24), conv(24, small_nets.CLASSES)
        self.fc = nn.Linear(24, small_nets.CLASSES)

    def forward(self, x):
        x = functional.relu(self.b(functional.relu(self.a(x))))
        return self.fc(x.mean((2, 3))) + self.c(x).mean((2, 3))


def narrow():
    return Chain(16, a=conv(3, 1), b=conv(1, 16), c=conv(16, 16))


# (network, pruning.ignore, channels left of every layer, layers that stay and why, share of all channels removed)
CASES = {
    "a map of pooled channels": (
        lambda: Attended(pooled=True),
        [],
        {"conv1": 8, "conv2": 32, "map": 1, "conv3": 12},
        {"conv2": ("map", "map"), "map": ("single", None)},
        20 / 73,
    ),
    "a map of all channels": (
        lambda: Attended(pooled=False),
        [],
        {"conv1": 8, "conv2": 16, "map": 1, "conv3": 12},
        {"map": ("single", None)},
        36 / 73,
    ),
    "two outputs an input": (
        multiplied,
        [],
        {"a": 16, "b": 16, "c": 32, "d": 32, "e": 32},
        {"a": ("blocks", "b"), "c": ("blocks", "d")},
        80 / 208,
    ),
    "transposed in groups": (
        transposed,
        [],
        {"a": 16, "t": 8, "b": 8},
        {"a": ("blocks", "t"), "t": ("blocks", "t")},
        8 / 40,
    ),
    "tied to the classes": (Branched, [], {"a": 8, "b": 12, "c": 5}, {"c": ("output", "fc")}, 20 / 40),
    "one channel": (narrow, [], {"a": 1, "b": 8, "c": 8}, {"a": ("single", None)}, 16 / 33),
    "left out": (narrow, ["c"], {"a": 1, "b": 8, "c": 16}, {"a": ("single", None), "c": ("ignored", None)}, 8 / 33),
    "tied to a layer that is left out": (
        lambda: small_nets.build("residual", torch.float32),
        ["outer"],
        {"conv1": 8, "inner": 3, "outer": 8},
        {"conv1": ("tied", "outer"), "outer": ("ignored", None)},
        3 / 14,
    ),
}


@pytest.mark.parametrize("scope", ["layerwise", "global"])
@pytest.mark.parametrize("case", CASES)
def test_what_stays_is_named_and_nobody_makes_up_for_it(case, scope):
    net, ignore, left, stays, share = CASES[case]
    pruned = prune(net().eval(), ratio=0.5, ignore=ignore, scope=scope)
    after = {layer["name"]: layer["after"] for layer in pruned.layers if layer["name"] != "fc"}
    assert {layer["name"]: (layer["reason"], layer["by"]) for layer in pruned.whole} == stays
    assert {name: after[name] for name in stays} == {name: left[name] for name in stays}
    assert pruned.achieved["channels"] == pytest.approx(share, abs=1 / 33 if scope == "global" else 1e-9)
    if scope == "layerwise":
        assert after == left


@pytest.mark.parametrize("ratio", [0.1, 0.25, 0.3, 0.6, 0.8])
def test_each_layer_is_left_with_a_possible_count_beside_its_own_share(ratio):
    net = Chain(10, a=conv(3, 3), b=conv(3, 24), c=conv(24, 24, groups=8), d=conv(24, 7), e=conv(7, 10)).eval()
    possible = {"a": 1, "b": 8, "c": 8, "d": 1, "e": 1}  # channels that go at once
    for layer in prune(net, ratio=ratio).layers:
        if layer["name"] != "fc":
            own = layer["before"] * (1 - ratio)
            assert abs(layer["after"] - own) < possible[layer["name"]] or layer["after"] == possible[layer["name"]]


def test_a_search_without_an_end_is_told_in_one_line():
    class Squared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.fc = conv(3, 8), conv(8, 16), nn.Linear(256, small_nets.CLASSES)

        def forward(self, x):
            x = functional.relu(self.b(functional.relu(self.a(x)))).flatten(2)
            return self.fc((x @ x.transpose(1, 2)).flatten(1))

    with pytest.raises(BudamaError, match=r"^b cannot be pruned: .* does not end.*; .*pruning.ignore: \[b\]$"):
        prune(Squared().eval())
    pruned = prune(Squared().eval(), ignore=["b"])
    assert (pruned.model.a.out_channels, pruned.model.b.out_channels) == (4, 16)


def test_attention_over_neighbouring_channels_keeps_the_width_of_its_block():
    """timm's ECA: a convolution that runs over the channels."""
    described = {"source": "timm", "name": "ecaresnet26t", "weights": None, "arguments": {}}
    pruned = prune(models.build(described, 10, (3, 64, 64), weights=False).eval(), shape=(3, 64, 64), classes=10)
    layers = {layer["name"]: (layer["before"], layer["after"]) for layer in pruned.layers}
    assert layers["layer4.1.conv2"] == (512, 256)
    assert {layer["reason"] for layer in pruned.whole} <= {"map", "single"}
    assert "layer4.1.conv3" in {layer["name"] for layer in pruned.whole}


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "conv2 (32): tied to the one channel of map; map (1): too few channels."),
        ("tr", "conv2 (32): tek kanallı bir katmana bağlı: map; map (1): kanalı çok az."),
    ],
)
def test_the_report_names_them(language, expected):
    content = reports.sample()
    pruned = prune(Attended(pooled=True).eval(), ratio=0.5)
    for row in content["variants"]:
        row["unpruned_layers"] = pruned.whole
    assert expected in reports.said(content, code=language).replace(chr(92), "")


class Recurrent(nn.Module):
    """A convolutional network that reads its features with an LSTM."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, padding=1)
        self.reads, self.head = nn.LSTM(16, 12, batch_first=True), nn.Linear(12, 10)

    def forward(self, x):
        x = self.second(self.first(x).relu()).relu()
        return self.head(self.reads(x.flatten(2).transpose(1, 2))[0].mean(1))


def test_a_layer_that_a_recurrent_one_reads_is_named_and_the_rest_is_pruned():
    model = Recurrent().eval()
    with pytest.raises(
        BudamaError, match=r"^second cannot be pruned: its channels reach reads, .*\(LSTM\).*pruning.ignore"
    ) as error:
        pruner.prune(model, (1, 8, 8), 10, "magnitude", {"ratio": 0.5})
    assert len(error.value.lines) == 1
    found = pruner.prune(model, (1, 8, 8), 10, "magnitude", {"ratio": 0.5, "ignore": ["second"]})
    assert (found.model.first.out_channels, found.model.second.out_channels) == (8, 16)


class Auxiliary(nn.Module):
    """A head that is called in training alone, defined after the one that gives the logits."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, padding=1)
        self.head, self.aux = nn.Linear(16, 10), nn.Linear(16, 10)

    def forward(self, x):
        x = self.second(self.first(x).relu()).relu().mean((2, 3))
        return (self.head(x), self.aux(x)) if self.training else self.head(x)


def test_a_layer_that_a_head_of_training_alone_reads_is_named():
    model = Auxiliary().eval()
    with pytest.raises(BudamaError, match=r"^second cannot be pruned.*pruning.ignore: \[second\]"):
        pruner.prune(model, (1, 8, 8), 10, "magnitude", {"ratio": 0.5})
    found = pruner.prune(model, (1, 8, 8), 10, "magnitude", {"ratio": 0.5, "ignore": ["second"]})
    assert (found.model.first.out_channels, found.model.head.out_features) == (8, 10)
    assert [len(out) for out in found.model.train()(torch.zeros(2, 1, 8, 8))] == [2, 2]
