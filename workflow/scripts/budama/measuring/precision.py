"""Number formats: what `precision: auto` means on this machine, and the autocast context that goes with it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from budama import machine

PRECISIONS = ("float32", "bfloat16")
TFLOAT32 = "tfloat32"  # float32 whose products a GPU takes of 10 bits of the fraction: PyTorch's default there


def resolve(precision: str, device: torch.device | str) -> str:
    """`float32` or `bfloat16`. `auto` takes bfloat16 where the device multiplies it in hardware, else float32."""
    if precision != "auto":
        return precision
    if torch.device(device).type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # AVX2 here is what torch was limited to by ATEN_CPU_CAPABILITY, whatever the machine has.
        native = machine.multiplies_bfloat16() and torch.backends.cpu.get_cpu_capability() != "AVX2"
    return "bfloat16" if native else "float32"


def autocast(precision: str, device: torch.device | str) -> AbstractContextManager:
    """Context for a forward pass in `precision` (not `auto`). Weights stay float32; PyTorch decides by operation."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


def dtype(precision: str) -> torch.dtype:
    """The type of tensors that hold numbers of `precision`."""
    return torch.float32 if precision == TFLOAT32 else getattr(torch, precision)


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Meanwhile a GPU multiplies float32 as float32, or as TensorFloat-32 where that is the `precision`."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == TFLOAT32
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
