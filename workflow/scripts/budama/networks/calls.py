"""How a model calls its layers: layer(x), or layer(input=x)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
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
