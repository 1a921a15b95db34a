"""What a forward pass takes besides time: memory, energy, and the clocks it ran at."""

from __future__ import annotations

import time
from contextlib import suppress

import psutil
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from budama import machine

MIB = 1024**2
ENERGY_SECONDS = 2.0  # NVML's energy counter advances in steps of some 20 to 100 ms


def peak_memory_mib(model: nn.Module, batch: Tensor) -> float:
    """The most MiB that tensors take at once in a forward pass of `model`: weights, buffers, input, activations.

    On a GPU this is what torch's allocator reports. The CPU's allocator keeps no such count, and a process's resident
    memory is far more than a model needs and hardly repeatable; there, every tensor that an operator returns is
    followed until it is freed, which leaves out what kernels (oneDNN) take and give back within an operator.
    """
    own = _bytes([*model.parameters(), *model.buffers(), batch])
    if batch.device.type == "cuda":
        torch.cuda.synchronize(batch.device)
        before = torch.cuda.memory_allocated(batch.device)
        torch.cuda.reset_peak_memory_stats(batch.device)
        with torch.inference_mode():
            model(batch)
        torch.cuda.synchronize(batch.device)
        return (own + torch.cuda.max_memory_allocated(batch.device) - before) / MIB
    with torch.no_grad(), _LiveTensors([*model.parameters(), *model.buffers(), batch]) as live:
        model(batch)
    return (own + live.peak) / MIB


def energy_mj_per_image(model: nn.Module, batch: Tensor, seconds: float = ENERGY_SECONDS) -> float | None:
    """Millijoules per image of the whole card under this load, by NVML's energy counter; None where there is none."""
    if batch.device.type != "cuda":
        return None
    before, start, images = machine.gpu_energy_mj(_uuid(batch.device)), time.perf_counter(), 0
    if before is None:
        return None
    with torch.inference_mode():
        while time.perf_counter() - start < seconds:
            model(batch)
            torch.cuda.synchronize(batch.device)
            images += len(batch)
    after = machine.gpu_energy_mj(_uuid(batch.device))
    return None if after is None else (after - before) / images


def clocks(device: torch.device) -> dict:
    """Clock rates where the machine tells them: `cpu_mhz`; for a GPU `gpu_sm_mhz`, `gpu_memory_mhz`, `gpu_watts`."""
    found: dict[str, float] = {}
    with suppress(Exception):
        if frequency := psutil.cpu_freq():
            found["cpu_mhz"] = round(frequency.current)
    if device.type == "cuda":
        found |= machine.gpu_clocks(_uuid(device))
    return found


def device_name(device: torch.device) -> str:
    """The GPU's name, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


class _LiveTensors(TorchDispatchMode):
    """Follows the storages of all tensors that operators return; `peak` is the most bytes alive at once."""

    def __init__(self, existing: list[Tensor]) -> None:
        super().__init__()
        self.known = {t.untyped_storage()._cdata for t in existing}
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and skipping torch's compiler would import it, for a second

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.known:
                    self.alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


def _bytes(tensors: list[Tensor]) -> int:
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def _uuid(device: torch.device) -> str:
    return str(torch.cuda.get_device_properties(device).uuid)
