"""Small random networks, and channels that are exactly dead in them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from random_blocks import DRAWN, Block, OwnLayerNorm, Plain, conv
from torch import Tensor, nn
from torch.nn import functional

SIDE, CLASSES = 8, 10


class RandomNet(nn.Module):
    """A stem, a few blocks, and one of the usual heads."""

    def __init__(self, blocks: list[type[Block]], choose) -> None:
        super().__init__()
        width = 8
        self.stem, built = conv(1, width, stride=2), []
        for kind in blocks:
            built.append(kind(width, choose))
            width = built[-1].out
        self.blocks, self.head = nn.Sequential(*built), choose("mean", "flatten", "channels last", "convolution")
        inputs = width * (SIDE // 2) ** 2 if self.head in ("flatten", "channels last") else width
        self.last = nn.Conv2d(width, CLASSES, 1) if self.head == "convolution" else nn.Linear(inputs, CLASSES)

    def forward(self, x):
        x = self.blocks(functional.relu(self.stem(x)))
        if self.head == "convolution":
            return self.last(x).mean((2, 3))
        x = x.permute(0, 2, 3, 1) if self.head == "channels last" else x
        return self.last(x.mean((2, 3)) if self.head == "mean" else x.flatten(1))


@dataclass
class Net:
    model: RandomNet
    names: list[str] = field(default_factory=list)


def net(seed: int) -> Net:
    """The network of a seed; its first block is each kind in turn."""
    random = torch.Generator().manual_seed(seed)

    def choose(*options):
        return options[int(torch.randint(len(options), (1,), generator=random))]

    torch.manual_seed(seed)
    kinds = [DRAWN[seed % len(DRAWN)], *(choose(*DRAWN) for _ in range(choose(0, 1, 1, 2)))]
    model = RandomNet([Plain, *kinds], choose).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.3, 0.3)
    return Net(model, [kind.__name__ for kind in kinds] + [model.head])


def kill(model: nn.Module, kept: dict[str, list[int]]) -> bool:
    """Make the channels that are not `kept` dead: what gives them gives 0. Whether any was alive."""
    alive, modules = False, dict(model.named_modules())
    for name, channels in kept.items():
        after = modules.get(f"{name.rpartition('.')[0]}.norm")
        layers = [modules[name]]
        if isinstance(after, nn.BatchNorm2d) and name.rpartition(".")[2] in ("conv", "b"):
            layers.append(after)
        for layer in layers:
            axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
            gone = torch.tensor([c for c in range(layer.weight.shape[axis]) if c not in channels], dtype=torch.long)
            for value, at in (layer.weight, axis), (layer.bias, 0):
                if value is not None and len(gone):
                    alive |= bool(value.data.index_select(at, gone).abs().max() > 0)
                    value.data.index_fill_(at, gone, 0)
    return alive


def unnormalised(model: nn.Module) -> nn.Module:
    """The model without statistics over channels, whose mean changes by right when dead channels go."""
    for module in model.modules():
        if isinstance(module, nn.GroupNorm | OwnLayerNorm):
            module.forward = _affine(module)  # type: ignore[method-assign]
    return model


def _affine(module: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: x * module.weight[:, None, None] + module.bias[:, None, None]
