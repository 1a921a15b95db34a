"""What a model returns: a tensor of logits, or something that holds one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from budama.errors import BudamaError

KEYS = ("logits", "out")  # of mappings: HuggingFace's, and torchvision's for models with auxiliary heads


def logits(output) -> Tensor:
    """A classifier's logits `[N, classes]`.

    Out of a tensor, which may have dimensions of one behind the classes; a mapping with "logits" or "out"; an object
    with `logits`; else the first tensor of a mapping, sequence or dataclass. Raises BudamaError where there is none.
    """
    found = next(iter(tensors(output)), None)
    if found is None:
        raise BudamaError(f"the model gave a {type(output).__name__} without a tensor; it must give logits")
    return found.flatten(1) if found.dim() > 2 and found[0].numel() == found.shape[1] else found


def tensors(output) -> list[Tensor]:
    """All tensors of an output, the logits first."""
    if isinstance(output, Tensor):
        return [output]
    parts: Iterable = ()
    if isinstance(output, Mapping):
        parts = [*(output[key] for key in KEYS if key in output), *output.values()]
    elif hasattr(output, "logits"):
        parts = [output.logits]
    elif isinstance(output, list | tuple):
        parts = output
    elif dataclasses.is_dataclass(output):
        parts = [getattr(output, field.name) for field in dataclasses.fields(output)]
    return [found for part in parts for found in tensors(part)]


class Logits(nn.Module):
    """A model whose output is the logits of another one's: for formats that keep tensors alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return logits(self.model(images))


def giving(model: nn.Module, images: Tensor) -> list[str]:
    """The layers whose output is the logits, by one pass: a model may have other heads of as many outputs."""
    seen: dict[str, Tensor] = {}
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    handles = [m.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out})) for name, m in layers]
    try:
        with torch.no_grad():
            found = logits(model(images))
    finally:
        for handle in handles:
            handle.remove()
    return [name for name, out in seen.items() if out.numel() == found.numel() and out.flatten().equal(found.flatten())]
