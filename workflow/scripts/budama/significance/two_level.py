"""A difference that must hold over seeds and over images: its p and its interval.

Seeds and images are crossed: each model of each method is scored on the same images. That is the design of studies in
which several readers judge the same cases with several devices, and the analysis is theirs (Obuchowski and Rockette
1995; Hillis 2007): a seed is a reader, an image a case, a method a device. The variance of a mean difference is

    L + max(0, V − E) / S

L is what the images alone give the mean over seeds, V the variance of a difference between seeds, E the part of V that
the images explain, S the number of seeds. V has few degrees of freedom. Satterthwaite's approximation, which those
papers use, is too bold where they are one or two: a V that is small by chance is believed. So V is not taken as known
but integrated over what its chi-squared distribution leaves possible: a generalised p value (Tsui and Weerahandi 1989;
Weerahandi 1995). Without L it is Student's t test, without V the z test.

All of this is on the logit scale (`moments.Moments.logits`): near 100 % seeds spread less in points than at 80 %, not
in logits. What is reported is in points: an interval's ends are those differences around the same middle.
`benchmarks/false_claims.py` compares both, and a bootstrap of seeds and images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import optimize, stats
from scipy.special import expit

POINTS = 4001  # of the integral over log(chi²); a test holds p to 2e-5 of an adaptive quadrature


@dataclass(frozen=True)
class Component:
    """A variance between seeds: `value` with `freedom` degrees of freedom, of which the images explain `explained`."""

    value: float
    freedom: float
    explained: float

    @staticmethod
    def total(parts: list[Component]) -> Component:
        """The sum of independent components, its degrees of freedom after Satterthwaite (1946)."""
        value = sum(part.value for part in parts)
        uncertain = sum(part.value**2 / part.freedom for part in parts)
        freedom = value**2 / uncertain if uncertain else min(part.freedom for part in parts)
        return Component(value, freedom, sum(part.explained for part in parts))


@dataclass(frozen=True)
class Difference:
    """A mean difference, and what is known of its variance.

    Attributes:
        mean: of accuracies, as a share.
        shift: the same in logits.
        middle: half-way between the two, in logits.
        over_images: L.
        between_seeds: V, and E as what the images explain of it.
        seeds: S.
    """

    mean: float
    shift: float
    middle: float
    over_images: float
    between_seeds: Component
    seeds: int

    def p(self, shift: float | None = None) -> float:
        """Two-sided p under the hypothesis of no difference; of another shift than its own where one is given."""
        distance = abs(self.shift if shift is None else shift)
        if distance == 0:
            return 1.0
        deviations, weights = self._deviations()
        with np.errstate(divide="ignore"):
            return float(min(1.0, weights @ (2 * stats.norm.sf(distance / deviations))))

    def interval(self, alpha: float) -> tuple[float, float]:
        """Of the mean difference, as shares; it excludes 0 exactly where p < alpha."""
        half = self.half_width(alpha)
        low, high = (
            float(expit(self.middle + end / 2) - expit(self.middle - end / 2))
            for end in (self.shift - half, self.shift + half)
        )
        return low, high

    def half_width(self, alpha: float) -> float:
        """Half of that interval in logits."""
        largest = float(self._deviations()[0].max())
        if largest == 0:
            return 0.0
        return float(optimize.brentq(lambda shift: self.p(shift) - alpha, 0, 40 * largest, xtol=1e-12))

    def _deviations(self) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviations of the mean difference that are possible, and how probable each is."""
        seeds = self.between_seeds
        ratios, weights = _chi_squared(round(seeds.freedom, 3))
        excess = np.maximum(seeds.value * ratios - seeds.explained, 0)
        return np.sqrt(self.over_images + excess / self.seeds), weights


@cache
def _chi_squared(freedom: float) -> tuple[np.ndarray, np.ndarray]:
    """freedom/χ² on a grid that is even in log(χ²), and the probability of each point."""
    low, high = stats.chi2.ppf(1e-15, freedom), stats.chi2.isf(1e-15, freedom)
    grid = np.exp(np.linspace(np.log(low), np.log(high), POINTS))
    density = grid * stats.chi2.pdf(grid, freedom)
    return freedom / grid, density / density.sum()
