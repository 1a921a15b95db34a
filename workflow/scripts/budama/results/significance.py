"""What may be said about accuracies: intervals, paired tests, and a ranking that admits ties.

Hits are booleans, one a test image: whether a model's first guess was right. Two models scored on the same images are
compared image by image (McNemar 1947), which is far sharper than comparing two percentages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportions_ztest

if TYPE_CHECKING:
    from budama.reporting.contract import AgainstRandom, Group

SIGNIFICANCE = 0.05
RESAMPLES = 10_000


@dataclass(frozen=True)
class Candidate:
    """A variant to be ranked: its mean accuracy, and its hits on the test images for each seed where they are known."""

    name: str
    ratio: float | None
    accuracy_percent: float
    images: int
    hits: Mapping[int, np.ndarray] | None = None


@dataclass(frozen=True)
class Comparison:
    """Two variants of equal pruning ratio; `a` is the more accurate. p_holm is p corrected over that ratio's pairs."""

    a: str
    b: str
    ratio: float | None
    difference_points: float
    p: float
    p_holm: float
    distinguishable: bool
    test: str


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Student's t interval for the mean of `values` (one a seed); None for fewer than two."""
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(stats.sem(values))
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return mean - half, mean + half


def bootstrap_percent(values: np.ndarray, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval over images for 100 × the mean of `values` (Efron 1979).

    Resampling N images with replacement is a multinomial draw over the distinct values, whose counts are all that the
    mean depends on. Hits and differences of hits take a handful of values, so 10,000 resamples cost milliseconds at any
    N, and the distribution is the ordinary bootstrap's, not an approximation of it.

    Args:
        values: [N], one an image: hits averaged over seeds, or the difference of two such arrays for a paired interval.
    """
    distinct, counts = np.unique(np.asarray(values, dtype=np.float64).round(12), return_counts=True)
    draws = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), size=RESAMPLES)
    means = 100 * (draws @ distinct) / counts.sum()
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def mcnemar_p(a: np.ndarray, b: np.ndarray) -> float:
    """Exact two-sided McNemar p for hits `a` [N] and `b` [N] on the same images (H0: both err equally often)."""
    only_a, only_b = _discordant(a, b)
    return float(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue) if only_a + only_b else 1.0


def better_p(a: np.ndarray, b: np.ndarray) -> float:
    """Exact one-sided McNemar test: p under the hypothesis that `a` is right no more often than `b`."""
    only_a, only_b = _discordant(a, b)
    return (
        float(stats.binomtest(only_a, only_a + only_b, 0.5, alternative="greater").pvalue) if only_a + only_b else 1.0
    )


def combine(p_values: Sequence[float]) -> float:
    """One p from several that test the same hypothesis and may depend on each other in any way: min(1, 2 × median).

    Rüschendorf (1982) proved the rule, Meinshausen, Meier and Bühlmann (2009) made it known. Seeds share the test
    images and the pruned weights, so a rule for independent p-values (Fisher's, say) would claim too much. A single p
    stays as it is.
    """
    return float(p_values[0]) if len(p_values) == 1 else min(1.0, 2 * float(np.median(p_values)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down correction: bounds the chance of any false claim among these tests."""
    return [float(p) for p in multipletests(p_values, method="holm")[1]] if len(p_values) else []


def two_proportion_p(a_percent: float, b_percent: float, images: int) -> float:
    """Two-sided z test of two accuracies on `images` images each, for results of which no per-image hits are known.

    It treats the two as independent. Models scored on the same images agree on most of them, so this p is too large
    rather than too small: what it tells apart is apart.
    """
    correct = [round(a_percent * images / 100), round(b_percent * images / 100)]
    if correct[0] == correct[1] or sum(correct) in (0, 2 * images):
        return 1.0
    return float(proportions_ztest(correct, [images, images])[1])


def compare(candidates: Sequence[Candidate]) -> list[Comparison]:
    """All pairs within each pruning ratio, best first, with Holm's correction over the pairs of that ratio.

    With hits, each seed gives an exact McNemar p, and `combine` joins them; without, the two-proportion z test is used.
    """
    found = []
    for ratio in dict.fromkeys(c.ratio for c in candidates):
        pairs = list(combinations(_best_first(candidates, ratio), 2))
        tested = [_pair_p(a, b) for a, b in pairs]
        for (a, b), (p, test), corrected in zip(pairs, tested, holm([p for p, _ in tested])):
            difference = a.accuracy_percent - b.accuracy_percent
            distinguishable = corrected < SIGNIFICANCE
            found.append(Comparison(a.name, b.name, ratio, difference, p, corrected, distinguishable, test))
    return found


def rank(candidates: Sequence[Candidate], comparisons: Sequence[Comparison]) -> list[Group]:
    """Groups of variants, best first within each ratio: `{"rank", "ratio", "variants", "tie_p", "tie_p_holm"}`.

    A group is a leader and the variants right after it that cannot be told apart from it. `rank` is the leader's place
    (1, 3, 4 after a tie of two). `tie_p` belongs to the member least like the leader; it is None for a group of one.
    Variants that were not compared are each a group.
    """
    pairs = {(c.a, c.b): c for c in comparisons}
    groups: list[Group] = []
    for ratio in dict.fromkeys(c.ratio for c in candidates):
        leader = ""
        for place, candidate in enumerate(_best_first(candidates, ratio), 1):
            pair = pairs.get((leader, candidate.name))
            if pair is None or pair.distinguishable:
                leader = candidate.name
                groups.append({"rank": place, "ratio": ratio, "variants": [leader], "tie_p": None, "tie_p_holm": None})
                continue
            group = groups[-1]
            group["variants"].append(candidate.name)
            if group["tie_p"] is None or pair.p < group["tie_p"]:
                group["tie_p"], group["tie_p_holm"] = pair.p, pair.p_holm
    return groups


def against_random(hits: Mapping[str, np.ndarray], random: Sequence[np.ndarray], seed: int = 0) -> list[AgainstRandom]:
    """Does each method beat pruning at random? One row a variant, for variants of one ratio.

    Args:
        hits: variant → [N] hits on the selection images, BatchNorm re-estimated and not yet fine-tuned.
        random: the random control's hits on the same images, one array [N] a seed.

    Returns:
        Rows with the difference to random's mean (points, with its paired bootstrap interval), the one-sided exact
        McNemar p joined over random's seeds, and Holm's correction over the variants.
    """
    mean = np.mean(random, axis=0, dtype=np.float64)
    p_values = [combine([better_p(own, other) for other in random]) for own in hits.values()]
    rows: list[AgainstRandom] = []
    for (variant, own), p, corrected in zip(hits.items(), p_values, holm(p_values)):
        difference = own.astype(np.float64) - mean
        rows.append(
            {
                "variant": variant,
                "stage": "reestimated",
                "difference_points": 100 * float(difference.mean()),
                "difference_interval": list(bootstrap_percent(difference, seed=seed)),
                "random_percent": 100 * float(mean.mean()),
                "alternative": "greater",
                "p": p,
                "p_holm": corrected,
            }
        )
    return rows


def _discordant(a: np.ndarray, b: np.ndarray) -> tuple[int, int]:
    """How many images only `a`, and only `b`, has right."""
    a, b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if a.shape != b.shape:
        raise ValueError(f"hits on different images: {a.shape} and {b.shape}")
    return int((a & ~b).sum()), int((b & ~a).sum())


def _best_first(candidates: Sequence[Candidate], ratio: float | None) -> list[Candidate]:
    return sorted((c for c in candidates if c.ratio == ratio), key=lambda c: -c.accuracy_percent)


def _pair_p(a: Candidate, b: Candidate) -> tuple[float, str]:
    ours, theirs = a.hits or {}, b.hits or {}
    if seeds := sorted(set(ours) & set(theirs)):
        return combine([mcnemar_p(ours[seed], theirs[seed]) for seed in seeds]), "mcnemar"
    return two_proportion_p(a.accuracy_percent, b.accuracy_percent, min(a.images, b.images)), "two_proportion"
