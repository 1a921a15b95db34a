"""Parameters, MiB and MACs are those of the tables that budama is compared with, and two counters agree on them."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from budama.measuring import complexity
from budama.networks import models
from budama.pruning import pruner


def built(source, name, classes, size, channels=3, **arguments):
    description = {"source": source, "name": name, "arguments": arguments, "weights": None}
    return models.build(description, classes, (channels, size, size), weights=False)


def test_resnet50_has_the_numbers_of_the_reference_report():
    measured = complexity.measure(built("torchvision", "resnet50", 1000, 224), (3, 224, 224))
    assert measured.parameters == 25_557_032
    assert f"{measured.size_mib:.2f}" == "97.70"
    assert f"{measured.gmacs:.2f}" == "4.13"
    assert (
        f"{measured.conv_linear_gmacs:.3f}" == "4.089"
    )  # He et al. 2016, table 1, say 3.8 with stride at another place
    assert measured.uncounted_gmacs == 0


def test_efficientnet_b4_with_101_classes_has_the_size_of_the_reference_report():
    model = built("torchvision", "efficientnet_b4", 101, 380)
    assert f"{complexity.size_mib(model):.2f}" == "68.11"


@pytest.mark.parametrize(
    ("source", "name", "size"),
    [("torchvision", "resnet18", 64), ("torchvision", "vit_b_16", 32), ("budama", "resnet_cifar", 32)],
)
def test_the_operations_are_those_of_ptflops(source, name, size):
    model = built(source, name, 10, size)
    measured = complexity.measure(model, (3, size, size))
    from ptflops import get_model_complexity_info

    macs, _ = get_model_complexity_info(
        model, (3, size, size), as_strings=False, print_per_layer_stat=False, backend="pytorch", verbose=False
    )
    assert measured.gmacs == pytest.approx(macs / 1e9, rel=1e-12)


def test_layers_add_up_to_the_model_but_for_functions_without_a_layer():
    model = built("budama", "resnet_cifar", 10, 8, channels=1)
    measured = complexity.measure(model, (1, 8, 8))
    assert sum(layer["parameters"] for layer in measured.layers) == measured.parameters
    in_layers = sum(layer["gmacs"] for layer in measured.layers)
    assert 0.97 * measured.gmacs < in_layers <= measured.gmacs
    names = dict(model.named_modules())
    assert all(layer["name"] in names for layer in measured.layers)
    first = next(layer for layer in measured.layers if layer["name"] == "conv1")
    assert first == {"name": "conv1", "gmacs": 64 * 9 * 16 / 1e9, "parameters": 9 * 16}


def test_attention_that_ptflops_does_not_see_is_counted():
    model = built("timm", "vit_tiny_patch16_224", 10, 32)
    measured = complexity.measure(model, (3, 32, 32))
    tokens, width, depth = 5, 192, 12
    block = tokens * width * (3 * width + width + 8 * width) + 2 * tokens * tokens * width
    outside = 4 * 3 * 16 * 16 * width + width * 10
    assert measured.conv_linear_gmacs == pytest.approx((depth * block + outside) / 1e9, rel=1e-12)
    assert measured.uncounted_gmacs == pytest.approx(depth * 2 * tokens * tokens * width / 1e9, rel=1e-12)


def test_swins_functional_projections_are_counted():
    measured = complexity.measure(built("torchvision", "swin_t", 1000, 224), (3, 224, 224))
    assert f"{measured.gmacs:.1f}" == "4.5"  # Liu et al. 2021, table 1


def test_the_fast_count_is_the_cross_checks_count():
    model = built("torchvision", "mobilenet_v2", 10, 64)
    macs = complexity.conv_linear_macs(model, (3, 64, 64))
    assert macs == pytest.approx(complexity.measure(model, (3, 64, 64)).conv_linear_gmacs * 1e9)


def test_fewer_channels_are_fewer_operations():
    model = built("budama", "resnet_cifar", 10, 8, channels=1)
    before = complexity.measure(model, (1, 8, 8))
    after = complexity.measure(pruner.prune(model, (1, 8, 8), 10, "magnitude", {"ratio": 0.5}).model, (1, 8, 8))
    assert 0.2 < after.gmacs / before.gmacs < 0.35
    assert 0.2 < after.parameters / before.parameters < 0.35


def test_the_model_is_left_as_it_was():
    model = built("torchvision", "resnet18", 10, 32).train()
    attributes = {name: sorted(vars(module)) for name, module in model.named_modules()}
    state = {name: value.clone() for name, value in model.state_dict().items()}
    functions = (torch.matmul, torch.Tensor.add, nn.functional.relu)
    complexity.measure(model, (3, 32, 32))
    assert {name: sorted(vars(module)) for name, module in model.named_modules()} == attributes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert model.training
    assert (torch.matmul, torch.Tensor.add, nn.functional.relu) == functions


def test_shared_weights_count_once():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Linear(12, 12))
    model[2].weight = model[1].weight
    assert complexity.measure(model, (3, 2, 2)).parameters == 12 * 12 + 24


class Twice(nn.Conv2d):
    """A convolution that does twice the work of its name."""

    def forward(self, images):
        return super().forward(images) + super().forward(images)


def test_a_difference_that_no_bias_explains_is_told_and_stops_nothing(capsys):
    model = nn.Sequential(Twice(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    complexity._warn.cache_clear()
    for _ in range(2):
        assert complexity.measure(model, (3, 4, 4)).conv_linear_gmacs == 2 * 3 * 4 * 16 / 1e9
    told = capsys.readouterr().err
    assert told.count("warning: the layer 0 has 256 operations by ptflops, 384 by torch.utils.flop_counter") == 1


class Own(nn.Conv2d):
    """A user's class, which does what its parent does."""


def test_a_layer_of_a_users_own_class_costs_what_its_parent_costs():
    costs = []
    for kind in (nn.Conv2d, Own):
        model = nn.Sequential(kind(3, 4, 3), nn.ReLU(), kind(4, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        costs.append(complexity.measure(model, (3, 8, 8)))
    assert costs[0] == costs[1]
    assert [layer["gmacs"] for layer in costs[1].layers] == [layer["gmacs"] for layer in costs[0].layers]
    assert Own not in complexity._engine().MODULES_MAPPING


def test_a_model_of_own_layers_is_pruned_to_a_share_of_its_operations():
    model = nn.Sequential(
        Own(3, 16, 3), nn.ReLU(), Own(16, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)
    )
    found = pruner.prune(model.eval(), (3, 12, 12), 5, "magnitude", {"ratio": 0.3, "match": "macs"})
    assert found.achieved["macs"] == pytest.approx(0.3, abs=0.005)


class Attending(nn.Module):
    """Attention whose operations the two counters count differently, and a learnt product."""

    def __init__(self):
        super().__init__()
        self.conv, self.attend, self.head = nn.Conv2d(1, 16, 3, 2, 1), nn.MultiheadAttention(16, 4), nn.Linear(16, 5)
        self.matrix = nn.Parameter(torch.randn(16, 16))

    def forward(self, images):
        tokens = self.conv(images).flatten(2).permute(2, 0, 1)
        tokens = tokens + self.attend(tokens, tokens, tokens, need_weights=False)[0]
        mean = tokens.mean(0)
        return self.head(torch.addmm(mean, mean, self.matrix))


def test_attention_and_a_learnt_product_are_measured():
    measured = complexity.measure(Attending().eval(), (1, 8, 8))
    assert measured.gmacs >= measured.conv_linear_gmacs > 0


def test_measuring_a_model_of_budama_needs_no_torchvision():
    code = """
import sys
from budama.measuring import complexity
from budama.networks import models
model = models.build({"source": "budama", "name": "resnet_cifar"}, 10, (1, 8, 8))
complexity.measure(model, (1, 8, 8))
assert not {"torchvision", "timm"} & set(sys.modules)
import torchvision.ops, timm
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": "workflow/scripts"})
