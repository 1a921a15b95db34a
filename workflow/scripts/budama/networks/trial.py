"""A model of the user's own is tried before anything is computed: what it gives, and what would go wrong unseen."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from budama.errors import BudamaError, one_line
from budama.networks import layout, outputs
from budama.progress import log

OURS = Path(__file__).parents[1]
EVEN = 1e-4  # by which sums of probabilities may differ from one
_values = True  # whether what models are built with means anything


@contextmanager
def without_values() -> Iterator[None]:
    """Models built meanwhile have no values yet (a checkpoint's come later), so what they answer says nothing."""
    global _values
    _values, before = False, _values
    try:
        yield
    finally:
        _values = before


def classes_of(model: nn.Module, input_shape, name: str) -> int:
    """How many logits an image gets, by trying two images `[2, C, H, W]`.

    Raises BudamaError, one line, where the model takes no such images, gives no logits, holds layers that PyTorch does
    not know of, changes what it is given, or answers differently when it is asked again. A model that cannot take
    channels_last is marked (`layout`).
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    model = model.eval()
    if not _values:
        return _logits(model, torch.zeros(2, *input_shape, device=device), name).shape[1]
    _check_layers(model, name)
    images = torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0)).to(device)
    before = images.clone()
    found = _logits(model, images, name)
    if not images.equal(before):
        raise BudamaError(
            f"model {name} changes the images that it is given (x.sub_(…), x /= …, a first layer with inplace=True); "
            "it must leave them as they are, since several models are measured on the same"
        )
    if not torch.allclose(found, _logits(model, before.clone(), name), rtol=1e-4, atol=1e-5):
        raise BudamaError(
            f"model {name} answers differently when it is asked again in evaluation mode; is there a "
            "functional.dropout without training=self.training, or another random number?"
        )
    if found.shape[1] > 1 and found.min() >= 0 and (found.sum(1) - 1).abs().max() < EVEN:
        raise BudamaError(f"model {name} gives probabilities, which sum to one; it must give logits, without softmax")
    _try_channels_last(model, before, name)
    return found.shape[1]


def train(model: nn.Module, input_shape, name: str) -> None:
    """Take a step's forward and backward pass with two images on a copy. Raises BudamaError where that fails."""
    own = copy.deepcopy(model).train().to(memory_format=layout.of(model))
    for parameter in own.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    images = torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.random.fork_rng(devices=[]):
            given = outputs.logits(own(images.to(memory_format=layout.of(model))))
            functional.cross_entropy(given, torch.arange(2) % given.shape[1]).backward()
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise cannot_be_trained(error, name) from error


def cannot_be_trained(error: Exception, name: str = "") -> BudamaError:
    """What a model's own failure in training is told as: one line, with the user's line where there is one."""
    told = f"model {name}".strip()
    return BudamaError(f"the {told} cannot be trained: {type(error).__name__}: {one_line(error)}{_where(error)}")


def _where(error: BaseException) -> str:
    """The innermost line of a traceback that is neither budama's nor an installed package's."""
    frames = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)]
    own = [
        (path, line)
        for path, line in zip(frames, lines)
        if OURS not in path.parents and "site-packages" not in path.parts and path.parent != OURS.parent
    ]
    return f" ({own[-1][0].name}, line {own[-1][1]})" if own and own[-1][0].exists() else ""


def _logits(model: nn.Module, images: Tensor, name: str) -> Tensor:
    try:
        with torch.no_grad():
            output = model(images)
    except Exception as error:
        shape = list(images.shape[1:])
        raise BudamaError(f"model {name} does not take images of {shape}: {one_line(error)}{_where(error)}") from error
    try:
        found = outputs.logits(output)
    except BudamaError:
        found = None
    if found is None or found.dim() != 2 or found.shape[0] != len(images):
        given = type(output).__name__ if found is None else list(found.shape)
        raise BudamaError(f"model {name} must give logits [images, classes] for images; it gave {given}")
    return found


def _check_layers(model: nn.Module, name: str) -> None:
    """Refuse layers that PyTorch neither trains nor saves, in plain lists and dictionaries, and those it computes."""
    if isinstance(model, torch.jit.ScriptModule):
        raise BudamaError(f"model {name} is TorchScript, which cannot be pruned; it must be the nn.Module itself")
    for place, module in model.named_modules():
        if parametrize.is_parametrized(module):
            raise BudamaError(
                f"model {name}: {place} is parametrized (weight_norm, say), which pruning cannot follow; "
                "torch.nn.utils.parametrize.remove_parametrizations takes that off"
            )
        for key, value in vars(module).items():
            held = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
            if not key.startswith("_") and any(isinstance(one, nn.Module) for one in held):
                full = f"{place}.{key}".lstrip(".")
                kind = "nn.ModuleDict" if isinstance(value, dict) else "nn.ModuleList"
                shown = type(value).__name__
                raise BudamaError(
                    f"model {name}: {full} holds layers in a Python {shown}, where PyTorch neither trains nor saves "
                    f"them; it must be an {kind}"
                )


def _try_channels_last(model: nn.Module, images: Tensor, name: str) -> None:
    moved = copy.deepcopy(model).to(memory_format=torch.channels_last)
    try:
        with torch.no_grad():
            moved(images.to(memory_format=torch.channels_last))
    except RuntimeError as error:
        layout.mark(model)
        log(f"model {name}: {one_line(error, 90)}{_where(error)}; its maps stay contiguous, which may be slower")
