"""Blocks of the operations that people use, out of which random networks are made."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

DRAWN: list[type["Block"]] = []


def drawn(kind: type["Block"]) -> type["Block"]:
    DRAWN.append(kind)
    return kind


class Block(nn.Module):
    """Features `[N, width, h, w]` in; `self.out` channels out."""

    def __init__(self, width: int, choose: Callable[..., object]) -> None:
        super().__init__()
        self.out = width
        self.build(width, choose)

    def build(self, width: int, choose) -> None: ...


def conv(into: int, out: int, kernel: int = 3, **options) -> nn.Conv2d:
    return nn.Conv2d(into, out, kernel, padding=kernel // 2, **options)


@drawn
class Plain(Block):
    def build(self, width, choose):
        self.out = choose(8, 12, 16)
        self.conv = conv(width, self.out, bias=choose(True, False))
        self.norm = choose(nn.BatchNorm2d, nn.InstanceNorm2d)(self.out)
        self.act = choose(nn.ReLU, nn.SiLU, nn.Hardswish, nn.GELU)()

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))


@drawn
class Residual(Block):
    def build(self, width, choose):
        self.a, self.b, self.norm = conv(width, 12), conv(12, width), nn.BatchNorm2d(width)

    def forward(self, x):
        return functional.relu(x + self.norm(self.b(functional.relu(self.a(x)))))


@drawn
class PaddedShortcut(Block):
    def build(self, width, choose):
        self.out, self.conv = width + 4, conv(width, width + 4)

    def forward(self, x):
        return functional.relu(self.conv(x) + functional.pad(x, (0, 0, 0, 0, 0, 4)))


@drawn
class Concatenated(Block):
    def build(self, width, choose):
        self.a, self.b, self.out = conv(width, 8), conv(width, 4, 1), 12

    def forward(self, x):
        return functional.relu(torch.cat([self.a(x), self.b(x)], 1))


@drawn
class FirstOfConcatenated(Block):
    def build(self, width, choose):
        self.a, self.b, self.out = conv(width, 8), conv(width, 8, 1), 12

    def forward(self, x):
        return functional.relu(torch.cat([self.a(x), self.b(x)], 1)[:, :12])


@drawn
class Shuffled(Block):
    def build(self, width, choose):
        self.conv, self.out = conv(width, 16), 16

    def forward(self, x):
        x = functional.relu(self.conv(x))
        return x.view(len(x), 2, -1, *x.shape[2:]).transpose(1, 2).flatten(1, 2)


@drawn
class Turned(Block):
    def build(self, width, choose):
        self.how = choose("roll", "flip", "index")

    def forward(self, x):
        if self.how == "roll":
            return x.roll(1, 1)
        return x.flip(1) if self.how == "flip" else x[:, torch.arange(x.shape[1] - 1, -1, -1)]


@drawn
class Halves(Block):
    def build(self, width, choose):
        self.conv, self.out, self.how = conv(width, 16), 8, choose("chunk", "split", "slice")

    def forward(self, x):
        x = self.conv(x)
        if self.how == "slice":
            a, b = x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]
        else:
            a, b = x.chunk(2, 1) if self.how == "chunk" else x.split(x.shape[1] // 2, 1)
        return functional.relu(a) * torch.sigmoid(b)


@drawn
class Squeezed(Block):
    def build(self, width, choose):
        self.a, self.b = nn.Linear(width, 6), nn.Linear(6, width)

    def forward(self, x):
        return x * self.b(functional.relu(self.a(x.mean((2, 3))))).sigmoid()[:, :, None, None]


@drawn
class SpatialGate(Block):
    def build(self, width, choose):
        self.map = conv(width, 1)

    def forward(self, x):
        return x * self.map(x).sigmoid()


@drawn
class Depthwise(Block):
    def build(self, width, choose):
        self.out = width * choose(1, 2)
        self.conv = conv(width, self.out, groups=width)

    def forward(self, x):
        return functional.relu(self.conv(x))


@drawn
class Grouped(Block):
    def build(self, width, choose):
        self.a, self.conv, self.out = conv(width, 16, 1), conv(16, 16, groups=choose(2, 4)), 16

    def forward(self, x):
        return functional.relu(self.conv(functional.relu(self.a(x))))


@drawn
class Tied(Block):
    def build(self, width, choose):
        self.a, self.b = conv(width, width), conv(width, width)
        self.b.weight = self.a.weight

    def forward(self, x):
        return functional.relu(self.b(functional.relu(self.a(x))))


@drawn
class CalledTwice(Block):
    def build(self, width, choose):
        self.conv = conv(width, width)

    def forward(self, x):
        return functional.relu(self.conv(functional.relu(self.conv(x))))


@drawn
class UnitLength(Block):
    def forward(self, x):
        return functional.normalize(x, dim=1)


@drawn
class OverChannels(Block):
    def build(self, width, choose):
        self.norm = choose(lambda c: nn.GroupNorm(1, c), lambda c: nn.GroupNorm(4, c), OwnLayerNorm)(width)

    def forward(self, x):
        return self.norm(x)


class OwnLayerNorm(nn.Module):
    """Layer normalisation over channels as many projects write it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        scaled = (x - mean) / ((x - mean).square().mean(1, keepdim=True) + 1e-6).sqrt()
        return scaled * self.weight[:, None, None] + self.bias[:, None, None]


@drawn
class SoftmaxOverChannels(Block):
    def forward(self, x):
        return x * x.softmax(1)


@drawn
class Standardised(Block):
    def build(self, width, choose):
        self.conv = conv(width, width)

    def forward(self, x):
        weight = self.conv.weight
        weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / (weight.std((1, 2, 3), keepdim=True) + 1e-5)
        return functional.relu(functional.conv2d(x, weight, self.conv.bias, padding=1))


@drawn
class Scaled(Block):
    def build(self, width, choose):
        self.scale = nn.Parameter(torch.rand(*choose((1,), (1, 1, 1, 1), (width, 1, 1))) + 0.5)

    def forward(self, x):
        return x * self.scale


@drawn
class OwnMatrix(Block):
    def build(self, width, choose):
        self.matrix = nn.Parameter(torch.randn(width, width) / width**0.5)
        self.how = choose("einsum", "matmul")

    def forward(self, x):
        if self.how == "einsum":
            return torch.einsum("nchw,cd->ndhw", x, self.matrix)
        return (x.permute(0, 2, 3, 1) @ self.matrix).permute(0, 3, 1, 2)


@drawn
class Attention(Block):
    def build(self, width, choose):
        self.fused, self.heads = choose(True, False), choose(1, 2)
        self.q, self.k, self.v = (nn.Linear(width, 8) for _ in range(3))
        self.qkv, self.proj = nn.Linear(width, 24), nn.Linear(8, width)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        count, length, _ = tokens.shape
        if self.fused:
            q, k, v = self.qkv(tokens).reshape(count, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = (f(tokens).view(count, length, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        mixed = (q @ k.transpose(-1, -2) * 0.3).softmax(-1) @ v
        out = tokens + self.proj(mixed.transpose(1, 2).reshape(count, length, -1))
        return out.transpose(1, 2).reshape(x.shape)


@drawn
class IntoOthers(Block):
    """Operations without a parameter that write one channel into the place of others."""

    def build(self, width, choose):
        self.how = choose("cumulative sum", "cumulative maximum", "sum added to all")

    def forward(self, x):
        if self.how == "sum added to all":
            return x + x.sum(1, keepdim=True)
        return x.cumsum(1) if self.how == "cumulative sum" else x.cummax(1).values


@drawn
class Finer(Block):
    def build(self, width, choose):
        self.kind = choose("pixel shuffle", "transposed")
        self.conv = conv(width, 16) if self.kind == "pixel shuffle" else nn.ConvTranspose2d(width, 8, 2, 2)
        self.out = 4 if self.kind == "pixel shuffle" else 8

    def forward(self, x):
        x = functional.relu(self.conv(x))
        return functional.avg_pool2d(functional.pixel_shuffle(x, 2) if self.kind == "pixel shuffle" else x, 2)
