"""How a model calls its layers: layer(x), layer(input=x), or not at all, by functions that are given its weight."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle


def watch_input(layer: nn.Module, look: Callable[[Tensor], None]) -> RemovableHandle:
    """Call `look` with what the layer reads, before every call, until the handle is removed."""

    def read(_: nn.Module, args: tuple, named: dict) -> None:
        look(next(iter((*args, *named.values()))))

    return layer.register_forward_pre_hook(read, with_kwargs=True)


@contextmanager
def by_place(model: nn.Module) -> Iterator[None]:
    """layer(input=x) is layer(x) meanwhile: libraries whose hooks read what a layer was given see no keywords."""

    def moved(_: nn.Module, args: tuple, named: dict) -> tuple[tuple, dict] | None:
        return None if args or "input" not in named else ((named.pop("input"),), named)

    handles = [module.register_forward_pre_hook(moved, with_kwargs=True) for module in model.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def through_layers(model: nn.Module) -> Any:
    """A context in which torchvision's Swin calls the layers whose weights its attention reads; hooks then see it."""
    swin = "torchvision.models.swin_transformer"
    attention: list[Any] = [m for m in model.modules() if type(m).__module__ == swin and hasattr(m, "qkv")]
    return _ThroughLayers([layer for m in attention for layer in (m.qkv, m.proj)]) if attention else nullcontext()


class _ThroughLayers(torch.overrides.TorchFunctionMode):
    """linear(x, weight, bias) of a layer's weight is layer(x), with that bias in place of its own."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        self.layers = {id(layer.weight): layer for layer in layers}

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        layer = self.layers.get(id(args[1])) if function is functional.linear and len(args) == 3 else None
        if layer is None:
            return function(*args, **(kwargs or {}))
        given = layer(args[0])
        return given if args[2] is layer.bias else given + (args[2] - layer.bias)
