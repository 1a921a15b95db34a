"""Differences of two models, each trained once: what the test images alone can say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportions_ztest


@dataclass(frozen=True)
class Paired:
    """Two models on the same images: what counts are the images that only one of them has right (McNemar 1947)."""

    only_a: int
    only_b: int
    images: int

    @classmethod
    def of_hits(cls, a: np.ndarray, b: np.ndarray) -> Paired:
        """Of hits [N] each. Raises ValueError where they are of different images."""
        a, b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
        if a.shape != b.shape:
            raise ValueError(f"hits on different images: {a.shape} and {b.shape}")
        return cls(int((a & ~b).sum()), int((b & ~a).sum()), a.size)

    @property
    def mean(self) -> float:
        return (self.only_a - self.only_b) / self.images

    def p(self) -> float:
        """Exact two-sided p (H0: both err equally often)."""
        if not self.only_a + self.only_b:
            return 1.0
        return float(mcnemar([[0, self.only_a], [self.only_b, 0]], exact=True).pvalue)

    def interval(self, alpha: float) -> tuple[float, float]:
        """Of the difference, by the score test (Tango 1998), and never without 0 where p is alpha or more: it excludes
        0 exactly where p < alpha. How many images tell the models apart is as much chance as which of them wins them.
        """
        if not self.only_a + self.only_b:  # the three that may have been missed (Hanley and Lippman-Hand 1983)
            bound = float(min(1.0, -np.log(alpha) / self.images))
            return -bound, bound
        low, high = (float(self._where_score_is(sign * stats.norm.isf(alpha / 2))) for sign in (1, -1))
        return (low, high) if self.p() < alpha else (min(low, 0.0), max(high, 0.0))

    def _where_score_is(self, wanted: float) -> float:
        """The difference at which Tango's score statistic, which falls as the difference grows, is `wanted`."""
        n, only_a, only_b = self.images, self.only_a, self.only_b

        def excess(difference: float) -> float:
            linear = (2 * n - only_a + only_b) * difference - only_a - only_b
            constant = -only_b * difference * (1 - difference)
            share = (np.sqrt(linear**2 - 8 * n * constant) - linear) / (4 * n)  # of images only b has right, restricted
            variance = n * (2 * share + difference * (1 - difference))
            return only_a - only_b - n * difference - wanted * np.sqrt(max(variance, 0.0))

        edge = 1 - 1e-9  # at 1 itself nothing varies
        if excess(edge) >= 0 or excess(-edge) <= 0:
            return 1.0 if excess(edge) >= 0 else -1.0
        return optimize.brentq(excess, -edge, edge)


@dataclass(frozen=True)
class Proportions:
    """Two accuracies of which no single hits are known: a z test of two proportions.

    It treats the two as independent. Models scored on the same images agree on most of them, so this p is too large
    rather than too small: what it tells apart is apart.
    """

    right_a: int
    right_b: int
    images: int

    @property
    def mean(self) -> float:
        return (self.right_a - self.right_b) / self.images

    def p(self) -> float:
        """Two-sided p."""
        if self.right_a == self.right_b or self.right_a + self.right_b in (0, 2 * self.images):
            return 1.0
        return float(proportions_ztest([self.right_a, self.right_b], [self.images, self.images])[1])

    def interval(self, alpha: float) -> tuple[float, float]:
        """Of the difference, with the test's own pooled variance: it excludes 0 exactly where p < alpha."""
        share = (self.right_a + self.right_b) / (2 * self.images)
        half = float(stats.norm.isf(alpha / 2)) * (2 * share * (1 - share) / self.images) ** 0.5
        return self.mean - half, self.mean + half
