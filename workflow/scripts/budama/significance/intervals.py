"""Intervals of one accuracy: over seeds and images, or over the images of a single model. None leaves 0 to 100 %."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats
from scipy.special import expit

from budama.significance import moments, variances
from budama.significance.differences import Candidate, with_seeds

LEVEL = 0.05


def accuracy_percent(one: Candidate, every: Sequence[Candidate]) -> list[float] | None:
    """The 95 % interval of a variant's accuracy in percent; None where no hits are known.

    Over seeds and images where there are two seeds or more, with the variance between seeds that tests use (pooled over
    `every` variant of the ratio). It is Wilson's (1927), for as many images as would give that standard error by
    themselves (as for surveys: Korn and Graubard 1998; Franco et al. 2019), so it stays within 0 and 100, and 100 of
    100 images right is not taken for certainty.
    """
    seeds = sorted(one.hits)
    if not seeds:
        return None
    if len(seeds) == 1:
        return single_percent(one.hits[seeds[0]])
    pool = with_seeds(every, seeds)
    known = moments.of_hits({(other.name, seed): other.hits[seed] for other in pool for seed in seeds})
    tested = variances.of_mean(known, one.name, seeds, [other.name for other in pool])
    deviation, share = tested.half_width(LEVEL) / stats.norm.isf(LEVEL / 2), expit(tested.shift)
    return _wilson(tested.mean, float(1 / (deviation**2 * share * (1 - share))))


def single_percent(hits: np.ndarray) -> list[float]:
    """The 95 % interval of one model's accuracy over test images, hits [N]: Wilson's."""
    return _wilson(float(np.mean(hits)), len(hits))


def _wilson(share: float, images: float) -> list[float]:
    z = float(stats.norm.isf(LEVEL / 2))
    middle = (share + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z * (share * (1 - share) / images + z**2 / (4 * images**2)) ** 0.5 / (1 + z**2 / images)
    return [100 * max(0.0, min(middle - half, share)), 100 * min(1.0, max(middle + half, share))]
