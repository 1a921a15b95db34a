"""Tests of differences against textbook values, against slow direct computations, and against simulated truth."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import expit, logit

from budama.significance import moments, variances
from budama.significance.differences import holm, p_apart
from budama.significance.models import Paired, Proportions
from budama.significance.two_level import Component, Difference

METHODS, SEEDS = ["a", "b", "c"], [0, 1, 2]


def hits(images: int, correct: int) -> np.ndarray:
    return np.arange(images) < correct


@pytest.fixture(scope="module")
def table() -> dict[tuple[str, int], np.ndarray]:
    """Three methods, three seeds, 400 images of which all models share the hard ones."""
    rng = np.random.default_rng(11)
    easy = rng.random(400)
    return {(m, s): easy + 0.3 * rng.random(400) < 0.9 + 0.02 * rng.random() for m in METHODS for s in SEEDS}


# The moments and the variances ----------------------------------------------------------------------------------------


def test_moments_are_those_of_numpy(table):
    found = moments.of_hits(table)
    rows = np.stack(list(table.values())).astype(float)
    assert found.means == pytest.approx(rows.mean(axis=1), abs=1e-14)
    assert found.covariance == pytest.approx(np.cov(rows), abs=1e-14)


def test_hits_on_different_images_are_never_compared():
    with pytest.raises(ValueError, match="different images"):
        moments.of_hits({("a", 0): hits(10, 5), ("b", 0): hits(11, 5)})
    with pytest.raises(ValueError, match="different images"):
        Paired.of_hits(hits(10, 5), hits(11, 5))


def slopes(table) -> dict[str, float]:
    """1 / (p (1 − p)) of each method's mean, half an image more being right."""
    shares = {m: (np.concatenate([table[m, s] for s in SEEDS]).mean() * 400 + 0.5) / 401 for m in METHODS}
    return {m: 1 / (p * (1 - p)) for m, p in shares.items()}


def test_the_variance_over_images_is_that_of_the_mean_over_seeds(table):
    tested, slope = variances.pair(moments.of_hits(table), "a", "b", SEEDS, METHODS), slopes(table)
    a, b = (np.mean([table[m, s].astype(float) for s in SEEDS], axis=0) for m in "ab")
    assert tested.mean == pytest.approx(a.mean() - b.mean())
    assert tested.over_images == pytest.approx((slope["a"] * a - slope["b"] * b).var(ddof=1) / 400, rel=0.03)


def test_the_variance_between_seeds_is_the_mean_square_of_method_and_seed(table):
    between, slope = variances.pair(moments.of_hits(table), "a", "b", SEEDS, METHODS).between_seeds, slopes(table)
    x = np.array([[slope[m] * table[m, s].mean() for s in SEEDS] for m in METHODS])
    residual = x - x.mean(axis=1, keepdims=True) - x.mean(axis=0) + x.mean()
    assert between.value == pytest.approx(2 * (residual**2).sum() / 4)
    assert between.freedom == 4
    # What the images explain of it: the same residual image by image, pooled in the same way.
    y = np.array([[slope[m] * table[m, s] for s in SEEDS] for m in METHODS])
    each = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0) + y.mean(axis=(0, 1))
    assert between.explained == pytest.approx(2 * each.var(axis=2, ddof=1).sum() / 4 / 400)


def test_what_a_seed_does_to_all_methods_alike_is_in_no_difference():
    rng = np.random.default_rng(3)
    own = {(m, s): rng.random(100_000) < 0.5 for m in METHODS for s in SEEDS}
    shifted = {(m, s): hits & (rng.random(100_000) < 1 - 0.1 * s) for (m, s), hits in own.items()}
    alone = variances.to_one(moments.of_hits(shifted), "a", ("b", 0), SEEDS, ["a"]).between_seeds.value
    assert variances.pair(moments.of_hits(shifted), "a", "b", SEEDS, METHODS).between_seeds.value < 0.01 * alone


def test_seeds_spread_alike_in_logits_where_points_do_not_show_it():
    """71 to 86 % and 98.6 to 99.7 %: 20 times as far apart in points, as far in logits."""
    table = {("low", s): hits(359, n) for s, n in enumerate((307, 254, 295))}
    table |= {("high", s): hits(359, n) for s, n in enumerate((358, 354, 356))}
    known = moments.of_hits(table).logits
    low, high = (known.means[i : i + 3].std(ddof=1) for i in (0, 3))
    assert 0.5 < low / high < 2
    tested = variances.pair(moments.of_hits(table), "high", "low", SEEDS, ["high", "low"])
    assert tested.p() < 0.02


def test_a_single_method_varies_between_seeds_as_its_accuracies_do(table):
    tested = variances.to_one(moments.of_hits(table), "a", ("b", 0), SEEDS, ["a"])
    accuracies = [table["a", s].mean() for s in SEEDS]
    assert tested.mean == pytest.approx(np.mean(accuracies) - table["b", 0].mean())
    expected = np.var(accuracies, ddof=1) * slopes(table)["a"] ** 2
    assert (tested.between_seeds.value, tested.between_seeds.freedom) == (pytest.approx(expected), 2)


def difference(shift: float, over_images: float, between: Component) -> Difference:
    return Difference(shift / 10, shift, 2.0, over_images, between, 3)


# p and interval -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("freedom", [1, 2, 4, 16])
@pytest.mark.parametrize("t", [0.3, 1.0, 2.5, 12.0])
def test_without_images_it_is_student_s_t_test(freedom, t):
    tested = difference(t * (0.02 / 3) ** 0.5, 0.0, Component(0.02, freedom, 0.0))
    assert tested.p() == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-4)


@pytest.mark.parametrize("z", [0.5, 2.0, 4.0])
def test_without_a_spread_between_seeds_it_is_the_z_test(z):
    tested = difference(z * 0.01, 1e-4, Component(0.0, 4, 0.0))
    assert tested.p() == pytest.approx(2 * stats.norm.sf(z), rel=1e-9)


def test_a_spread_that_the_images_explain_counts_once():
    tested = difference(0.02, 1e-4, Component(3e-6, 1000, 3e-5))
    assert tested.p() == pytest.approx(2 * stats.norm.sf(2), rel=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 4, 12])
@pytest.mark.parametrize("explained", [0.1, 0.9, 2.0])  # of V: above 1, chance made V smaller than images alone would
@pytest.mark.parametrize("distance", [0.5, 2.0, 5.0])
def test_p_is_the_integral_over_the_spreads_that_are_possible(freedom, explained, distance):
    spread = 0.01
    over_images = explained * spread / 3
    shift = distance * over_images**0.5

    def given(log_chi2: float) -> float:
        excess = max(0.0, spread * freedom / np.exp(log_chi2) - explained * spread) / 3
        density = np.exp(log_chi2) * stats.chi2.pdf(np.exp(log_chi2), freedom)
        return 2 * stats.norm.sf(shift / (over_images + excess) ** 0.5) * density

    ends = np.log([stats.chi2.ppf(1e-12, freedom), stats.chi2.isf(1e-12, freedom)])
    kink = float(np.clip(np.log(freedom / explained), *ends))
    expected = sum(integrate.quad(given, *part, limit=200)[0] for part in ((ends[0], kink), (kink, ends[1])))
    assert difference(shift, over_images, Component(spread, freedom, explained * spread)).p() == pytest.approx(
        expected, abs=2e-5
    )


positive = st.floats(1e-6, 1.0)


@settings(max_examples=60, deadline=None)
@given(st.floats(-5, 5), positive, positive, st.floats(1, 20), st.sampled_from([0.05, 0.01, 0.05 / 45]))
def test_an_interval_excludes_zero_exactly_where_p_is_small(shift, over_images, spread, freedom, alpha):
    tested = difference(shift, over_images, Component(spread, freedom, spread / 3))
    low, high = tested.interval(alpha)
    assert -1 <= low <= expit(2 + shift / 2) - expit(2 - shift / 2) <= high <= 1
    assert (low > 0 or high < 0) == (tested.p() < alpha) or tested.p() == pytest.approx(alpha, rel=1e-4)


def test_components_add_up_with_satterthwaite_s_degrees_of_freedom():
    total = Component.total([Component(2.0, 4, 0.1), Component(1.0, 2, 0.2)])
    assert (total.value, total.freedom, total.explained) == pytest.approx((3.0, 9 / (4 / 4 + 1 / 2), 0.3))


def test_seeds_that_contradict_each_other_are_no_evidence():
    """A clearly better in one seed, B in the other: images alone are sure in both, and the methods are equal."""
    images = 10_000
    table = {("a", 0): hits(images, 9000), ("b", 0): hits(images, 8800)}
    table |= {("a", 1): hits(images, 8790), ("b", 1): hits(images, 9000)}
    assert all(Paired.of_hits(table["a", s], table["b", s]).p() < 1e-6 for s in (0, 1))
    assert variances.pair(moments.of_hits(table), "a", "b", [0, 1], ["a", "b"]).p() > 0.5


def test_equal_methods_are_rarely_called_different():
    """2 seeds and 3, a spread of half a point: at most 5 of 100 (of 300 simulated, at most 24: 0.1 % by chance)."""
    rng = np.random.default_rng(12)
    for seeds in (2, 3):
        claimed = 0
        for _ in range(300):
            own = {(m, s): rng.random(2000) < 0.9 + rng.normal(0, 0.005) for m in "ab" for s in range(seeds)}
            claimed += variances.pair(moments.of_hits(own), "a", "b", list(range(seeds)), ["a", "b"]).p() < 0.05
        assert claimed <= 24


def test_a_real_difference_is_found():
    rng = np.random.default_rng(13)
    easy = rng.random(10_000)
    table = {
        (m, s): easy + 0.02 * rng.random(10_000) < 0.9 + gap + rng.normal(0, 0.001)
        for m, gap in (("a", 0.01), ("b", 0.0), ("c", 0.0))
        for s in SEEDS
    }
    assert variances.pair(moments.of_hits(table), "a", "b", SEEDS, METHODS).p() < 0.005


# Two models -----------------------------------------------------------------------------------------------------------


def direct_mcnemar(only_a: int, only_b: int) -> float:
    n = only_a + only_b
    tail = sum(Fraction(comb(n, k), 2**n) for k in range(min(only_a, only_b) + 1))
    return float(min(Fraction(1), 2 * tail))


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (5, 5), (3, 12), (40, 25), (120, 60)])
def test_mcnemar_equals_the_direct_binomial_sum(only_a, only_b):
    a = np.r_[np.ones(only_a, bool), np.zeros(only_b, bool), np.ones(30, bool)]
    b = np.r_[np.zeros(only_a, bool), np.ones(only_b, bool), np.ones(30, bool)]
    assert Paired.of_hits(a, b).p() == pytest.approx(direct_mcnemar(only_a, only_b), rel=1e-9)
    assert Paired.of_hits(b, a).p() == Paired.of_hits(a, b).p()
    assert Paired.of_hits(a, b).mean == pytest.approx(a.mean() - b.mean())


@pytest.mark.parametrize("only_b", range(0, 21))
def test_the_interval_of_two_models_excludes_zero_where_mcnemar_does(only_b):
    tested = Paired(20, only_b, 1000)
    low, high = tested.interval(0.05)
    assert low <= tested.mean <= high
    assert (low > 0) == (tested.p() < 0.05)


def test_models_that_agree_on_every_image_are_not_certainly_equal():
    low, high = Paired(0, 0, 300).interval(0.05)
    assert (low, high) == (pytest.approx(-0.01, abs=1e-4), pytest.approx(0.01, abs=1e-4))


def test_two_proportions_match_the_formula():
    n, right = 49_997, (37_773, 37_248)
    pooled = sum(right) / (2 * n)
    z = (right[0] - right[1]) / n / (pooled * (1 - pooled) * 2 / n) ** 0.5
    tested = Proportions(*right, n)
    assert tested.p() == pytest.approx(2 * stats.norm.sf(z), rel=1e-6)
    assert tested.interval(tested.p())[0] == pytest.approx(0, abs=1e-9)
    assert Proportions(50, 50, 50).p() == 1.0


def test_holm_matches_the_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_variants_of_one_scenario_pool_what_seeds_vary_by():
    """With so many images that they give nothing, it is Student's t test in logits with the pooled variance."""
    runs = [[97.9, 97.2, 98.4], [91.0, 90.1, 92.2], [95.8, 94.6, 96.9], [93.4, 92.0, 94.9]]
    shares = np.array(runs) / 100
    means = shares.mean(1)
    pooled = (shares.var(axis=1, ddof=1) / (means * (1 - means)) ** 2).mean()
    t = (logit(means[0]) - logit(means[1])) / np.sqrt(pooled * 2 / 3)
    p = p_apart(runs[0], runs[1], 10**12, runs[2:])
    assert p == pytest.approx(2 * stats.t.sf(t, 8), rel=1e-3)
    assert p < p_apart(runs[0], runs[1], 10**12)
