"""Which accuracies may be called different: pairs of one ratio, variants and the original, methods and random pruning.

One rule serves them all. Two variants that were trained with the same two seeds or more are compared as methods, over
seeds and images (`two_level`); with one seed they are two models, compared image by image (`models.Paired`); without
hits of single images, as two proportions. Holm's correction is over all that are asked together, at 5 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from statsmodels.stats.multitest import multipletests

from budama.significance import moments, variances
from budama.significance.claims import AgainstOriginal, AgainstRandom, Claim, Comparison, Group, Test
from budama.significance.models import Paired, Proportions
from budama.significance.two_level import Difference

SIGNIFICANCE = 0.05
TESTS: dict[type, Test] = {Difference: "two_level", Paired: "mcnemar", Proportions: "two_proportion"}
Tested = Difference | Paired | Proportions
ORIGINAL = ("the original", 0)


@dataclass(frozen=True)
class Candidate:
    """A variant as tests see it.

    Attributes:
        images: of the test split.
        hits: bool [images] a seed, of models that differ; empty where single hits are not known.
    """

    name: str
    ratio: float | None
    accuracy_percent: float
    images: int
    hits: Mapping[int, np.ndarray] = field(default_factory=dict)


def compare(candidates: Sequence[Candidate]) -> list[Comparison]:
    """All pairs within each pruning ratio, best first."""
    found: list[Comparison] = []
    for ratio in dict.fromkeys(one.ratio for one in candidates):
        own = _best_first(candidates, ratio)
        known = _moments(own)
        pairs = list(combinations(own, 2))
        for (a, b), claim in zip(pairs, _judged([_pair(a, b, own, known) for a, b in pairs])):
            if len(set(a.hits) & set(b.hits)) < 2:
                claim["of"] = "models"
            found.append({"a": a.name, "b": b.name, "ratio": ratio, **claim})
    return found


def to_original(candidates: Sequence[Candidate], original: Candidate) -> list[AgainstOriginal]:
    """Each variant against the model that was not pruned, which is one model whatever the variants' seeds."""
    found: list[AgainstOriginal] = []
    for ratio in dict.fromkeys(one.ratio for one in candidates):
        own = [one for one in candidates if one.ratio == ratio]
        claims = _judged([_to_one(one, original, own) for one in own])
        found += [{"variant": one.name, "ratio": ratio, **claim} for one, claim in zip(own, claims)]
    return found


def to_control(candidates: Sequence[Candidate], control: Candidate) -> list[AgainstOriginal]:
    """Each variant against a control that was trained with the same seeds: the original, fine-tuned as they were."""
    found: list[AgainstOriginal] = []
    for ratio in dict.fromkeys(one.ratio for one in candidates):
        own = [one for one in candidates if one.ratio == ratio]
        every = [*own, control]
        known = _moments(every)
        claims = _judged([_pair(one, control, every, known) for one in own])
        for one, claim in zip(own, claims):
            if len(set(one.hits) & set(control.hits)) < 2:
                claim["of"] = "models"
            found.append({"variant": one.name, "ratio": ratio, **claim})
    return found


def against_random(hits: Mapping[str, np.ndarray], random: Mapping[int, np.ndarray]) -> list[AgainstRandom]:
    """Does each method beat pruning at random? One row a variant, for variants of one ratio.

    Args:
        hits: variant → [N] hits on the selection images, BatchNorm re-estimated and not yet fine-tuned: one model each.
        random: the random control's hits on the same images, a seed.
    """
    control = Candidate("control", None, 0, 0, random)
    claims = _judged(
        [_turned(_to_one(control, Candidate(name, None, 0, 0, {0: own}), [control])) for name, own in hits.items()]
    )
    percent = 100 * float(np.mean([one.mean() for one in random.values()]))
    return [
        {"variant": name, "stage": "reestimated", "random_percent": percent, **claim}
        for name, claim in zip(hits, claims)
    ]


def between_runs(pairs: Sequence[tuple[Sequence[float], Sequence[float]]], images: int) -> list[Claim]:
    """Methods in two scenarios that ran apart: of each, accuracies in percent, one a seed, here and there.

    The runs may share test images, but what each image gave is not known here, so they are taken for independent: the
    variances are larger than in a paired test, and what is told apart is apart.

    Args:
        images: of the smaller test split.
    """
    return _judged([_apart(here, there, images) for here, there in pairs])


def between_scenarios(
    pairs: Sequence[tuple[Candidate, Candidate]], here: Sequence[Candidate], there: Sequence[Candidate]
) -> list[Claim]:
    """The same, where both scenarios were scored on the same test images and hits are known: images are paired.

    Args:
        here: all variants of one scenario, with whom those of a ratio pool what seeds vary by.
        there: all of the other; no name may be in both.
    """
    known = _moments([*here, *there])
    return _judged([_across(a, b, here, there, known) for a, b in pairs])


def p_across(
    pairs: Sequence[tuple[Candidate, Candidate]], here: Sequence[Candidate], there: Sequence[Candidate]
) -> list[float]:
    """The p of each such comparison, not corrected: for whoever asks several together."""
    known = _moments([*here, *there])
    return [_across(a, b, here, there, known).p() for a, b in pairs]


def p_apart(
    here: Sequence[float], there: Sequence[float], images: int, beside: Sequence[Sequence[float]] = ()
) -> float:
    """The p of one such comparison, not corrected: for whoever asks several together. Of two variants of one scenario,
    `beside` are its others: seeds vary alike in logits, so that variance is pooled over all."""
    return _apart(here, there, images, beside).p()


def rank(candidates: Sequence[Candidate], comparisons: Sequence[Comparison]) -> list[Group]:
    """Groups of variants, best first within each ratio: a leader, and those after it that it cannot be told apart from.

    `rank` is the leader's place (1, 3, 4 after a tie of two). Variants that were not compared are each a group.
    """
    pairs = {(one["a"], one["b"]): one for one in comparisons}
    groups: list[Group] = []
    for ratio in dict.fromkeys(one.ratio for one in candidates):
        leader = ""
        for place, candidate in enumerate(_best_first(candidates, ratio), 1):
            pair = pairs.get((leader, candidate.name))
            if pair is None or pair["distinguishable"]:
                leader = candidate.name
                groups.append({"rank": place, "ratio": ratio, "variants": [leader], "tie_p_holm": None})
                continue
            group = groups[-1]
            group["variants"].append(candidate.name)
            group["tie_p_holm"] = min(pair["p_holm"], group["tie_p_holm"] or 1.0)
    return groups


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down correction: bounds the chance of any false claim among these tests."""
    return [float(p) for p in multipletests(p_values, method="holm")[1]] if len(p_values) else []


def with_seeds(candidates: Sequence[Candidate], seeds: Sequence[int]) -> list[Candidate]:
    """The variants that have all of these seeds: how much seeds vary is estimated from all of them."""
    return [one for one in candidates if set(seeds) <= set(one.hits)]


def _pair(a: Candidate, b: Candidate, every: Sequence[Candidate], known: moments.Moments | None) -> Tested:
    seeds = sorted(set(a.hits) & set(b.hits))
    if len(seeds) > 1 and known:
        return variances.pair(known, a.name, b.name, seeds, [one.name for one in with_seeds(every, seeds)])
    return _to_one(a, b, every) if len(a.hits) >= len(b.hits) else _turned(_to_one(b, a, every))


def _to_one(a: Candidate, one: Candidate, every: Sequence[Candidate]) -> Tested:
    """A variant, with all its seeds, against a single model."""
    seeds = sorted(a.hits)
    if not seeds or not one.hits:
        return _proportions(a, one)
    model = one.hits[min(one.hits)]
    if len(seeds) == 1:
        return Paired.of_hits(a.hits[seeds[0]], model)
    pool = with_seeds(every, seeds)
    table = {(other.name, seed): other.hits[seed] for other in pool for seed in seeds}
    known = moments.of_hits({**table, ORIGINAL: model})
    return variances.to_one(known, a.name, ORIGINAL, seeds, [other.name for other in pool])


def _across(
    a: Candidate,
    b: Candidate,
    here: Sequence[Candidate],
    there: Sequence[Candidate],
    known: moments.Moments | None,
) -> Tested:
    """Variants of two scenarios on the same images."""
    own = [[x for x in every if x.ratio == one.ratio] for one, every in ((a, here), (b, there))]
    if min(len(a.hits), len(b.hits)) > 1 and known:
        return variances.across(known, *(_run(one, every) for one, every in zip((a, b), own)))
    return _to_one(a, b, own[0]) if len(a.hits) >= len(b.hits) else _turned(_to_one(b, a, own[1]))


def _run(one: Candidate, every: Sequence[Candidate]) -> variances.Run:
    seeds = sorted(one.hits)
    return variances.Run(one.name, seeds, [other.name for other in with_seeds(every, seeds)])


def _proportions(a: Candidate, b: Candidate) -> Proportions:
    images = min(a.images, b.images)
    right_a, right_b = (round(one.accuracy_percent * images / 100) for one in (a, b))
    return Proportions(right_a, right_b, images)


def _apart(
    here: Sequence[float], there: Sequence[float], images: int, beside: Sequence[Sequence[float]] = ()
) -> Tested:
    if min(len(here), len(there)) < 2:
        right = [round(float(np.mean(one)) * images / 100) for one in (here, there)]
        return Proportions(right[0], right[1], images)
    others = [np.array(one) / 100 for one in beside]
    return variances.apart(np.array(here) / 100, np.array(there) / 100, images, others)


def _turned(tested: Tested) -> Tested:
    """The same difference seen from the other side."""
    if isinstance(tested, Difference):
        return replace(tested, mean=-tested.mean, shift=-tested.shift)
    if isinstance(tested, Paired):
        return Paired(tested.only_b, tested.only_a, tested.images)
    return Proportions(tested.right_b, tested.right_a, tested.images)


def _moments(candidates: Sequence[Candidate]) -> moments.Moments | None:
    table = {(one.name, seed): hits for one in candidates for seed, hits in one.hits.items()}
    return moments.of_hits(table) if table else None


def _judged(tests: Sequence[Tested]) -> list[Claim]:
    """The claims of tests that are asked together, by Holm.

    The interval of each has the level at which Holm judges it: α / (tests not yet decided), and for all that is not
    claimed the level at which he stops. So an interval excludes 0 where the difference is claimed, and only there.
    """
    p_values = [one.p() for one in tests]
    corrected = holm(p_values)
    claimed = sum(p < SIGNIFICANCE for p in corrected)
    places = np.argsort(np.argsort(p_values, kind="stable"), kind="stable")
    claims: list[Claim] = []
    for tested, p, p_holm, place in zip(tests, p_values, corrected, places):
        low, high = tested.interval(SIGNIFICANCE / (len(tests) - min(int(place), claimed)))
        seeds = tested.seeds if isinstance(tested, Difference) else 1
        claims.append({
            "difference_points": 100 * tested.mean,
            "interval": [max(-100.0, 100 * low), min(100.0, 100 * high)],
            "p": p,
            "p_holm": p_holm,
            "distinguishable": p_holm < SIGNIFICANCE,
            "test": TESTS[type(tested)],
            "of": "methods" if seeds > 1 else "models",
            "seeds": seeds,
        })  # fmt: skip
    return claims


def _best_first(candidates: Sequence[Candidate], ratio: float | None) -> list[Candidate]:
    return sorted((one for one in candidates if one.ratio == ratio), key=lambda one: -one.accuracy_percent)
