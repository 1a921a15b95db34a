"""Top-1 accuracy with the outcome of every image, the way it is reported: float32, no augmentation."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from budama.measuring.precision import autocast, resolve
from budama.networks import modes


@dataclass(frozen=True)
class Evaluation:
    """Outcome on N images in the order of their batches."""

    hits: np.ndarray  # bool [N]: top-1 is the label
    predictions: np.ndarray  # int64 [N]
    loss: float  # mean cross-entropy, nats an image

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
            images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
            labels = labels.to(device, non_blocking=True)
            with autocast(precision, device):
                logits = model(images)
            losses = functional.cross_entropy(logits.float(), labels, reduction="none")
            predictions = logits.argmax(dim=1)
            outcomes.append((predictions == labels, predictions, losses.double().sum()))
    if not outcomes:
        return Evaluation(np.zeros(0, np.bool_), np.zeros(0, np.int64), float("nan"))
    parts = [list(part) for part in zip(*outcomes, strict=True)]
    hits, predicted = (torch.cat(part).cpu().numpy() for part in parts[:2])
    return Evaluation(hits, predicted, float(torch.stack(parts[2]).sum()) / len(hits))
