"""How a model's maps lie in memory: channels_last, which is faster, but not for models that view maps as they lie.

`x.view(len(x), -1)` fails on maps in channels_last. A model that was seen to do so carries a mark, which its copies and
checkpoints keep.
"""

from __future__ import annotations

import torch
from torch import nn

MARK = "maps_must_be_contiguous"


def of(model: nn.Module) -> torch.memory_format:
    """The layout in which to train and evaluate a model."""
    return torch.contiguous_format if is_contiguous(model) else torch.channels_last


def is_contiguous(model: nn.Module) -> bool:
    """Whether the model carries the mark."""
    return bool(getattr(model, MARK, False))


def mark(model: nn.Module) -> None:
    """Have a model's maps contiguous from now on."""
    setattr(model, MARK, True)
