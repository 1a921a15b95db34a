"""Gates of pruning: what must hold before a pruned model is handed on."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from budama.errors import BudamaError, one_line
from budama.networks import outputs
from budama.pruning import silencing
from budama.pruning.silencing import Kept

# Of how much logits vary between images. float32's rounding over a hundred layers is below 1e-4 of the largest logit.
LEAST = 0.02  # of the largest logit is taken for varying
SURE = 1e-4  # in float32, so near that no second look is needed
TOLERANCE = 1e-5  # in float64
IN_FLOAT32 = 2e-3  # for models that do not compute in float64


class Different(BudamaError):
    """The pruned model computes something else."""


def check_forward(model: nn.Module, images: Tensor, classes: int) -> Tensor:
    """Logits `[N, classes]` of `model` for `images`; BudamaError where they have another shape."""
    with torch.no_grad():
        logits = outputs.logits(model(images))
    if logits.shape != (len(images), classes):
        shape = list(logits.shape)
        raise BudamaError(f"the pruned model gives {shape} for {len(images)} images, not {classes} classes")
    return logits


@torch.no_grad()
def check_training(original: nn.Module, pruned: nn.Module, images: Tensor) -> None:
    """A model may call more layers in training (auxiliary heads), which the dependency graph did not see."""
    for model in original, pruned:
        copied = copy.deepcopy(model).train()
        try:
            with torch.random.fork_rng(devices=[]):  # dropout draws
                copied(images)
        except Exception as error:
            if model is original:
                return  # it cannot be trained with these images, pruned or not
            raise Different(f"the pruned model does not work in training: {one_line(error)}") from error


@torch.no_grad()
def check_equivalent(original: nn.Module, pruned: nn.Module, kept: Kept, kept_inputs: Kept, images: Tensor) -> None:
    """The pruned model computes what `original` does when nothing reads the removed channels.

    This finds a channel that was cut from one layer and read as another in the next. `kept` (`kept_inputs`) names the
    output (input) channels that each layer still has, and the channels of parameters that are in no layer. No model is
    left out: see `silencing` for those in which channels meet outside of layers.
    """
    if empty := [name for book in (kept, kept_inputs) for name, left in book.items() if not left]:
        raise Different(f"{', '.join(empty)} would have no channel left")
    if living := silencing.living(original, pruned, kept, kept_inputs, images):
        raise Different(f"{', '.join(living)} would still read something else where channels are removed")
    exact = silencing.is_exact(original)
    if exact and _difference(silencing.consumers_alone(original, kept_inputs), pruned, images) <= SURE:
        return
    pairs = [(silencing.all_that_is_gone(original, pruned, kept, kept_inputs), silencing.with_neutral_norms(pruned))]
    if exact:
        pairs.append((silencing.consumers_alone(original, kept_inputs), copy.deepcopy(pruned)))
    if not any(_agree(*pair, images) for pair in pairs):
        raise Different("the pruned model does not compute what the original does without the removed channels")


def _agree(expected: nn.Module, found: nn.Module, images: Tensor) -> bool:
    """In float64, where rounding is far below what wrong wiring does; both models are changed."""
    try:
        return _difference(expected.double(), found.double(), images.double()) <= TOLERANCE
    except RuntimeError:  # a model that makes float32 tensors of its own
        return _difference(expected.to(images), found.to(images), images) <= IN_FLOAT32


def _difference(expected: nn.Module, found: nn.Module, images: Tensor) -> float:
    """The largest difference of logits, over how much the expected ones vary between images: most of a logit may be a
    bias. Where that is next to nothing, over a part of the largest, beside which rounding is small."""
    wanted, given = outputs.logits(expected(images)), outputs.logits(found(images))
    varying = (wanted - wanted.mean(0)).abs().max().item()
    return (wanted - given).abs().max().item() / max(varying, LEAST * wanted.abs().max().item(), 1e-6)
