"""What may be said of variants: pairs, ranks, the original, the random control, other scenarios, intervals."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit

from budama.significance import intervals
from budama.significance.differences import (
    Candidate,
    against_random,
    between_runs,
    between_scenarios,
    compare,
    rank,
    to_original,
)
from budama.significance.models import Paired

TS3 = {"coverage": 72.13, "wanda": 74.50, "magnitude": 75.55, "taylor": 75.54}


def hits(images: int, correct: int) -> np.ndarray:
    return np.arange(images) < correct


def recorded(accuracies: dict[str, float], images: int = 49_997) -> list[Candidate]:
    return [Candidate(name, 0.1, accuracy, images) for name, accuracy in accuracies.items()]


def trained(name: str, *models: np.ndarray) -> Candidate:
    mean = 100 * float(np.mean([one.mean() for one in models]))
    return Candidate(name, 0.3, mean, len(models[0]), dict(enumerate(models)))


# Pairs and ranks ------------------------------------------------------------------------------------------------------


def test_ts3_ranks_magnitude_and_taylor_as_a_tie_and_wanda_and_coverage_apart():
    candidates = recorded(TS3)
    comparisons = compare(candidates)
    groups = rank(candidates, comparisons)
    assert [(g["rank"], g["variants"]) for g in groups] == [
        (1, ["magnitude", "taylor"]),
        (3, ["wanda"]),
        (4, ["coverage"]),
    ]
    assert groups[0]["tie_p_holm"] == pytest.approx(0.97, abs=0.01)
    assert groups[1]["tie_p_holm"] is None
    assert {(c["of"], c["test"], c["seeds"]) for c in comparisons} == {("models", "two_proportion", 1)}


def test_one_seed_speaks_of_models_and_two_of_methods():
    a, b = hits(10_000, 9000), hits(10_000, 8975)
    single = compare([trained("a", a), trained("b", b)])[0]
    assert (single["of"], single["test"], single["distinguishable"]) == ("models", "mcnemar", True)
    assert single["difference_points"] == pytest.approx(0.25)
    both = compare([trained("a", a, hits(10_000, 8960)), trained("b", b, hits(10_000, 8990))])[0]
    assert (both["of"], both["test"], both["distinguishable"]) == ("methods", "two_level", False)


def test_a_method_with_one_model_is_held_against_all_models_of_the_other():
    many, one = trained("a", hits(5000, 4500), hits(5000, 4510), hits(5000, 4490)), trained("b", hits(5000, 4000))
    pair = compare([one, many])[0]
    assert (pair["a"], pair["of"], pair["test"]) == ("a", "models", "two_level")
    assert pair["difference_points"] == pytest.approx(many.accuracy_percent - one.accuracy_percent)
    assert pair["distinguishable"]


def test_paired_hits_tell_apart_what_two_percentages_cannot():
    assert not compare(recorded({"a": 90.0, "b": 89.75}, 10_000))[0]["distinguishable"]


def test_the_p_of_a_tie_is_the_corrected_p_of_the_pair():
    rng = np.random.default_rng(1)
    easy = rng.random(2000)
    own = [
        trained(n, *(easy + 0.1 * rng.random(2000) < t for _ in range(3)))
        for n, t in (("a", 0.95), ("b", 0.948), ("c", 0.8))
    ]
    comparisons = compare(own)
    group = rank(own, comparisons)[0]
    pair = next(c for c in comparisons if {c["a"], c["b"]} == set(group["variants"]))
    assert len(group["variants"]) == 2
    assert group["tie_p_holm"] == pair["p_holm"] >= pair["p"]


def test_variants_of_different_ratios_are_not_compared_and_holm_counts_pairs_of_one_ratio():
    candidates = [Candidate(f"m{i}-{r}", r, 80 + i / 100, 1000) for r in (0.1, 0.3) for i in range(3)]
    comparisons = compare(candidates)
    assert len(comparisons) == 6
    assert all(c["a"].split("-")[1] == c["b"].split("-")[1] for c in comparisons)
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


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(700, 1000), min_size=2, max_size=6), st.integers(1, 3), st.integers(0, 2**16))
def test_an_interval_excludes_zero_exactly_where_a_difference_is_claimed(right, seeds, draw):
    rng = np.random.default_rng(draw)
    easy = rng.random(1000)
    candidates = [
        trained(f"m{i}", *(easy + 0.05 * rng.random(1000) < r / 1000 for _ in range(seeds)))
        for i, r in enumerate(right)
    ]
    for claim in compare(candidates):
        low, high = claim["interval"]
        assert (low > 0 or high < 0) == claim["distinguishable"]


# The original, the random control, another scenario -------------------------------------------------------------------


def test_variants_are_held_against_the_original_by_the_same_rule_and_correction():
    rng = np.random.default_rng(2)
    easy = rng.random(4000)
    original = Candidate("baseline", None, 90, 4000, {0: easy < 0.9})
    same, worse = (
        trained(n, *(easy + 0.02 * rng.random(4000) < t for _ in range(3)))
        for n, t in (("same", 0.91), ("worse", 0.85))
    )
    claims = {claim["variant"]: claim for claim in to_original([same, worse], original)}
    assert not claims["same"]["distinguishable"]
    assert claims["worse"]["distinguishable"]
    assert claims["worse"]["interval"][1] < 0
    before = 100 * original.hits[0].mean()
    assert claims["worse"]["difference_points"] == pytest.approx(worse.accuracy_percent - before)
    assert {claim["of"] for claim in claims.values()} == {"methods"}
    assert max(claim["p_holm"] / claim["p"] for claim in claims.values()) == pytest.approx(2)


def test_one_model_against_the_original_is_a_claim_of_models():
    claim = to_original([trained("a", hits(1000, 900))], Candidate("o", None, 95, 1000, {3: hits(1000, 950)}))[0]
    assert (claim["of"], claim["test"], claim["difference_points"]) == ("models", "mcnemar", pytest.approx(-5))


def test_a_method_like_random_does_not_beat_it_and_a_better_one_does():
    rng = np.random.default_rng(7)
    random = {seed: rng.random(2000) < 0.6 for seed in range(3)}
    own = {"wanda": rng.random(2000) < 0.8, "lucky": rng.random(2000) < 0.6, "worse": rng.random(2000) < 0.4}
    wanda, lucky, worse = against_random(own, random)
    assert wanda["distinguishable"]
    assert wanda["difference_points"] == pytest.approx(20, abs=3)
    assert wanda["random_percent"] == pytest.approx(60, abs=2)
    assert not lucky["distinguishable"]
    assert worse["distinguishable"]
    assert worse["interval"][1] < 0


def test_beating_one_lucky_draw_of_random_pruning_is_not_beating_random_pruning():
    """Random pruning that scatters widely: one of its draws is beaten beyond doubt, the control is not."""
    random = {0: hits(2000, 800), 1: hits(2000, 1500), 2: hits(2000, 1150)}
    own = hits(2000, 1200)
    assert not against_random({"a": own}, random)[0]["distinguishable"]
    single = against_random({"a": own}, {0: random[0]})[0]
    assert (single["of"], single["distinguishable"]) == ("models", True)


def test_scenarios_that_ran_apart_are_compared_as_independent_runs():
    here, there = [90.0, 90.4, 89.8], [88.0, 88.3, 87.9]
    far, near, one = between_runs([(here, there), (here, [90.1, 90.0, 90.3]), ([75.55], [74.5])], 10_000)
    assert (far["of"], far["distinguishable"]) == ("methods", True)
    assert not near["distinguishable"]
    assert (one["of"], one["test"]) == ("models", "two_proportion")


def scenario(rng, name, share, seeds, methods=4, images=4000, shift=0.0):
    """A scenario's variants on images of which the easy ones are the same in every scenario; `shift` is its own."""
    easy = np.random.default_rng(5).beta(share * 2, (1 - share) * 2, images)
    hits = [[rng.random(images) < np.clip(easy + shift, 0, 1) for _ in range(seeds)] for _ in range(methods)]
    return [replace(trained(f"{name}/{i}", *own), ratio=0.3) for i, own in enumerate(hits)]


def test_scenarios_on_the_same_images_are_compared_with_the_images_paired():
    """A fifth of the images more or less is right by their difficulty: pairs take that out, independent runs cannot."""
    rng = np.random.default_rng(3)
    here, there = scenario(rng, "here", 0.8, 3, shift=0.02), scenario(rng, "there", 0.8, 3)
    pairs = list(zip(here, there))
    paired = between_scenarios(pairs, here, there)
    accuracies = [tuple([100 * hits.mean() for hits in one.hits.values()] for one in pair) for pair in pairs]
    apart = between_runs(accuracies, 4000)
    assert all(one["distinguishable"] and one["of"] == "methods" for one in paired)
    for own, loose, (a, b) in zip(paired, apart, pairs):
        assert own["difference_points"] == pytest.approx(a.accuracy_percent - b.accuracy_percent)
        assert own["p"] < loose["p"]
        assert own["interval"][0] > 0


def test_one_training_in_either_scenario_is_compared_image_by_image():
    a, b = trained("here/a", hits(2000, 1800)), trained("there/a", hits(2000, 1780))
    claim = between_scenarios([(a, b)], [a], [b])[0]
    assert (claim["test"], claim["of"]) == ("mcnemar", "models")
    assert claim["p"] == pytest.approx(Paired(20, 0, 2000).p())
    several = trained("there/a", hits(2000, 1780), hits(2000, 1790), hits(2000, 1770))
    forth, back = between_scenarios([(a, several)], [a], [several]), between_scenarios([(several, a)], [several], [a])
    assert forth[0]["difference_points"] == pytest.approx(-back[0]["difference_points"])
    assert forth[0]["p"] == pytest.approx(back[0]["p"])


def test_what_a_seed_does_to_all_methods_of_one_scenario_is_no_difference_of_scenarios():
    """Two scenarios that differ by nothing but what their seeds did to all methods alike: at most 5 % are claimed.
    Taking the seeds for the same in both (as within a scenario) would claim a sixth."""
    rng, claimed, runs = np.random.default_rng(11), 0, 80
    for _ in range(runs):
        hard, every = rng.normal(0, 2.5, 1500), []
        for name in ("here", "there"):
            common = rng.normal(0, 0.5, 2)
            models = [[rng.random(1500) < expit(hard + 4 + common[seed]) for seed in range(2)] for _ in range(3)]
            every.append([trained(f"{name}/{i}", *own) for i, own in enumerate(models)])
        claimed += between_scenarios([(every[0][0], every[1][0])], *every)[0]["distinguishable"]
    assert stats.binomtest(claimed, runs, 0.05, alternative="greater").pvalue > 0.001


# Intervals ------------------------------------------------------------------------------------------------------------


def test_one_model_has_wilson_s_interval():
    assert intervals.single_percent(hits(10, 8)) == pytest.approx([49.02, 94.33], abs=0.01)


@pytest.mark.parametrize("models", [(100, 100, 100), (0, 0), (100, 3), (50,), (99, 100)])
def test_no_interval_leaves_0_to_100_or_is_certain(models):
    one = trained("a", *(hits(100, right) for right in models))
    low, high = intervals.accuracy_percent(one, [one])
    assert 0 <= low < high <= 100
    assert low - 1e-9 <= one.accuracy_percent <= high + 1e-9


def test_an_interval_over_seeds_is_wider_than_over_images_alone():
    one = trained("a", hits(1000, 900), hits(1000, 950), hits(1000, 860))
    low, high = intervals.accuracy_percent(one, [one])
    narrow = intervals.single_percent(one.hits[0])
    assert high - low > narrow[1] - narrow[0]


def test_other_methods_tell_how_much_seeds_vary():
    """Three seeds that happen to agree are not taken for certainty where the seeds of other methods differ."""
    agreeing = trained("a", *(hits(10_000, 9000 + i) for i in range(3)))
    others = [trained(n, *(hits(10_000, 9000 + 60 * i) for i in (-1, 0, 1))) for n in "bc"]
    alone, pooled = (intervals.accuracy_percent(agreeing, every) for every in ([agreeing], [agreeing, *others]))
    assert pooled[1] - pooled[0] > alone[1] - alone[0]


def test_intervals_cover_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        models = [rng.random(2000) < 0.8 + rng.normal(0, 0.01) for _ in range(3)]
        one = trained("a", *models)
        low, high = intervals.accuracy_percent(one, [one])
        covered += low <= 80 <= high
    assert covered >= 184


# An interval of two models --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only_a", "only_b", "images", "expected"),
    [
        (42, 0, 359, (0.0877, 0.1544)),  # the 42 are as much chance as that all of them are a's
        (0, 42, 359, (-0.1544, -0.0877)),
        (10, 0, 10, (0.4449, 1.0)),  # 2n / (n + z²) - 1, in closed form
        (0, 0, 300, (-0.00999, 0.00999)),  # -log(0.05) / n
    ],
)
def test_the_interval_of_two_models_is_that_of_the_score_test(only_a, only_b, images, expected):
    assert Paired(only_a, only_b, images).interval(0.05) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("shares", [(0.1, 0.0), (0.1, 0.02), (0.02, 0.02), (0.3, 0.2)])
def test_the_interval_of_two_models_holds_the_truth_as_often_as_it_says(shares):
    rng = np.random.default_rng(0)
    draws = rng.multinomial(200, [*shares, 1 - sum(shares)], size=1000)[:, :2]
    intervals = [Paired(int(a), int(b), 200).interval(0.05) for a, b in draws]
    truth = shares[0] - shares[1]
    assert np.mean([low <= truth <= high for low, high in intervals]) > 0.93
    for (low, high), (a, b) in zip(intervals, draws):
        assert low <= (a - b) / 200 <= high
