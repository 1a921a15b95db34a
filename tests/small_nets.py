"""Small networks, one for each way in which channels of several layers hang together, and their groups by hand.

A group is `root: [(layer, role, first, stride)]`: channel c of the root is channel `first + c` of the layer, or, where
it is flattened, the features `c * stride` to `c * stride + stride - 1`.
"""

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

CLASSES, SHAPE = 5, (3, 8, 8)


class Plain(nn.Module):
    groups: ClassVar = {
        "conv1": [("conv1", "out", 0, 1), ("bn1", "both", 0, 1), ("conv2", "in", 0, 1)],
        "conv2": [("conv2", "out", 0, 1), ("fc", "in", 0, 4)],
    }

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.fc = nn.Conv2d(6, 8, 3, padding=1), nn.Linear(32, CLASSES)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.adaptive_avg_pool2d(functional.relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


class Residual(nn.Module):
    groups: ClassVar = {
        "conv1": [
            ("conv1", "out", 0, 1),
            ("bn1", "both", 0, 1),
            ("inner", "in", 0, 1),
            ("outer", "out", 0, 1),
            ("bn3", "both", 0, 1),
            ("fc", "in", 0, 1),
        ],
        "inner": [("inner", "out", 0, 1), ("bn2", "both", 0, 1), ("outer", "in", 0, 1)],
    }

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.inner, self.bn2 = nn.Conv2d(8, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.outer, self.bn3 = nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(x + self.bn3(self.outer(functional.relu(self.bn2(self.inner(x))))))
        return self.fc(x.mean((2, 3)))


class Concatenating(nn.Module):
    groups: ClassVar = {
        "left": [("left", "out", 0, 1), ("bn", "both", 0, 1), ("join", "in", 0, 1)],
        "right": [("right", "out", 0, 1), ("bn", "both", 4, 1), ("join", "in", 4, 1)],
        "join": [("join", "out", 0, 1), ("fc", "in", 0, 1)],
    }

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 6, 1)
        self.bn, self.join, self.fc = nn.BatchNorm2d(10), nn.Conv2d(10, 6, 3), nn.Linear(6, CLASSES)

    def forward(self, x):
        x = functional.relu(self.bn(torch.cat([self.left(x), self.right(x)], 1)))
        return self.fc(functional.relu(self.join(x)).mean((2, 3)))


class Depthwise(nn.Module):
    groups: ClassVar = {
        "expand": [
            ("expand", "out", 0, 1),
            ("bn1", "both", 0, 1),
            ("depthwise", "both", 0, 1),
            ("bn2", "both", 0, 1),
            ("project", "in", 0, 1),
        ],
        "project": [("project", "out", 0, 1), ("fc", "in", 0, 1)],
    }

    def __init__(self):
        super().__init__()
        self.expand, self.bn1 = nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.depthwise, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8)
        self.project, self.fc = nn.Conv2d(8, 6, 1), nn.Linear(6, CLASSES)

    def forward(self, x):
        x = functional.hardswish(self.bn1(self.expand(x)))
        x = functional.hardswish(self.bn2(self.depthwise(x)))
        return self.fc(functional.relu(self.project(x)).mean((2, 3)))


class Grouped(nn.Module):
    groups: ClassVar = {
        "conv1": [("conv1", "out", 0, 1), ("bn1", "both", 0, 1), ("grouped", "in", 0, 1)],
        "grouped": [("grouped", "out", 0, 1), ("bn2", "both", 0, 1), ("last", "in", 0, 1)],
        "last": [("last", "out", 0, 1), ("fc", "in", 0, 1)],
    }

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.grouped, self.bn2 = nn.Conv2d(8, 12, 3, groups=4), nn.BatchNorm2d(12)
        self.last, self.fc = nn.Conv2d(12, 6, 1), nn.Linear(6, CLASSES)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.grouped(x)))
        return self.fc(functional.relu(self.last(x)).mean((2, 3)))


NETS = {net.__name__.lower(): net for net in (Plain, Residual, Concatenating, Depthwise, Grouped)}


def build(name: str, dtype=torch.float64) -> nn.Module:
    """One of the networks, with weights and BatchNorm statistics as after some training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = NETS[name]().to(dtype)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                    tensor.data.add_(0.3 * torch.randn_like(tensor)).abs_()
    return net.eval()


def batches(count: int = 3, size: int = 7, dtype=torch.float64) -> list:
    """Images and labels."""
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, *SHAPE, generator=generator, dtype=torch.float64).to(dtype),
            torch.randint(0, CLASSES, (size,), generator=generator),
        )
        for _ in range(count)
    ]
