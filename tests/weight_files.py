"""What tests of weights files share: networks, their weights, and what becomes of a file."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from budama.errors import BudamaError
from budama.networks import models

SMALL = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8, "width": 4}, "weights": None}
RAW, AVERAGE = (models.build(SMALL, 5, (1, 8, 8), seed=seed).state_dict() for seed in (1, 2))


class Block(nn.Module):
    """A residual block whose shortcut takes every second pixel and pads channels (He et al. 2016, option A)."""

    def __init__(self, inside, outside, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.padded = (outside - inside) // 2

    def forward(self, x):
        short = x if not self.padded else F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padded, self.padded))
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + short)


class ResNet20(nn.Module):
    """The layers of public CIFAR checkpoints: conv1, bn1, layerS.B.conv1/bn1/conv2/bn2, linear."""

    def __init__(self, classes=10):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        widths = [16, 16, 32, 64]
        for stage in (1, 2, 3):
            blocks = [
                Block(widths[stage - (place == 0)], widths[stage], 2 if stage > 1 and place == 0 else 1)
                for place in range(3)
            ]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


class Wraps(nn.Module):
    """A model around another: its names begin with net."""

    def __init__(self):
        super().__init__()
        self.net = models.build(SMALL, 5, (1, 8, 8))

    def forward(self, x):
        return self.net(x)


def behind(prefix, state):
    return OrderedDict((prefix + name, value) for name, value in state.items())


def built(path, key=None, model=SMALL, classes=5, shape=(1, 8, 8)):
    return models.build({**model, "weights": str(path), "weights_key": key}, classes, shape)


def told(path, key=None, model=SMALL, **others) -> str:
    """The one line that the file is refused with, of bounded length."""
    with pytest.raises(BudamaError) as caught:
        built(path, key, model, **others)
    (line,) = caught.value.lines
    assert len(line) < 600 + len(str(path))
    return line


def same(model, state) -> bool:
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
