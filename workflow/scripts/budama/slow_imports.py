"""Keeping other people's packages from importing, for seconds, what is not used here."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Let `import NAME` fail meanwhile, as where NAME is not installed; packages that are loaded already stay.

    ptflops and Torch-Pruning try to import timm and torchvision to know a few of their layers by type.
    """
    absent = [name for name in names if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]  # how Python itself marks a module as not to be found
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


@contextmanager
def without_compiler(mode: Any) -> Iterator[None]:
    """Let a class of torch's, a TorchDispatchMode, run without torch's compiler, which it would import to keep it away.

    torch wraps `__torch_dispatch__` so that torch.compile leaves it alone; nothing is compiled meanwhile.
    """
    wrapped = mode.__torch_dispatch__
    mode.__torch_dispatch__ = getattr(wrapped, "__wrapped__", wrapped)
    try:
        yield
    finally:
        mode.__torch_dispatch__ = wrapped
