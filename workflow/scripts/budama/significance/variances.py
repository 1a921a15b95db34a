"""The variances of a mean difference, out of the moments of hits: over images, and between seeds.

Between seeds, a method's accuracies vary by what the seed does to all methods alike, which no difference shows, and by
the rest, the interaction of method and seed. Its mean square is pooled over the methods of a ratio: two seeds of one
method say little, two seeds of each of five say more. A method of which the seed decides more than the training (which
channels go, the weights that it begins with) is not pooled with the others: its own seeds speak for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from budama.significance.moments import Moments
from budama.significance.two_level import Component, Difference


def pair(moments: Moments, a: str, b: str, seeds: Sequence[int], alike: Sequence[str]) -> Difference:
    """Two methods, each with these seeds (2 or more).

    Args:
        alike: the methods whose seeds vary alike; all of them have all of these seeds.
    """
    contrast = _mean(moments, a, seeds) - _mean(moments, b, seeds)
    return _difference(moments, contrast, _between(moments, a, b, seeds, alike), len(seeds))


def to_one(moments: Moments, a: str, one: tuple[str, int], seeds: Sequence[int], alike: Sequence[str]) -> Difference:
    """A method with these seeds (2 or more) against one model that does not vary: the original, say."""
    contrast = _mean(moments, a, seeds) - moments.contrast({one: 1})
    pool = alike if a in alike else [a]
    return _difference(moments, contrast, _within(moments, pool, seeds), len(seeds))


def of_mean(moments: Moments, a: str, seeds: Sequence[int], alike: Sequence[str]) -> Difference:
    """A method's mean accuracy itself, with these seeds (2 or more)."""
    pool = alike if a in alike else [a]
    return _difference(moments, _mean(moments, a, seeds), _within(moments, pool, seeds), len(seeds))


def over_images(moments: Moments, contrast: np.ndarray) -> float:
    """The variance that N images give a weighted sum of models' accuracies."""
    return max(0.0, float(contrast @ moments.covariance @ contrast)) / moments.images


def _difference(moments: Moments, contrast: np.ndarray, between: Component, seeds: int) -> Difference:
    return Difference(float(contrast @ moments.means), over_images(moments, contrast), between, seeds)


def _mean(moments: Moments, method: str, seeds: Sequence[int]) -> np.ndarray:
    return moments.contrast({(method, seed): 1 / len(seeds) for seed in seeds})


def _between(moments: Moments, a: str, b: str, seeds: Sequence[int], alike: Sequence[str]) -> Component:
    """The variance over seeds of a difference of two methods with the same seed."""
    others = [method for method in (a, b) if method not in alike]
    if len(others) == 1 and len(alike) > 1:
        pool = len(alike)
        own = _component(moments, {others[0]: 1.0} | dict.fromkeys(alike, -1 / pool), seeds)
        return Component.total([_scaled(_interaction(moments, alike, seeds), 1 - 1 / pool), own])
    if others or len(alike) < 3:
        return _component(moments, {a: 1.0, b: -1.0}, seeds)
    return _scaled(_interaction(moments, alike, seeds), 2)


def _interaction(moments: Moments, methods: Sequence[str], seeds: Sequence[int]) -> Component:
    """The mean square of method × seed: (M − 1)(S − 1) degrees of freedom."""
    return _mean_square(moments, methods, seeds, _centred(len(methods)), len(methods) - 1)


def _within(moments: Moments, methods: Sequence[str], seeds: Sequence[int]) -> Component:
    """The variance over seeds of one method's accuracy, pooled over methods: what seeds do to all alike is in it."""
    many = len(methods)
    if many == 1:
        return _component(moments, {methods[0]: 1.0}, seeds)
    common = _component(moments, dict.fromkeys(methods, 1 / many), seeds)
    return Component.total([common, _scaled(_interaction(moments, methods, seeds), 1 - 1 / many)])


def _component(moments: Moments, weights: dict[str, float], seeds: Sequence[int]) -> Component:
    """The variance over seeds of a weighted sum of methods: S − 1 degrees of freedom."""
    row = np.array(list(weights.values()))
    return _mean_square(moments, list(weights), seeds, np.outer(row, row), 1)


def _mean_square(
    moments: Moments, methods: Sequence[str], seeds: Sequence[int], over_methods: np.ndarray, freedom: int
) -> Component:
    """A mean square of accuracies [M, S], and what of it the images explain: x'Qx and trace(QC)/N of one form Q."""
    at = [moments.models.index((method, seed)) for method in methods for seed in seeds]
    form = np.kron(over_methods, _centred(len(seeds))) / (freedom * (len(seeds) - 1))
    means, covariance = moments.means[at], moments.covariance[np.ix_(at, at)]
    explained = float(np.sum(form * covariance)) / moments.images
    return Component(max(0.0, float(means @ form @ means)), freedom * (len(seeds) - 1), max(0.0, explained))


def _scaled(component: Component, factor: float) -> Component:
    return Component(component.value * factor, component.freedom, component.explained * factor)


def _centred(n: int) -> np.ndarray:
    return np.eye(n) - 1 / n
