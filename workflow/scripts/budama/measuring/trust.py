"""How far a model's probabilities can be believed: calibration error, likelihood, and the five best guesses.

The expected calibration error (ECE) sorts images by the confidence of their prediction into 15 equal bins and averages
the distance between confidence and accuracy over them, weighted by images (Naeini et al. 2015; Guo et al. 2017). On few
images it is above zero for a perfectly calibrated model, too, so two things stand beside it:

- what a model would show whose labels were drawn with the probabilities that it gives, on as many images (consistency
  resampling: Bröcker and Smith 2007; Vaicenavicius et al. 2019);
- an interval over images by the basic bootstrap, which reflects the resamples' own upward bias (Davison and Hinkley
  1997, section 5.2). All models are resampled alike, so that differences between them are paired.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from budama.measuring.evaluation import Evaluation

if TYPE_CHECKING:
    from budama.results.contracts import Bin, Trust

BINS = 15
RESAMPLES = 1000  # of the images
DRAWS = 500  # of labels by a model's own probabilities
AT_ONCE = 2**21  # random numbers that are held at a time
LEVEL = 0.05


def judge(outcomes: Mapping[str, Evaluation], against: str) -> dict[str, Trust]:
    """What can be said of each model's probabilities on the same N images; changes are those against one of them."""
    finite = {label: one for label, one in outcomes.items() if one.images and np.isfinite(one.confidences).all()}
    resampled = _resampled(list(finite.values()))
    replicates = dict(zip(finite, resampled))
    found = {}
    for label, one in outcomes.items():
        own, reference = replicates.get(label), replicates.get(against)
        trust: Trust = {
            "top5_percent": None if one.top5 is None else 100 * float(one.top5.mean()),
            "nll": one.loss if np.isfinite(one.loss) else None,
            "confidence_percent": None,
            "ece_percent": None,
            "ece_interval": None,
            "ece_calibrated_percent": None,
            "ece_calibrated_at_most_percent": None,
            "ece_change_points": None,
            "ece_change_error_points": None,
            "reliability": None,
        }
        if own is not None:
            error = ece(one.confidences, one.hits)
            drawn = _drawn(one.confidences)
            high, low = 2 * error - np.quantile(own, [LEVEL / 2, 1 - LEVEL / 2])
            trust |= {
                "confidence_percent": 100 * float(one.confidences.mean()),
                "ece_percent": 100 * error,
                "ece_interval": [100 * float(np.clip(end, 0, 1)) for end in (low, high)],
                "ece_calibrated_percent": 100 * float(drawn.mean()),
                "ece_calibrated_at_most_percent": 100 * float(np.quantile(drawn, 1 - LEVEL)),
                "reliability": reliability(one.confidences, one.hits),
            }
            if reference is not None and label != against:
                before = ece(finite[against].confidences, finite[against].hits)
                trust["ece_change_points"] = 100 * (error - before)
                trust["ece_change_error_points"] = 100 * float(np.std(own - reference, ddof=1))
        found[label] = trust
    return found


def ece(confidences: np.ndarray, hits: np.ndarray) -> float:
    """The expected calibration error as a share, of confidences [N] and hits [N]."""
    return float(np.abs(_in_bins(confidences, hits - confidences).sum(axis=0)).sum() / len(hits))


def reliability(confidences: np.ndarray, hits: np.ndarray) -> list[Bin]:
    """Mean confidence and accuracy in each bin that has images, the least confident first (a reliability diagram)."""
    places = _places(confidences)
    found: list[Bin] = []
    for place in np.unique(places):
        own = places == place
        found.append({
            "images": int(own.sum()),
            "confidence_percent": 100 * float(confidences[own].mean()),
            "accuracy_percent": 100 * float(hits[own].mean()),
        })  # fmt: skip
    return found


def _places(confidences: np.ndarray) -> np.ndarray:
    """The bin of each image: the m-th has the confidences above (m − 1) / 15 and up to m / 15."""
    return np.clip(np.ceil(confidences * BINS).astype(np.int64) - 1, 0, BINS - 1)


def _in_bins(confidences: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[N, 15] each image's value in the column of its bin, 0 elsewhere."""
    table = np.zeros((len(values), BINS))
    table[np.arange(len(values)), _places(confidences)] = values
    return table


def _resampled(outcomes: list[Evaluation]) -> np.ndarray:
    """[models, RESAMPLES] the calibration error of each on images drawn with replacement, the same for all."""
    if not outcomes:
        return np.zeros((0, RESAMPLES))
    images = outcomes[0].images
    gaps = np.concatenate([_in_bins(one.confidences, one.hits - one.confidences) for one in outcomes], axis=1)
    random, parts = np.random.default_rng(0), []
    for count in _portions(RESAMPLES, images):
        rows = np.arange(count)[:, None] * images
        times = np.bincount((random.integers(0, images, (count, images)) + rows).ravel(), minlength=count * images)
        sums = times.reshape(count, images).astype(np.float64) @ gaps
        parts.append(np.abs(sums).reshape(count, len(outcomes), BINS).sum(axis=2) / images)
    return np.concatenate(parts).T


def _drawn(confidences: np.ndarray) -> np.ndarray:
    """[DRAWS] calibration errors where a prediction is right with the probability that the model gives it."""
    images, places = len(confidences), _places(confidences)
    random, parts = np.random.default_rng(1), []
    for count in _portions(DRAWS, images):
        gaps = (random.random((count, images)) < confidences) - confidences
        columns = (np.arange(count)[:, None] * BINS + places).ravel()
        sums = np.bincount(columns, weights=gaps.ravel(), minlength=count * BINS)
        parts.append(np.abs(sums).reshape(count, BINS).sum(axis=1) / images)
    return np.concatenate(parts)


def _portions(total: int, images: int) -> list[int]:
    """How many rows of `images` numbers are drawn at a time."""
    step = max(1, AT_ONCE // images)
    return [min(step, total - start) for start in range(0, total, step)]
