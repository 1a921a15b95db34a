"""Training and fine-tuning: one loop, resumable after any epoch, the same bit for bit on the same CPU.

An epoch is a pure function of the state before it, the seed and its number: order and augmentation of the images come
from `data`, the random numbers of layers (dropout, stochastic depth) from a generator that is seeded at its start.
"""

import hashlib
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from budama.data.batching import Batches, batches
from budama.data.dataset import Data
from budama.errors import BudamaError
from budama.measuring.evaluation import evaluate
from budama.networks import layout
from budama.progress import log, track
from budama.training import distributed, resume
from budama.training.optimisation import WeightAverage, learning_rate, tensors
from budama.training.steps import Stepper

FUSED_FROM = 10**7  # pixels of all epochs from which kernels save more than loading them takes
CHECK_EVERY = 50  # steps between looks at the loss on a GPU, each of which waits for it


class Diverged(BudamaError):
    """The loss is no number any more."""


@dataclass(frozen=True)
class TrainResult:
    """What came out. The model holds the weights of `best_epoch`; epoch 0 is the weights that training started from."""

    history: list[dict]  # an epoch each, with the columns of records.HISTORY
    best_epoch: int
    epochs: int
    selection_accuracy_percent: float
    selection_loss: float
    start_accuracy_percent: float  # on the selection split, before the first step
    train_seconds: float
    precision: str
    device: str


def train(
    model: nn.Module,
    data: Data,
    settings: dict,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    augment: str | None = None,
    teacher: nn.Module | None = None,
    progress_dir: str | Path | None = None,
    inputs: str = "",
) -> TrainResult:
    """Train `model` on the train split by `settings` (the keys of training.schema.yaml); leave its best weights in it.

    The best epoch is the one with the highest accuracy on the selection split, among equals that of the lowest loss,
    among those the first. The weights that training starts from are a candidate (epoch 0), so fine-tuning never makes a
    model worse there; `epochs` of 0 keeps them. With `weight_averaging`, what is judged and kept is the average.
    `teacher` is used where `distill` is above 0.

    With `progress_dir` every finished epoch is kept there, and a call with equal arguments goes on from the last one;
    the caller removes the folder once the result is safe. `inputs` names what else decides the result (digests of code
    and files). Raises Diverged if the loss is no number (the last good epoch stays in `progress_dir`), BudamaError
    if memory does not suffice for one image.
    """
    loop = _Loop(model, data, settings, seed, torch.device(device), augment, teacher)
    fingerprint = loop.fingerprint(inputs) if progress_dir else {}
    state = resume.read(progress_dir, fingerprint) if progress_dir else None
    if state:
        loop.restore(state)
        if distributed.writes():
            log(f"going on after epoch {state.epoch}/{settings['epochs']}, which an earlier run finished")
    else:
        loop.judge(0)
    distributed.barrier()  # everyone has read before the first worker writes
    if progress_dir and distributed.writes():
        resume.sweep(progress_dir)
    for epoch in range(loop.epoch + 1, settings["epochs"] + 1):
        loop.run(epoch)
        if progress_dir and distributed.writes():
            resume.write(progress_dir, fingerprint, loop.state())
    return loop.finish()


def _placed(model: Any, device: torch.device) -> nn.Module:
    """`model` on the device with its weights in its layout, a call that torch's types lack."""
    return model.to(device, memory_format=layout.of(model))


class _Loop:
    """The state of a training, and what an epoch does to it."""

    def __init__(
        self,
        model: nn.Module,
        data: Data,
        settings: dict,
        seed: int,
        device: torch.device,
        augment: str | None,
        teacher: nn.Module | None,
    ) -> None:
        if settings["distill"] > 0 and teacher is None:
            raise BudamaError(f"distill is {settings['distill']}, but there is no teacher; it must be 0 here")
        self.data, self.settings, self.seed, self.device, self.augment = data, settings, seed, device, augment
        self.epochs = settings["epochs"]
        self.model = _placed(model, device)
        self.teacher: nn.Module | None = None
        if settings["distill"] > 0 and teacher is not None:
            self.teacher = _placed(teacher, device).eval()
        decay = settings["weight_averaging"]
        self.average = WeightAverage(model, decay) if decay and self.epochs else None
        self.stepper = Stepper(self.model, self.teacher, settings, device, fused=self._pixels() >= FUSED_FROM)
        self.judged = self.average.model if self.average else self.model
        self.evaluated = self.stepper.evaluated(self.judged)
        self.epoch = 0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}
        self.best_tensors: dict[str, torch.Tensor] = {}
        self.start_accuracy = math.nan

    def run(self, epoch: int) -> None:
        """One epoch: every step, then the selection split, then a line that says how it went."""
        started = time.perf_counter()
        loss, rate, images = self._train(epoch)
        trained = time.perf_counter()
        self.epoch = epoch
        accuracy, selection_loss = self.judge(epoch)
        seconds = time.perf_counter() - started
        self.history.append(
            {
                "epoch": epoch,
                "learning_rate": rate,
                "train_loss": loss,
                "selection_loss": selection_loss,
                "selection_accuracy_percent": accuracy,
                "seconds": round(seconds, 3),
            }
        )
        if distributed.writes():
            last = [row["seconds"] for row in self.history[-3:]]
            left = (self.epochs - epoch) * sum(last) / len(last)
            log(
                f"epoch {epoch}/{self.epochs}: loss {loss:.4f}, selection {accuracy:.2f} %, "
                f"{images / (trained - started):.0f} images/s, {left:.0f} s left"
            )

    def judge(self, epoch: int) -> tuple[float, float | None]:
        """Accuracy in percent and loss on the selection split; the weights are copied if they are the best so far."""
        outcome = evaluate(self.evaluated, self._batches("selection"), device=self.device)
        sums = [outcome.correct, outcome.loss * outcome.images if outcome.images else 0.0, outcome.images]
        correct, loss, images = distributed.totals(sums, self.device)
        accuracy, loss = 100.0 * correct / images, loss / images
        if epoch == 0:
            self.start_accuracy = accuracy
        elif not math.isfinite(loss):
            raise self._diverged(epoch, loss)
        known = loss if math.isfinite(loss) else None
        if not self.best or _rank(accuracy, known) > _rank(self.best["accuracy"], self.best["loss"]):
            self.best = {"epoch": epoch, "accuracy": accuracy, "loss": known}
            self.best_tensors = {name: tensor.detach().clone() for name, tensor in tensors(self.judged).items()}
        return accuracy, known

    def finish(self) -> TrainResult:
        """Put the best weights into the model, and leave nothing else on it."""
        self.stepper.optimizer.zero_grad()
        _copy(self.best_tensors, tensors(self.model))
        self.model.eval()
        return TrainResult(
            history=self.history,
            best_epoch=self.best["epoch"],
            epochs=self.epochs,
            selection_accuracy_percent=self.best["accuracy"],
            selection_loss=self.best["loss"],
            start_accuracy_percent=self.start_accuracy,
            train_seconds=round(sum(row["seconds"] for row in self.history), 3),
            precision=self.stepper.precision,
            device=str(self.device),
        )

    def _pixels(self) -> int:
        """Pixels that all epochs together look at."""
        batches = self._batches("train", shuffle=True, limit=self.settings["max_batches"])
        return self.epochs * batches.images * math.prod(self.data.input_shape[1:])

    def _train(self, epoch: int) -> tuple[float, float, int]:
        """The steps of an epoch: mean loss an image, the last learning rate, and the images of all workers."""
        plan = self._batches(
            "train", augment=self.augment, shuffle=True, seed=self.seed, epoch=epoch, limit=self.settings["max_batches"]
        )
        steps, batch, images = len(plan), self.settings["batch_size"], plan.images
        if images < 2:
            raise BudamaError(f"the train split has {images} images; training needs at least 2")
        shown = track(plan, f"epoch {epoch}/{self.epochs}", unit="batches") if distributed.writes() else plan
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        self.stepper.trained.train()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            self._seed(epoch)
            for number, (part, labels) in enumerate(shown):
                step = (epoch - 1) * steps + number
                rate = learning_rate(self.settings, step, steps)
                total += self.stepper.step(part, labels, min(batch, images - number * batch), rate)
                if self.average:
                    self.average.update(step)
                if self.device.type == "cpu" or number % CHECK_EVERY == 0:
                    self._check(total, epoch)
        self._check(total, epoch)
        return distributed.totals([total.item()], self.device)[0] / images, rate, images

    def _seed(self, epoch: int) -> None:
        """Seed what layers draw from."""
        words = np.random.SeedSequence([self.seed, epoch, distributed.rank()]).generate_state(1, np.uint64)
        torch.manual_seed(int(words[0] >> 1))

    def _batches(self, split: str, **how: Any) -> Batches:
        share: dict[str, Any] = {"rank": distributed.rank(), "world": distributed.world()}
        place: dict[str, Any] = {"device": self.device, "memory_format": layout.of(self.model)}
        return batches(self.data, split, self.settings["batch_size"], **how, **share, **place)

    def _check(self, total: torch.Tensor, epoch: int) -> None:
        loss = distributed.totals([total.item()], self.device)[0]  # so that all workers stop at the same step
        if not math.isfinite(loss):
            raise self._diverged(epoch, loss)

    def _diverged(self, epoch: int, loss: float) -> Diverged:
        rate = self.settings["learning_rate"]
        return Diverged(f"training diverged in epoch {epoch}: the loss is {loss}; learning_rate is {rate}, lower it")

    def fingerprint(self, inputs: str) -> dict:
        """All that decides the result, digested where it is large."""
        return {
            "settings": self.settings,
            "seed": self.seed,
            "augmentation": self.augment,
            "precision": self.stepper.precision,
            "fused": self.stepper.fused,
            "weights": resume.digest(tensors(self.model)),
            "teacher": resume.digest(tensors(self.teacher)) if self.teacher else None,
            "images": [_content(self.data.split(name)) for name in ("train", "selection")],
            "inputs": inputs,
            "torch": torch.__version__,
        }

    def state(self) -> resume.State:
        """All that the next epoch needs."""
        groups = {"weights": tensors(self.model), "best": self.best_tensors, "moments": self._moments()}
        if self.average:
            groups["average"] = tensors(self.average.model)
        facts = {
            "history": self.history,
            "best": self.best,
            "start_accuracy": self.start_accuracy,
            "slices": self.stepper.slices,
        }
        return resume.State(self.epoch, facts, groups)

    def restore(self, state: resume.State) -> None:
        """Go back to a saved state. Values are copied into place, so that memory layouts stay the model's."""
        _copy(state.tensors["weights"], tensors(self.model))
        if self.average:
            _copy(state.tensors["average"], tensors(self.average.model))
        _copy(state.tensors.get("moments", {}), self._moments())
        self.best_tensors = {name: tensor.to(self.device) for name, tensor in state.tensors["best"].items()}
        self.epoch, self.history, self.best = state.epoch, state.facts["history"], state.facts["best"]
        self.start_accuracy, self.stepper.slices = state.facts["start_accuracy"], state.facts["slices"]

    def _moments(self) -> dict[str, torch.Tensor]:
        moments = self.stepper.optimizer.moments
        return {f"{name}/{moment}": tensor for name, own in moments.items() for moment, tensor in own.items()}


def _rank(accuracy: float, loss: float | None) -> tuple[float, float]:
    """The higher, the better; no loss (it was not finite) is the worst."""
    return accuracy, -math.inf if loss is None else -loss


def _content(split) -> str:
    """Digest of the images of a split and of their labels, in their order."""
    return hashlib.sha256("".join(split.digests).encode() + split.labels.tobytes()).hexdigest()


def _copy(source: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in target.items():
            tensor.copy_(source[name])
