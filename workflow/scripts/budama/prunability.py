"""What Torch-Pruning must be told about some architectures. All knowledge about particular models stands here."""

from torch import nn


def pruning_hints(model: nn.Module) -> dict:
    """Keyword arguments for Torch-Pruning's `BasePruner`: `num_heads`, `unwrapped_parameters`, `ignored_layers`, …"""
    return {}


def finish_pruning(model: nn.Module) -> None:
    """Set attributes that follow from channel counts and that Torch-Pruning does not know. Call it after pruning."""
