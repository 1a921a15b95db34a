"""Training on several processes, started by `torchrun`. The result is that of one process, up to rounding.

Every step's batch is divided among the workers; gradients and BatchNorm statistics are those of the whole batch.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed, nn

from budama.networks import copies


def rank() -> int:
    """This process's number among the workers; 0 where there is one process."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """The number of workers."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def writes() -> bool:
    """Whether this process writes files and log lines: the first worker does."""
    return rank() == 0


@contextmanager
def job(device: torch.device) -> Iterator[torch.device]:
    """Join the job that `torchrun` started, if it did, and yield this process's device.

    The CPU threads are divided among the workers of a machine. Gradients travel by gloo on CPUs, by NCCL on GPUs.
    A worker that fails leaves at once: torchrun then ends the others.
    """
    if not distributed.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        yield device
        return
    local, beside = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    torch.set_num_threads(max(1, torch.get_num_threads() // beside))
    if device.type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield device
    distributed.barrier()
    distributed.destroy_process_group()


def barrier() -> None:
    """Wait until every worker is here."""
    if distributed.is_initialized():
        distributed.barrier()


def totals(values: list[float], device: torch.device) -> list[float]:
    """Sum of each of the `values` over the workers, in float64."""
    if not distributed.is_initialized():
        return values
    sums = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(sums)
    return sums.tolist()


def replica(model: nn.Module, device: torch.device) -> nn.Module:
    """What this worker trains: `model` itself where it is alone, else its wrapper with the very same tensors.

    `model` stays a plain module without hooks, and its weights are the trained ones.
    """
    if not distributed.is_initialized():
        return model
    twin = copies.sharing_tensors(model)
    twin = nn.SyncBatchNorm.convert_sync_batchnorm(twin) if device.type == "cuda" else _synchronise(twin)
    ids = [device.index] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(twin, device_ids=ids, broadcast_buffers=False)


def _synchronise(module: nn.Module) -> nn.Module:
    """Replace BatchNorm layers, whose tensors are kept. torch.nn.SyncBatchNorm does the same, but on GPUs alone."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return _BatchNormOfAll(module)
    for name, child in module.named_children():
        replacement = _synchronise(child)
        if replacement is not child:
            setattr(module, name, replacement)
    return module


class _BatchNormOfAll(nn.Module):
    """BatchNorm over the images of all workers (Ioffe and Szegedy 2015, algorithm 1, on the whole batch)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        norm: Any = self.norm
        if not norm.training or norm.running_mean is None:
            return norm(images)
        dims = [dim for dim in range(images.dim()) if dim != 1]
        values = images.double()
        count = torch.full((1,), images.numel() / images.shape[1], dtype=torch.float64)
        sums = _SumOverWorkers.apply(torch.cat([values.sum(dims), values.square().sum(dims), count]))
        count = sums[-1].item()
        mean, square = (sums[:-1] / count).chunk(2)
        variance = (square - mean.square()).clamp(min=0)
        with torch.no_grad():
            norm.num_batches_tracked += 1
            share = 1 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean.to(norm.running_mean), share)
            norm.running_var.lerp_((variance * count / max(count - 1, 1)).to(norm.running_var), share)
        shape = [1, -1, *[1] * (images.dim() - 2)]
        scale = (variance + norm.eps).rsqrt()
        normalised = ((values - mean.view(shape)) * scale.view(shape)).to(images.dtype)
        if norm.weight is None:
            return normalised
        weight, bias = norm.weight.to(images.dtype), norm.bias.to(images.dtype)
        return normalised * weight.view(shape) + bias.view(shape)


class _SumOverWorkers(torch.autograd.Function):
    """all_reduce whose gradient is the all_reduce of the gradients."""

    @staticmethod
    def forward(ctx, values: torch.Tensor) -> torch.Tensor:
        values = values.clone()
        distributed.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous().clone()
        distributed.all_reduce(gradient)
        return gradient
