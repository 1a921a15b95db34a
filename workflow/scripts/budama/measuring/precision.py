"""Number formats: what `precision: auto` means on this machine, and the autocast context that goes with it."""

import functools
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

PRECISIONS = ("float32", "bfloat16")
_CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # Intel and AMD; Intel; ARM


def resolve(precision: str, device: torch.device | str) -> str:
    """`float32` or `bfloat16`. `auto` takes bfloat16 where the device multiplies it in hardware, else float32."""
    if precision != "auto":
        return precision
    if torch.device(device).type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        told_less = (
            torch.backends.cpu.get_cpu_capability() == "AVX2"
        )  # by ATEN_CPU_CAPABILITY, whatever the machine has
        native = bool(_CPU_FLAGS & _cpu_flags()) and not told_less
    return "bfloat16" if native else "float32"


def autocast(precision: str, device: torch.device | str) -> AbstractContextManager:
    """Context for a forward pass in `precision` (not `auto`). Weights stay float32; PyTorch decides by operation."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


@functools.cache
def _cpu_flags() -> frozenset[str]:
    """Instruction sets of this machine's first CPU as Linux names them; none elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return frozenset(flags.partition(":")[2].split())
