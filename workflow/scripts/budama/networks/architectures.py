"""The models that budama itself brings: `source: budama` in a baseline file."""

from collections.abc import Callable

import torch
from torch import nn


class _TwoConvolutions(nn.Module):
    """What the blocks share: two 3×3 convolutions, each with BatchNorm."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)


class BasicBlock(_TwoConvolutions):
    """Two 3×3 convolutions and a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__(channels_in, channels_out, stride)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(images)))))
        return self.relu(residual + self.shortcut(images))


class ResNetCifar(nn.Module):
    """ResNet for small images, `[N, in_channels, H, W]` to `[N, classes]`: see `resnet_cifar`."""

    def __init__(self, depth: int, width: int, in_channels: int, classes: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.stage1 = _stage(width, width, blocks, stride=1, block=BasicBlock)
        self.stage2 = _stage(width, 2 * width, blocks, stride=2, block=BasicBlock)
        self.stage3 = _stage(2 * width, 4 * width, blocks, stride=2, block=BasicBlock)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al. 2015, equation 10, backward form
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.relu(self.bn1(self.conv1(images)))
        features = self.stage3(self.stage2(self.stage1(features)))
        return self.fc(self.pool(features).flatten(1))


def _stage(
    channels_in: int, channels_out: int, blocks: int, stride: int, block: Callable[..., nn.Module]
) -> nn.Sequential:
    first = block(channels_in, channels_out, stride)
    return nn.Sequential(first, *(block(channels_out, channels_out, 1) for _ in range(blocks - 1)))


class PaddedBlock(_TwoConvolutions):
    """Two 3×3 convolutions and a shortcut without weights (He et al. 2016, section 3.3, option A)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__(channels_in, channels_out, stride)
        self.stride, self.padding = stride, (channels_out - channels_in) // 2

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        residual = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(images)))))
        shortcut = images[:, :, :: self.stride, :: self.stride] if self.stride > 1 else images
        if self.padding:
            shortcut = nn.functional.pad(shortcut, (0, 0, 0, 0, self.padding, self.padding))
        return torch.relu(residual + shortcut)


class PaddedResNetCifar(nn.Module):
    """`[N, in_channels, H, W]` to `[N, classes]`: see `resnet_cifar_padded`."""

    def __init__(self, depth: int, width: int, in_channels: int, classes: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, blocks, stride=1, block=PaddedBlock)
        self.layer2 = _stage(width, 2 * width, blocks, stride=2, block=PaddedBlock)
        self.layer3 = _stage(2 * width, 4 * width, blocks, stride=2, block=PaddedBlock)
        self.linear = nn.Linear(4 * width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        return self.linear(features.mean((2, 3)))


def _check(depth: int, width: int) -> None:
    if not isinstance(depth, int) or depth < 8 or (depth - 2) % 6:
        raise ValueError(f"depth is {depth!r}; it must be 6n + 2: 8, 14, 20, 32, 44, 56, 110")
    if not isinstance(width, int) or width < 1:
        raise ValueError(f"width is {width!r}; it must be a whole number of at least 1")


def resnet_cifar(depth: int = 20, width: int = 16, in_channels: int = 3, classes: int = 10) -> nn.Module:
    """ResNet of He et al. 2016, section 4.2: three stages of `width`, 2·`width` and 4·`width` channels.

    `depth` is 6n + 2 (8, 14, 20, 32, 44, 56, 110). Where the width changes, the shortcut is a projection (option B),
    not the zero-padding of option A: padded channels cannot be told apart from real ones once some have been removed.
    """
    _check(depth, width)
    return ResNetCifar(depth, width, in_channels, classes)


def resnet_cifar_padded(depth: int = 20, width: int = 16, in_channels: int = 3, classes: int = 10) -> nn.Module:
    """`resnet_cifar` with the shortcuts of the paper's own networks for CIFAR, which have no weights (option A).

    Its layers are called as in widely used public weights: conv1, bn1, layerS.B.conv1, …, linear. Where the width
    changes, channels of zeros are put around those of the shortcut; what is padded must stay whole:
    `ignore: [conv1, layer?.?.conv2]`.
    """
    _check(depth, width)
    return PaddedResNetCifar(depth, width, in_channels, classes)


ARCHITECTURES = {"resnet_cifar": resnet_cifar, "resnet_cifar_padded": resnet_cifar_padded}
