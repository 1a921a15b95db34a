"""The outcome of every image, the way accuracy is reported: float32, no augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from budama.measuring.precision import autocast, resolve
from budama.networks import layout, modes, outputs

CLASSES_FOR_TOP5 = 10  # with fewer, five guesses are no achievement


@dataclass(frozen=True)
class Evaluation:
    """Outcome on N images in the order of their batches.

    Attributes:
        hits: bool [N], top-1 is the label.
        predictions: int64 [N].
        confidences: float64 [N], the softmax probability of the prediction.
        losses: float64 [N], cross-entropy in nats: minus the logarithm of the label's probability.
        top5: bool [N], the label is among the five most probable classes; None for fewer than ten classes.
    """

    hits: np.ndarray
    predictions: np.ndarray
    confidences: np.ndarray
    losses: np.ndarray
    top5: np.ndarray | None = None

    @property
    def images(self) -> int:
        return len(self.hits)

    @property
    def correct(self) -> int:
        return int(self.hits.sum())

    @property
    def accuracy_percent(self) -> float:
        """Share of hits in percent; NaN without images."""
        return 100.0 * self.correct / self.images if self.images else float("nan")

    @property
    def loss(self) -> float:
        """Mean cross-entropy, nats an image; NaN without images."""
        return float(self.losses.mean()) if self.images else float("nan")

    @classmethod
    def joined(cls, parts: Sequence[Evaluation]) -> Evaluation:
        """Of images that were evaluated one part after the other."""
        if not parts:
            return cls(np.zeros(0, np.bool_), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
        top5 = [part.top5 for part in parts if part.top5 is not None]
        return cls(
            np.concatenate([part.hits for part in parts]),
            np.concatenate([part.predictions for part in parts]),
            np.concatenate([part.confidences for part in parts]),
            np.concatenate([part.losses for part in parts]),
            np.concatenate(top5) if top5 else None,
        )


def evaluate(model: nn.Module, batches, *, device="cpu", precision: str = "float32") -> Evaluation:
    """Classify what `batches` yields: images `[B, C, H, W]` and labels `[B]`.

    The model is in eval mode meanwhile and gets its modes back. Nothing is copied to the host before the last batch, so
    a GPU does not wait. On a CPU the same batches give the same result bit for bit.
    """
    device = torch.device(device)
    precision = resolve(precision, device)
    outcomes = []
    with modes.evaluation(model), torch.inference_mode():
        for images, labels in batches:
            if not len(images):  # a worker without a share of a small last batch
                continue
            images = images.to(device, memory_format=layout.of(model), non_blocking=True)
            labels = labels.to(device, non_blocking=True)
            with autocast(precision, device):
                logits = outputs.logits(model(images))
            outcomes.append(_outcome(logits, labels))
    return Evaluation.joined([Evaluation(*(one.cpu().numpy() for one in outcome)) for outcome in outcomes])


def _outcome(logits: Tensor, labels: Tensor) -> list[Tensor]:
    """What `Evaluation` has, in its order, of a batch: logits [B, classes], labels [B]. Probabilities in float64."""
    predictions = logits.argmax(dim=1)
    log_probabilities = logits.double().log_softmax(dim=1)
    losses = -log_probabilities.gather(1, labels[:, None])[:, 0]
    hits = predictions == labels
    found = [hits, predictions, log_probabilities.amax(dim=1).exp(), losses]
    if logits.shape[1] >= CLASSES_FOR_TOP5:
        found.append(
            hits | (logits.sort(dim=1, descending=True, stable=True).indices[:, :5] == labels[:, None]).any(dim=1)
        )
    return found
