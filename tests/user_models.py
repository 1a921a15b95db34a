"""Networks as people write them: forms of output, ways to call a layer. Images [N, 3, 16, 16], five classes."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

SHAPE, CLASSES = (3, 16, 16), 5


class Plain(nn.Module):
    """Two convolutions and a linear layer; the others change a part of it."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, CLASSES)

    def features(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x)))

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


class GivesDict(Plain):
    def forward(self, x):
        features = self.features(x).mean((2, 3))
        return {"features": features, "logits": self.fc(features)}


class GivesOut(Plain):
    """torchvision's form for segmentation, with an auxiliary head."""

    def __init__(self):
        super().__init__()
        self.aux = nn.Linear(8, CLASSES)

    def forward(self, x):
        early = functional.relu(self.bn1(self.conv1(x)))
        late = functional.relu(self.bn2(self.conv2(early)))
        return {"out": self.fc(late.mean((2, 3))), "aux": self.aux(early.mean((2, 3)))}


class GivesList(Plain):
    def forward(self, x):
        features = self.features(x).mean((2, 3))
        return [self.fc(features), features]


@dataclass
class Output:
    loss: Tensor | None
    logits: Tensor


class GivesDataclass(Plain):
    def forward(self, x):
        return Output(None, super().forward(x))


class Named(NamedTuple):
    logits: Tensor
    hidden: Tensor


class GivesNamed(Plain):
    def forward(self, x):
        features = self.features(x).mean((2, 3))
        return Named(self.fc(features), features)


class TupleInTraining(Plain):
    def forward(self, x):
        logits = super().forward(x)
        return (logits, logits) if self.training else logits


class DictInTraining(Plain):
    def forward(self, x):
        logits = super().forward(x)
        return {"logits": logits, "aux": logits} if self.training else logits


class Views(Plain):
    """A view that channels_last maps do not allow."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16 * 16, CLASSES)

    def forward(self, x):
        x = self.features(x)
        return self.fc(x.view(x.size(0), -1))


class Twice(Plain):
    """The same layer is called twice."""

    def __init__(self):
        super().__init__()
        self.middle = nn.Conv2d(8, 8, 3, padding=1)

    def features(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.middle(functional.relu(self.middle(x))))
        return functional.relu(self.bn2(self.conv2(x)))


class Unused(Plain):
    def __init__(self):
        super().__init__()
        self.forgotten = nn.Conv2d(8, 12, 3)


class Keywords(Plain):
    def features(self, x):
        return functional.relu(self.bn2(input=self.conv2(input=functional.relu(self.conv1(input=x)))))


class ThroughMethods(nn.Module):
    """The backbone's own forward is never called."""

    def __init__(self):
        super().__init__()
        self.backbone = Plain()
        self.backbone.fc = nn.Identity()
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x):
        return self.head(self.backbone.features(x).mean((2, 3)))


class ConvHead(Plain):
    """Logits [N, classes, 1, 1]."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Conv2d(16, CLASSES, 1)

    def forward(self, x):
        return functional.adaptive_avg_pool2d(self.fc(self.features(x)), 1)


class ConvHeadFlat(ConvHead):
    def forward(self, x):
        return super().forward(x).flatten(1)


class Counts(Plain):
    """A buffer that every call changes, and that changes nothing."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class Branches(Plain):
    """Control flow by the data."""

    def forward(self, x):
        features = self.features(x).mean((2, 3))
        if features.mean() > 1e6:
            features = features * 2
        return self.fc(features)


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 4, 4)
        self.attention, self.norm = nn.MultiheadAttention(16, 2, batch_first=True), nn.LayerNorm(16)
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x):
        x = self.conv(x).flatten(2).transpose(1, 2)
        x = self.norm(x + self.attention(x, x, x, need_weights=False)[0])
        return self.fc(x.mean(1))


class LogSoftmax(Plain):
    def forward(self, x):
        return super().forward(x).log_softmax(1)


class Lazy(Plain):
    def __init__(self):
        super().__init__()
        self.fc = nn.LazyLinear(CLASSES)


class MyConv(nn.Conv2d):
    pass


class Subclassed(Plain):
    def __init__(self):
        super().__init__()
        self.conv2 = MyConv(8, 16, 3, 2, 1)


class Options(Plain):
    def forward(self, x, mask=None, *more, scale: float = 1.0):
        return scale * super().forward(x)


class Frozen(Plain):
    def __init__(self):
        super().__init__()
        for parameter in self.conv1.parameters():
            parameter.requires_grad_(False)


def parallel():
    return nn.DataParallel(Plain())


def compiled():
    return torch.compile(Plain())
