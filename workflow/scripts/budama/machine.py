"""What this machine is: processor, cores, memory, GPUs. Where a system does not say something, the answer is empty."""

import os
import platform
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # Intel and AMD; Intel; ARM


def cores() -> set[int]:
    """The numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def cpu() -> str:
    """The processor's name."""
    found = re.search(r"^model name\s*: (.+)$", _cpuinfo(), re.MULTILINE)
    return " ".join(found[1].split()) if found else platform.processor() or platform.machine()


@cache
def cpu_flags() -> frozenset[str]:
    """Instruction sets of the first core as Linux names them; none elsewhere."""
    lines = _cpuinfo().splitlines()
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return frozenset(flags.partition(":")[2].split())


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions that multiply bfloat16."""
    return bool(BFLOAT16_FLAGS & cpu_flags())


def memory_gib() -> float | None:
    """The machine's memory."""
    with suppress(ImportError):
        import psutil

        return round(psutil.virtual_memory().total / 2**30, 1)
    return None


def gpus() -> list[str]:
    """Names of the GPUs that the driver lists."""
    try:
        nvml = _nvml()
    except Exception:  # no driver, no GPU, no library: all mean that there is none to name
        return []
    names = [nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(i)) for i in range(nvml.nvmlDeviceGetCount())]
    return [name.decode() if isinstance(name, bytes) else name for name in names]


def gpu_energy_mj(uuid: str) -> int | None:
    """Millijoules that the GPU has taken since its driver was loaded; None where it does not count them."""
    with suppress(Exception):  # no NVML, or a card without the counter
        nvml = _nvml()
        return nvml.nvmlDeviceGetTotalEnergyConsumption(_gpu(nvml, uuid))
    return None


def gpu_clocks(uuid: str) -> dict[str, float]:
    """`gpu_sm_mhz`, `gpu_memory_mhz` and `gpu_watts` of a GPU at this moment, as many as NVML tells."""
    found: dict[str, float] = {}
    with suppress(Exception):
        nvml = _nvml()
        gpu = _gpu(nvml, uuid)
        found["gpu_sm_mhz"] = nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM)
        found["gpu_memory_mhz"] = nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM)
        found["gpu_watts"] = nvml.nvmlDeviceGetPowerUsage(gpu) / 1000
    return found


def _cpuinfo() -> str:
    with suppress(OSError):
        return Path("/proc/cpuinfo").read_text(errors="replace")
    return ""


def _nvml():
    """NVIDIA's management library; an exception where there is none."""
    import pynvml

    pynvml.nvmlInit()
    return pynvml


def _gpu(nvml, uuid: str):
    """NVML's handle of the GPU that torch names by this UUID: the two number the cards differently."""
    return nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
