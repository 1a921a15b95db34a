"""What all tests of accuracies need to know of the hits: means and covariances of models scored on the same images.

Hits are booleans, one a test image: whether a model's first guess was right. A model is one training: a method's, with
one seed. Every test here is a function of two things, so simulations may draw hits in millions and keep these alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import logit

Model = tuple[str, int]  # a variant and a seed


@dataclass(frozen=True)
class Moments:
    """First and second moments of the hits of K models on N images.

    Attributes:
        models: K of them, in the order of the rows.
        means: [K] shares of images that each has right.
        covariance: [K, K] of one image's hits (unbiased).
        images: N.
    """

    models: tuple[Model, ...]
    means: np.ndarray
    covariance: np.ndarray
    images: int

    @cached_property
    def logits(self) -> Moments:
        """The same on the scale on which seeds spread alike, at 80 % as at 99 %: the logit, log(p / (1 − p)).

        Around each method's mean p it is linear, with the slope 1 / (p (1 − p)) (the delta method), so what is exact
        for means of hits stays so. The half image more that is right, and the half that is wrong (`on_logit_scale`),
        are the same for one method's models.
        """
        means, covariance = np.empty_like(self.means), self.covariance.copy()
        slopes = np.empty_like(self.means)
        for method in dict.fromkeys(method for method, _ in self.models):
            own = [place for place, model in enumerate(self.models) if model[0] == method]
            share = float(self.means[own].mean())
            middle, slope = on_logit_scale(share, self.images)
            slopes[own] = slope
            means[own] = middle + slope * (self.means[own] - share)
            covariance[np.ix_(own, own)] += max(0.0, 1 / slope - share * (1 - share))
        return Moments(self.models, means, covariance * np.outer(slopes, slopes), self.images)

    def contrast(self, weights: Mapping[Model, float]) -> np.ndarray:
        """[K] the weights of those models, and 0 of the others."""
        found = np.zeros(len(self.models))
        for model, weight in weights.items():
            found[self.models.index(model)] += weight
        return found


def on_logit_scale(share: float, images: int) -> tuple[float, float]:
    """The logit of a share of images, and its slope there; half an image more is right and half wrong (Haldane 1956),
    or 100 of 100 would be certainty."""
    smoothed = (images * share + 0.5) / (images + 1)
    return float(logit(smoothed)), 1 / (smoothed * (1 - smoothed))


def of_hits(hits: Mapping[Model, np.ndarray]) -> Moments:
    """The moments of hits, bool [N] a model. Raises ValueError where they are of different images."""
    rows = [np.asarray(one, dtype=bool) for one in hits.values()]
    if len({row.shape for row in rows}) > 1:
        raise ValueError(f"hits on different images: {' and '.join(sorted({str(row.shape) for row in rows}))}")
    return of_table(tuple(hits), np.stack(rows))


def of_table(models: Sequence[Model], table: np.ndarray) -> Moments:
    """The same from one table, bool [K, N]. Counts of images are whole numbers: exact in float64 (and below 2²⁴ in
    float32, whose products are the faster)."""
    images = table.shape[1]
    numbers: np.ndarray = table.astype(np.float32 if images < 2**24 else np.float64)
    return of_counts(models, numbers @ numbers.T, images)


def of_counts(models: Sequence[Model], both: np.ndarray, images: int) -> Moments:
    """The same from the numbers of images that two models both have right, [K, K]; a model with itself: its hits."""
    shares = np.asarray(both, dtype=np.float64) / images
    means = np.diag(shares).copy()
    covariance = (shares - np.outer(means, means)) * images / max(images - 1, 1)
    return Moments(tuple(models), means, covariance, images)
