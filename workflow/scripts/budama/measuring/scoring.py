"""Several models on the same test images, which are read, decoded and corrupted once for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from budama.data.batching import batches
from budama.data.corruptions import PARAMETERS, STRENGTHS, Corruption, every
from budama.data.dataset import Data
from budama.measuring import evaluation
from budama.measuring.evaluation import Evaluation
from budama.progress import track

if TYPE_CHECKING:
    from budama.results.contracts import Robustness

EVALUATION_VALUES = 256 * 3 * 224 * 224  # values in a batch; small images get batches of 1024


def evaluate_together(
    models: Mapping[str, nn.Module], test: Iterable[tuple[Tensor, Tensor]], device: torch.device, how: str = ""
) -> dict[str, Evaluation]:
    """What each model makes of the test images. `how` they are, for whoever watches.

    On a CPU as many models as there are threads work side by side: a thread that does a model alone never waits for
    another one, as threads that share a layer of a small model do.
    """
    parts: dict[str, list[Evaluation]] = {label: [] for label in models}
    threads, at_once = torch.get_num_threads(), side_by_side(len(models), device)
    try:
        with ThreadPoolExecutor(at_once, initializer=torch.set_num_threads, initargs=(threads // at_once,)) as pool:
            for batch in track(test, f"testing {len(models)} models{how and f', {how}'}", unit="batches"):
                outcomes = pool.map(partial(evaluation.evaluate, batches=[batch], device=device), models.values())
                for label, outcome in zip(models, outcomes, strict=True):
                    parts[label].append(outcome)
    finally:
        torch.set_num_threads(threads)  # MKL has one number for all threads
    return {label: Evaluation.joined(own) for label, own in parts.items()}


def side_by_side(models: int, device: torch.device) -> int:
    """How many models are evaluated at a time."""
    return min(models, torch.get_num_threads()) if device.type == "cpu" else 1


def batches_of_test(data: Data, device: torch.device, models: int, corruption: Corruption | None = None):
    """The test split in batches of a size that memory bears where that many models are scored, 1024 images at most."""
    size = int(np.clip(EVALUATION_VALUES // np.prod(data.input_shape), 1, 1024))
    return batches(data, "test", max(1, size // side_by_side(models, device)), device=device, corruption=corruption)


def hits_when_corrupted(
    models: Mapping[str, nn.Module], data: Data, device: torch.device
) -> dict[str, dict[Corruption, np.ndarray]]:
    """Hits [N] of each model on the test images as each corruption leaves them; all models see the same pixels."""
    found: dict[str, dict[Corruption, np.ndarray]] = {label: {} for label in models}
    for corruption in every():
        test = batches_of_test(data, device, len(models), corruption)
        for label, outcome in evaluate_together(models, test, device, str(corruption)).items():
            found[label][corruption] = outcome.hits
    return found


def robustness(hits: Mapping[Corruption, np.ndarray], reference: Mapping[Corruption, np.ndarray] | None) -> Robustness:
    """Accuracy by kind and strength, their mean, and how far that is from a reference's on the same images.

    The standard error of the change is over images, each of which counts with its mean over all corruptions.
    """
    mean = np.mean(list(hits.values()), axis=0)
    found: Robustness = {
        "accuracy_percent": {
            kind: [100 * float(hits[Corruption(kind, strength)].mean()) for strength in STRENGTHS]
            for kind in PARAMETERS
        },
        "mean_percent": 100 * float(mean.mean()),
        "change_points": None,
        "change_error_points": None,
    }
    if reference is not None:
        change = mean - np.mean(list(reference.values()), axis=0)
        found["change_points"] = 100 * float(change.mean())
        found["change_error_points"] = 100 * float(change.std(ddof=1) / len(change) ** 0.5)
    return found
