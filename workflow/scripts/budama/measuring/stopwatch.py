"""Timing single calls of a model: on the CPU with an eye on other processes, on a GPU by CUDA events."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from budama import machine

BUSY_PERCENT = 50  # of a core, taken by other processes

# A clock takes a model and a batch and returns (milliseconds of one call, milliseconds this process waited for a core).
Clock = Callable[[Callable, Tensor], tuple[float, float]]


def clock_for(device: torch.device) -> Clock:
    """The clock for models on `device`."""
    return cuda_call if device.type == "cuda" else cpu_call


def cpu_call(model: Callable, batch: Tensor) -> tuple[float, float]:
    """Wall time of one call, and how long threads of this process meanwhile queued for a core that others held."""
    waited = queued_ns()
    start = time.perf_counter_ns()
    model(batch)
    elapsed = time.perf_counter_ns() - start
    return elapsed / 1e6, (queued_ns() - waited) / 1e6


def cuda_call(model: Callable, batch: Tensor) -> tuple[float, float]:
    """Time between CUDA events around one call that starts on an idle device and ends when the device has finished."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize(batch.device)
    waited = _thread_queued_ns()
    with torch.cuda.device(batch.device):
        begin.record()
        model(batch)
        end.record()
    end.synchronize()
    return begin.elapsed_time(end), (_thread_queued_ns() - waited) / 1e6


def queued_ns() -> int:
    """Nanoseconds that this process's threads have been ready to run but without a core, as Linux counts them.

    The second number in /proc/self/task/*/schedstat (Documentation/scheduler/sched-stats.rst). 0 where there is none.
    """
    total = 0
    try:
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/schedstat", "rb") as file:
                total += int(file.read().split()[1])
    except (OSError, ValueError, IndexError):  # not Linux, a kernel without it, or a thread that just ended
        return 0
    return total


def _thread_queued_ns() -> int:
    """`queued_ns` of the calling thread alone, which starts a GPU's kernels; the other threads have no part in it."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            return int(file.read().split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def free_threads(asked: int, looks: int = 3, seconds: float = 0.5) -> int:
    """How many of `asked` CPU threads have a core to themselves: fewer where other processes keep cores busy.

    A model on two threads, one of which shares its core, waits for that one at every layer, three times as long and
    never twice alike; on the cores that are left it is timed as well as on a quiet machine. A core counts as busy that
    is more than half taken whenever this process, doing nothing, looks.
    """
    try:
        import psutil
    except ImportError:
        return asked
    allowed = machine.cores()
    busy = set(allowed)
    for _ in range(looks):
        if busy:
            shares = psutil.cpu_percent(seconds, percpu=True)
            busy = {core for core in busy if core < len(shares) and shares[core] > BUSY_PERCENT}
    return max(1, min(asked, len(allowed) - len(busy)))


@contextmanager
def quiet() -> Iterator[None]:
    """No gradients and no garbage collection while time is taken."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        with torch.inference_mode():
            yield
    finally:
        if was_enabled:
            gc.enable()
