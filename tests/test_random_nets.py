"""Channels that are exactly dead are removed from random networks: the logits stay, or a layer is named."""

import copy

import pytest
import random_blocks
import random_nets
import torch

from budama.errors import BudamaError
from budama.pruning import pruner

IMAGES = torch.randn(16, 1, random_nets.SIDE, random_nets.SIDE, generator=torch.Generator().manual_seed(1))
MANY = 12  # after so many prunings the channels that go are long the dead ones
NEVER = (
    "Turned",
    "FirstOfConcatenated",
    "OwnMatrix",
    "SoftmaxOverChannels",
    "Standardised",
    "Tied",
)  # in front of a layer


def pruned_until_dead(model):
    """What pruning removes is made dead in `model`; then the pruned model, or the error where it is refused."""
    for _ in range(MANY):
        try:
            found = pruner.prune(model, (1, 8, 8), random_nets.CLASSES, "magnitude", SETTINGS)
        except BudamaError as error:
            return error
        if not random_nets.kill(model, found.kept):
            return found.model
    raise AssertionError("what is pruned never came to rest")


SETTINGS = {"ratio": 0.5, "seed": 0}


@pytest.mark.parametrize("seed", [pytest.param(i, marks=[pytest.mark.long] if i % 3 else []) for i in range(200)])
def test_dead_channels_go_without_a_trace_or_a_layer_is_named(one_thread, seed):
    net = random_nets.net(seed)
    pruned = pruned_until_dead(net.model)
    if isinstance(pruned, BudamaError):
        assert [name for name, _ in net.model.named_modules() if name and name in str(pruned)]
        assert len(pruned.lines) == 1
        return
    before, after = (random_nets.unnormalised(copy.deepcopy(model)) for model in (net.model, pruned))
    with torch.no_grad():
        logits = before(IMAGES)
        assert torch.allclose(after(IMAGES), logits, atol=1e-4 * logits.abs().max().item())


@pytest.mark.parametrize(
    "kind", [kind for kind in random_blocks.DRAWN if kind.__name__ in NEVER], ids=lambda k: k.__name__
)
def test_what_cannot_be_pruned_rightly_is_refused(one_thread, kind):
    torch.manual_seed(0)
    model = random_nets.RandomNet([random_blocks.Plain, kind], lambda *options: options[0]).eval()
    with pytest.raises(BudamaError, match=r"(stem|blocks).*pruning.ignore"):
        pruner.prune(model, (1, 8, 8), 10, "magnitude", SETTINGS)


KEPT = ("Plain", "Residual", "Concatenated", "Squeezed", "Grouped", "UnitLength", "OverChannels", "CalledTwice")


@pytest.mark.parametrize(
    "kind", [kind for kind in random_blocks.DRAWN if kind.__name__ in KEPT], ids=lambda k: k.__name__
)
def test_what_can_be_pruned_is_not_refused(one_thread, kind):
    torch.manual_seed(0)
    model = random_nets.RandomNet([random_blocks.Plain, kind], lambda *options: options[0]).eval()
    found = pruner.prune(model, (1, 8, 8), 10, "magnitude", SETTINGS)
    assert found.after.parameters < 0.8 * found.before.parameters
