"""Intervals and tests against textbook values, against slow direct computations, and against the recorded TS3."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budama.results.significance import (
    Candidate,
    against_random,
    better_p,
    bootstrap_percent,
    combine,
    compare,
    holm,
    mcnemar_p,
    mean_interval,
    rank,
    two_proportion_p,
)

TS3 = {"coverage": 72.13, "wanda": 74.50, "magnitude": 75.55, "taylor": 75.54}


def hits(images: int, correct: int) -> np.ndarray:
    return np.arange(images) < correct


def recorded(accuracies: dict[str, float], images: int = 49_997) -> list[Candidate]:
    return [Candidate(name, 0.1, accuracy, images) for name, accuracy in accuracies.items()]


def direct_mcnemar(only_a: int, only_b: int) -> float:
    n = only_a + only_b
    tail = sum(Fraction(comb(n, k), 2**n) for k in range(min(only_a, only_b) + 1))
    return float(min(Fraction(1), 2 * tail))


def test_seed_interval_is_students_t():
    low, high = mean_interval([74.0, 75.0, 76.0])
    assert (low, high) == pytest.approx((75 - 4.302653 / 3**0.5, 75 + 4.302653 / 3**0.5), abs=1e-5)


def test_one_seed_has_no_interval():
    assert mean_interval([75.0]) is None


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (5, 5), (3, 12), (40, 25), (120, 60)])
def test_mcnemar_equals_the_direct_binomial_sum(only_a, only_b):
    a = np.r_[np.ones(only_a, bool), np.zeros(only_b, bool), np.ones(30, bool)]
    b = np.r_[np.zeros(only_a, bool), np.ones(only_b, bool), np.ones(30, bool)]
    assert mcnemar_p(a, b) == pytest.approx(direct_mcnemar(only_a, only_b), rel=1e-9)
    assert mcnemar_p(b, a) == mcnemar_p(a, b)


def test_the_one_sided_test_favours_only_the_better_model():
    good, bad = hits(400, 300), hits(400, 270)
    assert better_p(good, bad) == pytest.approx(2.0**-30)
    assert better_p(bad, good) == 1.0


def test_hits_on_different_images_are_never_compared():
    with pytest.raises(ValueError, match="different images"):
        mcnemar_p(hits(10, 5), hits(11, 5))


def test_bootstrap_equals_resampling_image_by_image():
    rng = np.random.default_rng(3)
    values = rng.random(500) < 0.8
    slow = [100 * rng.choice(values, 500).mean() for _ in range(4000)]
    assert bootstrap_percent(values) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.25)


def test_bootstrap_of_a_paired_difference_is_narrower_than_of_the_accuracy():
    rng = np.random.default_rng(4)
    base = rng.random(10_000) < 0.9
    pruned = base ^ (rng.random(10_000) < 0.02)
    low, high = bootstrap_percent(pruned.astype(float) - base)
    wide_low, wide_high = bootstrap_percent(pruned)
    assert high - low < 0.6 * (wide_high - wide_low)
    assert low < 100 * (pruned.mean() - base.mean()) < high


def test_bootstrap_intervals_cover_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(300):
        low, high = bootstrap_percent(rng.random(400) < 0.7, seed=trial)
        covered += low <= 70 <= high
    assert 0.91 <= covered / 300 <= 0.985


def test_the_same_seed_gives_the_same_interval():
    values = hits(1000, 700)
    assert bootstrap_percent(values, seed=1) == bootstrap_percent(values, seed=1)


def test_combined_p_is_twice_the_median_and_at_most_one():
    assert combine([0.01, 0.02, 0.5]) == pytest.approx(0.04)
    assert combine([0.9, 0.8, 0.7]) == 1.0
    assert combine([0.03]) == 0.03


def test_combined_p_is_valid_when_all_seeds_agree_completely():
    p = np.random.default_rng(6).random(4000)
    claimed = np.mean([combine([x, x, x]) < 0.05 for x in p])
    assert claimed <= 0.05


def test_holm_matches_the_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_ts3_ranks_magnitude_and_taylor_as_a_tie_and_wanda_and_coverage_apart():
    candidates = recorded(TS3)
    groups = rank(candidates, compare(candidates))
    assert [(g["rank"], g["variants"]) for g in groups] == [
        (1, ["magnitude", "taylor"]),
        (3, ["wanda"]),
        (4, ["coverage"]),
    ]
    assert groups[0]["tie_p"] == pytest.approx(0.97, abs=0.01)
    assert groups[1]["tie_p"] is None


def test_two_proportions_match_the_formula():
    p1, p2, n = 0.7555, 0.7450, 49_997
    pooled = (p1 + p2) / 2
    z = (p1 - p2) / (pooled * (1 - pooled) * 2 / n) ** 0.5
    from scipy.stats import norm

    assert two_proportion_p(75.55, 74.50, n) == pytest.approx(2 * norm.sf(z), rel=0.01)
    assert two_proportion_p(100, 100, 50) == 1.0


def test_paired_hits_tell_apart_what_two_percentages_cannot():
    images = 10_000
    a = hits(images, 9000)
    b = a & ~(np.arange(images) < 25)
    paired = [Candidate("a", 0.1, 90.0, images, {0: a}), Candidate("b", 0.1, 89.75, images, {0: b})]
    assert compare(paired)[0].distinguishable
    assert compare(paired)[0].test == "mcnemar"
    assert not compare(recorded({"a": 90.0, "b": 89.75}, images))[0].distinguishable


def test_variants_of_different_ratios_are_not_compared_and_holm_counts_pairs_of_one_ratio():
    candidates = [Candidate(f"m{i}-{r}", r, 80 + i / 100, 1000) for r in (0.1, 0.3) for i in range(3)]
    comparisons = compare(candidates)
    assert len(comparisons) == 6
    assert all(c.a.split("-")[1] == c.b.split("-")[1] for c in comparisons)
    assert [g["ratio"] for g in rank(candidates, comparisons)] == [0.1, 0.3]


def test_a_tie_is_with_the_leader_not_with_the_neighbour():
    # Each step of 0.7 points is inside the noise of 10,000 images, two steps are not.
    candidates = recorded({"a": 80.0, "b": 79.3, "c": 78.3, "d": 77.6}, 10_000)
    groups = rank(candidates, compare(candidates))
    assert [g["variants"] for g in groups] == [["a", "b"], ["c", "d"]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=8), st.integers(10, 100_000))
def test_every_variant_is_ranked_exactly_once(accuracies, images):
    candidates = recorded({f"m{i}": a for i, a in enumerate(accuracies)}, images)
    groups = rank(candidates, compare(candidates))
    names = [name for group in groups for name in group["variants"]]
    assert sorted(names) == sorted(c.name for c in candidates)
    assert [g["rank"] for g in groups] == [1 + names.index(g["variants"][0]) for g in groups]


def test_a_method_like_random_does_not_beat_it_and_a_better_one_does():
    rng = np.random.default_rng(7)
    random = [rng.random(2000) < 0.6 for _ in range(3)]
    rows = against_random({"wanda": rng.random(2000) < 0.8, "lucky": rng.random(2000) < 0.6}, random)
    wanda, lucky = rows
    assert wanda["p_holm"] < 1e-6
    assert wanda["difference_points"] == pytest.approx(20, abs=3)
    assert wanda["difference_interval"][0] < wanda["difference_points"] < wanda["difference_interval"][1]
    assert lucky["p_holm"] > 0.05
