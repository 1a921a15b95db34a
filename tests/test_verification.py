"""The gate of equivalence looks at models with free parameters and normalisations, too."""

import re

import pytest
import torch
from torch import nn

from budama.errors import BudamaError
from budama.pruning import pruner, working_copy


class Wired(nn.Module):
    """Two convolutions and a head, and between them what a test puts there."""

    def __init__(self, between, after="pool", norm=None, free=None):
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, 2, 1)
        self.norm = norm or nn.Identity()
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Linear(16 if after == "pool" else 256, 10)
        self.scale = nn.Parameter(torch.ones(free)) if free else None
        self.between, self.after = between, after

    def forward(self, x):
        x = self.between(self.norm(self.first(x).relu()))
        x = self.second(x).relu()
        x = x.mean((2, 3)) if self.after == "pool" else x.permute(0, 2, 3, 1).flatten(1)
        x = self.head(x)
        return x if self.scale is None else x * self.scale


def shuffled(x):
    return x.view(len(x), 2, 8, *x.shape[2:]).transpose(1, 2).flatten(1, 2)


def pruned(model, ratio=0.5):
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.2)
    return pruner.prune(model.eval(), (1, 8, 8), 10, "magnitude", {"ratio": ratio})


WRONG = {
    "permute and flatten, a scalar": lambda: Wired(lambda x: x, after="permute", free=1),
    "permute and flatten, a vector": lambda: Wired(lambda x: x, after="permute", free=10),
    "roll, a scalar": lambda: Wired(lambda x: x.roll(3, 1), free=1),
    "flip, a scalar": lambda: Wired(lambda x: x.flip(1), free=1),
    "shuffle, group normalisation": lambda: Wired(shuffled, norm=nn.GroupNorm(4, 16)),
    "roll, group normalisation": lambda: Wired(lambda x: x.roll(3, 1), norm=nn.GroupNorm(1, 16)),
    "flip, local response normalisation": lambda: Wired(lambda x: x.flip(1), norm=nn.LocalResponseNorm(3)),
}
RIGHT = {
    "a scalar": lambda: Wired(lambda x: x, free=1),
    "a vector": lambda: Wired(lambda x: x, free=10),
    "group normalisation": lambda: Wired(lambda x: x, norm=nn.GroupNorm(1, 16)),
    "group normalisation, a scalar": lambda: Wired(lambda x: x, norm=nn.GroupNorm(1, 16), free=1),
    "local response normalisation": lambda: Wired(lambda x: x, norm=nn.LocalResponseNorm(3)),
    "no more": lambda: Wired(lambda x: x),
}


@pytest.mark.parametrize("build", WRONG.values(), ids=WRONG)
def test_channels_that_are_read_as_others_are_refused_with_the_layer(build):
    with pytest.raises(BudamaError, match=r"(first|second).*pruning.ignore"):
        pruned(build())


@pytest.mark.parametrize("build", RIGHT.values(), ids=RIGHT)
def test_what_is_wired_rightly_is_pruned(build):
    assert pruned(build()).model.first.out_channels == 8


@pytest.mark.parametrize("free", [None, 1])
def test_exactly_dead_channels_change_nothing(free):
    model = Wired(lambda x: x, free=free).eval()
    with torch.no_grad():
        for layer in (model.first, model.second):
            layer.weight[::2] = 0
            layer.bias[::2] = 0
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    found = pruner.prune(model, (1, 8, 8), 10, "magnitude", {"ratio": 0.5})
    assert found.model.second.out_channels == 8
    with torch.no_grad():
        assert torch.allclose(found.model(images), model(images), atol=1e-5)


class Deep(nn.Module):
    """Sixteen convolutions, of which some hand their channels on in another order."""

    def __init__(self, shuffling):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(8 if number else 1, 8, 3, padding=1) for number in range(16))
        self.head, self.shuffling = nn.Linear(8, 10), shuffling

    def forward(self, x):
        for number, layer in enumerate(self.layers):
            x = layer(x).relu()
            x = x.roll(3, 1) if number in self.shuffling else x
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize(("shuffling", "most"), [((), 1), ((10,), 11), ((2, 9, 14), 25)])
def test_what_stands_in_the_way_is_found_by_halves(shuffling, most, monkeypatch):
    trials = []
    verified = working_copy.WorkingCopy._verified_without
    monkeypatch.setattr(
        working_copy.WorkingCopy, "_verified_without", lambda *given: trials.append(given) or verified(*given)
    )
    if not shuffling:
        assert pruned(Deep(shuffling)).achieved["channels"] == 0.5
    else:
        names = ", ".join(f"layers.{number}" for number in shuffling)
        with pytest.raises(BudamaError, match=rf"^{re.escape(names)} cannot be pruned: .* pruning.ignore: \[{names}\]"):
            pruned(Deep(shuffling))
    assert len(trials) <= most


def test_of_many_that_stand_in_the_way_some_are_named():
    names = ", ".join(f"layers.{number}" for number in range(working_copy.MOST_BLAMED))
    with pytest.raises(BudamaError, match=rf"^{re.escape(names)} cannot be pruned \(others may follow\): "):
        pruned(Deep(range(16)))
