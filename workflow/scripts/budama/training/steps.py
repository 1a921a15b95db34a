"""One optimizer step, in as many parts as memory asks for."""

import math
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from budama.errors import BudamaError
from budama.measuring.precision import autocast, resolve
from budama.networks import gradients, layout, outputs, trial
from budama.progress import log
from budama.training import distributed
from budama.training.optimisation import Optimizer, loss_sum


class Stepper:
    """Takes steps that change the weights of `model`, which is on `device`, by the settings of training.schema.yaml.

    `slices` is the number of parts into which a batch is cut: 1, and doubled whenever memory does not suffice. The
    gradients are summed over the parts, so the step stays the same but for BatchNorm, which sees a part at a time.
    `fused` lets BatchNorm, residual sums and ReLU run in kernels of their own (`training.fusion`) where these serve.
    """

    def __init__(
        self, model: nn.Module, teacher: nn.Module | None, settings: dict, device: torch.device, fused: bool = True
    ) -> None:
        self.settings, self.device = settings, device
        self.precision = resolve(settings["precision"], device)
        alone = device.type == "cpu" and distributed.world() == 1
        self.fused = fused and alone and not layout.is_contiguous(model) and _kernels_run_here()
        self.trained: Any = _twin(model, training=True) if self.fused else distributed.replica(model, device)
        self.teacher = self.evaluated(teacher) if teacher else None
        self.exact = gradients.exact(model, device)
        self.optimizer = Optimizer(model, settings)
        self.slices = 1

    def evaluated(self, model: nn.Module) -> nn.Module:
        """What stands for `model` in evaluation: the same weights, with kernels where these serve."""
        return _twin(model, training=False) if self.fused else model

    def step(self, images: torch.Tensor, labels: torch.Tensor, whole: int, rate: float) -> torch.Tensor:
        """One step at a learning rate on this worker's part of a batch of `whole` images; its summed loss, detached."""
        loss = None
        while loss is None:
            try:
                loss = self._gradients(images, labels, whole)
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise trial.cannot_be_trained(error) from error
            if loss is None:  # outside of `except`, which holds on to the tensors of the failed pass
                self._halve(len(images))
        self.optimizer.step(rate)
        return loss

    def _gradients(self, images: torch.Tensor, labels: torch.Tensor, whole: int) -> torch.Tensor:
        """Gradients of the mean loss over the `whole` batch, left in the parameters; the summed loss."""
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        parts = list(zip(images.chunk(self.slices), labels.chunk(self.slices), strict=True))
        for number, (part, part_labels) in enumerate(parts, 1):
            goes_on = distributed.world() > 1 and number < len(parts)
            with self.trained.no_sync() if goes_on else nullcontext(), self.exact:
                with autocast(self.precision, self.device):
                    with torch.no_grad():
                        targets = outputs.logits(self.teacher(part)) if self.teacher else None
                    logits = outputs.logits(self.trained(part))
                loss = loss_sum(logits, part_labels, self.settings, targets)
                (loss * (distributed.world() / whole)).backward()  # the workers' gradients are averaged
            total += loss.detach()
        return total

    def _halve(self, images: int) -> None:
        """Take smaller parts of a batch at a time from now on."""
        self.optimizer.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        batch = self.settings["batch_size"]
        if self.slices >= images or distributed.world() > 1:  # the other workers would wait for ever
            few = "one image" if self.slices >= images else f"{images} images on each of {distributed.world()} workers"
            raise BudamaError(f"batch_size is {batch}: memory does not suffice for {few}")
        self.slices *= 2
        size = math.ceil(batch / self.slices)
        log(f"batch_size is {batch}: memory is too small; {size} images are taken at a time, and gradients summed")


# Imported where they are used: Numba takes half a second.


def _kernels_run_here() -> bool:
    from budama.training import kernels

    return kernels.openmp() is not None


def _twin(model: nn.Module, training: bool) -> nn.Module:
    from budama.training import fusion

    return fusion.twin(model, training)


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "DefaultCPUAllocator" in str(error) or "out of memory" in str(error).lower()
