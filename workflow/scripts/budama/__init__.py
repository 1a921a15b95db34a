"""budama: structured channel pruning of vision models, benchmarked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from torch import device as Device
    from torch import nn

__version__ = "0.2.0"


def load(folder: str | Path, device: str | Device = "cpu") -> nn.Module:
    """Load a checkpoint: a plain module in eval mode on `device`, whose outputs equal the saved model's bit for bit.

    `folder` holds model.safetensors and structure.json. Needs torch and safetensors, and the package that the
    architecture comes from (torchvision, timm, or the user's own module). Raises budama.errors.BudamaError, one line,
    for a damaged or foreign folder.
    """
    from budama.networks import checkpoint

    return checkpoint.load(folder, device)
