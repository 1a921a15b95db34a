"""Fine-tuning that was thrown away: equal models count once, and reports do not praise what was not kept."""

import json
from dataclasses import replace

import numpy as np
import pytest
from invented_run import SEEDS, SELECTION, SHARE, TEST, drawn, measured
from reports import said, sample

from budama.results import aggregation, distinct
from budama.significance.hits import packed


def run(equal: dict[str, list[int]], epochs: int = 2):
    """The invented run, in which seeds of some methods kept epoch 0: their models are that of the first of them."""
    whole = measured()
    rows, metrics = dict(whole.benchmark["rows"]), dict(whole.metrics)
    for method, seeds in equal.items():
        before = whole.pruning[f"{method}/seed-0"]["selection_accuracy_percent"]["reestimated"]
        for seed in seeds:
            rows[f"{method}/seed-{seed}"] = rows[f"{method}/seed-{seeds[0]}"]
            metrics[f"{method}/seed-{seed}"] = {"status": "ok", "best_epoch": 0, "selection_accuracy_percent": before}
    finetune = sample()["finetune"] | {"epochs": epochs, "learning_rate": 0.3}
    pruning = sample()["pruning"] | whole.settings["pruning"]
    settings = whole.settings | {"pruning": pruning, "finetune": finetune}
    return replace(whole, settings=settings, benchmark={**whole.benchmark, "rows": rows}, metrics=metrics, exports={})


def aggregated(equal, **more) -> dict:
    return json.loads(json.dumps(aggregation.aggregate(run(equal, **more))))


def row(results: dict, variant: str) -> dict:
    return next(one for one in results["variants"] if one["variant"] == variant)


def warning(results: dict, code: str) -> dict | None:
    return next((one for one in results["warnings"] if one["code"] == code), None)


def accuracy(method: str, seed: int) -> float:
    return 100 * drawn(f"{method}/seed-{seed}", TEST, SHARE[method]).mean()


@pytest.mark.parametrize(
    ("equal", "expected"),
    [([], {0: [], 1: [], 2: []}), ([1, 2], {0: [], 1: [2]}), ([0, 2], {0: [2], 1: []}), (SEEDS, {0: [1, 2]})],
)
def test_equal_models_of_several_seeds_are_one(equal, expected):
    assert distinct.seeds(run({"wanda": equal}), "wanda") == expected


def test_results_without_digests_keep_every_seed():
    whole = run({"wanda": SEEDS})
    rows = {k: {name: v for name, v in one.items() if name != "sha256"} for k, one in whole.benchmark["rows"].items()}
    assert list(distinct.seeds(replace(whole, benchmark={**whole.benchmark, "rows": rows}), "wanda")) == SEEDS


def test_a_mean_counts_an_equal_model_once():
    wanda = row(aggregated({"wanda": [1, 2]}), "wanda")
    assert wanda["accuracy_percent"] == pytest.approx(np.mean([accuracy("wanda", seed) for seed in (0, 1)]))
    assert [(one["seed"], one["kept_epoch"], one["same_seeds"]) for one in wanda["seeds"]] == [(0, 2, []), (1, 0, [2])]


def test_three_equal_seeds_are_one_model_in_intervals_and_tests():
    results = aggregated({"wanda": SEEDS})
    wanda = row(results, "wanda")
    assert wanda["accuracy_interval_over"] == "images"
    claim = next(one for one in results["against_original"] if one["variant"] == "wanda")
    assert (claim["test"], claim["of"], claim["seeds"]) == ("mcnemar", "models", 1)
    pairs = [one for one in results["comparisons"] if "wanda" in (one["a"], one["b"])]
    assert {one["of"] for one in pairs} == {"models"}
    other = next(one for one in results["comparisons"] if {one["a"], one["b"]} == {"magnitude", "random"})
    assert (other["of"], other["seeds"]) == ("methods", 3)


def test_two_variants_that_share_one_counted_seed_are_compared_as_models():
    results = aggregated({"wanda": [0, 1], "magnitude": [1, 2]})  # wanda has 0 and 2, magnitude 0 and 1
    pair = next(one for one in results["comparisons"] if {one["a"], one["b"]} == {"wanda", "magnitude"})
    assert pair["of"] == "models"


def test_warnings_name_what_was_equal_and_how_many_runs_kept_nothing():
    results = aggregated({"wanda": [1, 2], "random": [0]})
    assert warning(results, "equal_seeds") == {"code": "equal_seeds", "variants": ["wanda"]}
    assert warning(results, "nothing_kept") == {
        "code": "nothing_kept", "kept": 3, "runs": 9, "learning_rates": [0.3],
    }  # fmt: skip
    clean = aggregated({})
    assert warning(clean, "equal_seeds") is None
    assert warning(clean, "nothing_kept") is None


def test_without_fine_tuning_equal_seeds_are_told_but_not_that_it_failed():
    results = aggregated({"wanda": SEEDS}, epochs=0)
    assert warning(results, "equal_seeds")
    assert warning(results, "nothing_kept") is None


TOLD = {
    "tr": (
        "Wanda: kimi tohumlar (seed) bayt bayt aynı modeli verdi.",
        "Fine-tuning 9 eğitimin 2 tanesinde doğruluğu artırmadı",
        "Fine-tuning 9 eğitimin yalnızca 7 tanesinde doğruluğu artırdı",
        "Öğrenme oranı (0.3) bu model için uygun olmayabilir.",
    ),
    "en": (
        "Wanda: some seeds gave the same model, byte for byte.",
        "Fine-tuning did not improve accuracy in 2 of 9 runs, which kept epoch 0",
        "Fine-tuning improved accuracy in only 7 of 9 runs",
        "The learning rate (0.3) may not suit this model.",
    ),
}
NONE_KEPT = {
    "tr": ("Fine-tuning hiçbir eğitimde doğruluğu artırmadı", "Ne kadar eminiz: tek tohum"),
    "en": ("Fine-tuning improved accuracy in no run", "How sure are we: one seed"),
}
PRAISE = {"tr": ("Fine-tuning bunun üstüne",), "en": ("Fine-tuning gained",)}


@pytest.mark.parametrize("code", ["tr", "en"])
def test_a_report_says_in_how_many_runs_fine_tuning_helped(code):
    text = said(aggregated({"wanda": [1, 2]}), code=code)
    assert [one for one in TOLD[code] if one not in text] == []
    assert not any(one in text for one in PRAISE[code])
    assert any(one in said(aggregated({}), code=code) for one in PRAISE[code])


@pytest.mark.parametrize("code", ["tr", "en"])
def test_a_report_of_fine_tuning_that_never_helped_claims_neither_gain_nor_seeds(code):
    everything = dict.fromkeys(("wanda", "magnitude", "random"), SEEDS)
    text = said(aggregated(everything), code=code)
    assert [one for one in NONE_KEPT[code] if one not in text] == []
    assert not any(one in text for one in PRAISE[code])


def test_what_runs_that_kept_an_epoch_gained_is_their_own_mean():
    whole = run({"wanda": SEEDS, "magnitude": SEEDS, "random": [1, 2]})
    mended = drawn("random0 selection", SELECTION, SHARE["random"] - 0.1)
    gain = 94.0 - 100 * mended.mean()
    assert packed(mended) == whole.pruning["random/seed-0"]["selection_hits"]["reestimated"]
    text = said(json.loads(json.dumps(aggregation.aggregate(whole))), code="en")
    assert f"Fine-tuning improved accuracy in only 1 of 9 runs (by {gain:.1f} points)" in text
