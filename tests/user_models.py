"""Networks as people write them: forms of output, ways to call a layer. Images [N, 3, 16, 16], five classes."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

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


class InAList(Plain):
    """Layers that PyTorch does not know of."""

    def __init__(self):
        super().__init__()
        self.hidden = [nn.Conv2d(8, 8, 3, padding=1)]

    def features(self, x):
        x = functional.relu(self.hidden[0](functional.relu(self.conv1(x))))
        return functional.relu(self.bn2(self.conv2(x)))


class Counts(Plain):
    """A buffer that every call changes, and that changes nothing."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class OneImage(Plain):
    """Works with one image alone."""

    def forward(self, x):
        return self.fc(self.features(x).view(1, 16, -1).mean(2))


class TwoImages(Plain):
    """Works with a fixed batch alone."""

    def forward(self, x):
        assert len(x) == 8, "eight images, please"
        return super().forward(x)


class ChangesInput(Plain):
    def forward(self, x):
        return super().forward(x.sub_(0.5))


class InPlace(Plain):
    def features(self, x):
        x = self.bn1(self.conv1(x)).relu_()
        x += 0.1
        return self.bn2(self.conv2(x)).relu_()


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


class DotProduct(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.q, self.k, self.v = nn.Conv2d(3, 16, 4, 4), *(nn.Linear(16, 16) for _ in range(3))
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x):
        x = self.conv(x).flatten(2).transpose(1, 2)
        return self.fc(functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x)).mean(1))


class Product(Plain):
    """A learnt matrix of no layer."""

    def __init__(self, how: str):
        super().__init__()
        self.matrix, self.bias, self.how = nn.Parameter(torch.randn(16, 16) / 4), nn.Parameter(torch.zeros(16)), how

    def forward(self, x):
        x = self.features(x).mean((2, 3))
        x = {"addmm": lambda: torch.addmm(self.bias, x, self.matrix), "matmul": lambda: x @ self.matrix,
             "einsum": lambda: torch.einsum("nc,cd->nd", x, self.matrix)}[self.how]()  # fmt: skip
        return self.fc(x)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.conv, self.rnn, self.fc = nn.Conv2d(3, 8, 4, 4), kind(8, 12, batch_first=True), nn.Linear(12, CLASSES)

    def forward(self, x):
        return self.fc(self.rnn(self.conv(x).flatten(2).transpose(1, 2))[0][:, -1])


class Softmax(Plain):
    """Probabilities where logits are wanted."""

    def forward(self, x):
        return super().forward(x).softmax(1)


class LogSoftmax(Plain):
    def forward(self, x):
        return super().forward(x).log_softmax(1)


class NoLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, CLASSES))

    def forward(self, x):
        return x.mean((2, 3)) @ self.weight


class Lazy(Plain):
    def __init__(self):
        super().__init__()
        self.fc = nn.LazyLinear(CLASSES)


class Text(Plain):
    def forward(self, x):
        return "five classes"


class Nothing(Plain):
    def forward(self, x):
        return {"loss": None}


class WeightNorm(Plain):
    def __init__(self):
        super().__init__()
        self.conv2 = parametrizations.weight_norm(self.conv2)


class SpectralNorm(Plain):
    def __init__(self):
        super().__init__()
        self.conv2 = nn.utils.spectral_norm(self.conv2)


class Double(Plain):
    def __init__(self):
        super().__init__()
        self.double()


class MyConv(nn.Conv2d):
    pass


class Subclassed(Plain):
    def __init__(self):
        super().__init__()
        self.conv2 = MyConv(8, 16, 3, 2, 1)


class Options(Plain):
    def forward(self, x, mask=None, *more, scale: float = 1.0):
        return scale * super().forward(x)


class Hooked(Plain):
    def __init__(self):
        super().__init__()
        self.conv1.register_forward_hook(lambda module, inputs, output: output * 0.5)


class Frozen(Plain):
    def __init__(self):
        super().__init__()
        for parameter in self.conv1.parameters():
            parameter.requires_grad_(False)


class Random(Plain):
    """Another answer at every call, in evaluation too."""

    def forward(self, x):
        return super().forward(x) + 0.1 * torch.randn(len(x), CLASSES)


def parallel():
    return nn.DataParallel(Plain())


def compiled():
    return torch.compile(Plain())


def scripted():
    return torch.jit.script(Plain())
