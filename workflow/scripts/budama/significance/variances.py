"""The variances of a mean difference, out of the moments of hits: over images, and between seeds. In logits.

Between seeds, a method's accuracies vary by what the seed does to all methods alike, which no difference shows, and by
the rest, the interaction of method and seed. Its mean square is pooled over the methods of a ratio: two seeds of one
method say little, two seeds of each of five say more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from budama.significance.moments import Model, Moments, on_logit_scale
from budama.significance.two_level import Component, Difference


class Run(NamedTuple):
    """A method's models in one scenario: its seeds (2 or more), and the methods with all of them, of which the variance
    between seeds is estimated."""

    method: str
    seeds: Sequence[int]
    pool: Sequence[str]


def pair(moments: Moments, a: str, b: str, seeds: Sequence[int], pool: Sequence[str]) -> Difference:
    """Two methods, each with these seeds (2 or more).

    Args:
        pool: the methods with all of these seeds, of which the variance between seeds is estimated.
    """
    between = _scaled(_interaction(moments.logits, pool, seeds), 2)
    return _difference(moments, _mean(moments, a, seeds), _mean(moments, b, seeds), between, len(seeds))


def to_one(moments: Moments, a: str, one: Model, seeds: Sequence[int], pool: Sequence[str]) -> Difference:
    """A method with these seeds (2 or more) against one model that does not vary: the original, say."""
    between = _within(moments.logits, pool, seeds)
    return _difference(moments, _mean(moments, a, seeds), moments.contrast({one: 1}), between, len(seeds))


def of_mean(moments: Moments, a: str, seeds: Sequence[int], pool: Sequence[str]) -> Difference:
    """A method's mean accuracy itself, with these seeds (2 or more)."""
    between, nothing = _within(moments.logits, pool, seeds), np.zeros(len(moments.models))
    return _difference(moments, _mean(moments, a, seeds), nothing, between, len(seeds))


def across(moments: Moments, a: Run, b: Run) -> Difference:
    """Two methods of two scenarios, scored on the same images: these are paired, seeds are not. What a seed does to all
    methods alike need not be the same in another run, so it is a part of each side's variance between seeds."""
    least = min(len(a.seeds), len(b.seeds))
    parts = [_scaled(_within(moments.logits, one.pool, one.seeds), least / len(one.seeds)) for one in (a, b)]
    means = [_mean(moments, one.method, one.seeds) for one in (a, b)]
    return _difference(moments, means[0], means[1], Component.total(parts), least)


def apart(a: np.ndarray, b: np.ndarray, images: int, beside: Sequence[np.ndarray] = ()) -> Difference:
    """Two methods that ran apart, of which only accuracies are known: shares of `images`, one a seed (2 or more).

    Images are taken for independent, and nothing of what seeds vary by for explained by them: that claims less. With
    accuracies of others that ran `beside` them, the variance between seeds (of logits) is pooled over all.
    """
    seeds, every = min(len(a), len(b)), [a, b, *beside]
    scales = [on_logit_scale(float(one.mean()), images) for one in every]
    spreads = [float(one.var(ddof=1)) * slope**2 for one, (_, slope) in zip(every, scales)]
    if beside:
        freedom = sum(len(one) - 1 for one in every)
        spread = sum(spread * (len(one) - 1) for spread, one in zip(spreads, every)) / freedom
        between = Component(spread * seeds * (1 / len(a) + 1 / len(b)), freedom, 0.0)
    else:
        parts = [Component(spread * seeds / len(one), len(one) - 1, 0.0) for spread, one in zip(spreads, every)]
        between = Component.total(parts)
    (x, x_slope), (y, y_slope) = scales[:2]
    over_images = (x_slope + y_slope) / images
    return Difference(float(a.mean() - b.mean()), x - y, (x + y) / 2, over_images, between, seeds)


def _difference(moments: Moments, a: np.ndarray, b: np.ndarray, between: Component, seeds: int) -> Difference:
    known, contrast = moments.logits, a - b
    over_images = max(0.0, float(contrast @ known.covariance @ contrast)) / known.images
    shift, middle = float(contrast @ known.means), float((a + b) @ known.means) / 2
    return Difference(float(contrast @ moments.means), shift, middle, over_images, between, seeds)


def _mean(moments: Moments, method: str, seeds: Sequence[int]) -> np.ndarray:
    return moments.contrast({(method, seed): 1 / len(seeds) for seed in seeds})


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
