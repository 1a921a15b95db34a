"""Networks that cannot be pruned as they are, or would give wrong numbers: each is refused in one line."""

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from user_models import CLASSES, Plain


class InAList(Plain):
    """Layers that PyTorch does not know of."""

    def __init__(self):
        super().__init__()
        self.hidden = [nn.Conv2d(8, 8, 3, padding=1)]

    def features(self, x):
        x = functional.relu(self.hidden[0](functional.relu(self.conv1(x))))
        return functional.relu(self.bn2(self.conv2(x)))


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


class NoLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, CLASSES))

    def forward(self, x):
        return x.mean((2, 3)) @ self.weight


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


class Hooked(Plain):
    def __init__(self):
        super().__init__()
        self.conv1.register_forward_hook(lambda module, inputs, output: output * 0.5)


class Random(Plain):
    """Another answer at every call, in evaluation too."""

    def forward(self, x):
        return super().forward(x) + 0.1 * torch.randn(len(x), CLASSES)


def scripted():
    return torch.jit.script(Plain())
