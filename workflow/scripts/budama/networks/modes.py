"""Modes of a model that hold for a while: evaluation, and gradients for every parameter."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Every module is in evaluation mode meanwhile, and gets its own mode back, after an error too."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def all_gradients(model: nn.Module) -> Iterator[None]:
    """Every floating-point parameter requires a gradient meanwhile; those that were frozen are frozen again."""
    frozen = [p for p in model.parameters() if not p.requires_grad and p.is_floating_point()]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
