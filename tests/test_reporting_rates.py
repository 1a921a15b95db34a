"""What reports say of several learning rates."""

import re

import invented_run
import pytest
from reports import said, sample, section, single

from budama.results import aggregation

RATES = (0.01, 0.1)


def tried(seeds, accuracies, chosen):
    """Of one row: mean selection accuracy by rate, and which of `seeds` chose it."""
    return [
        {
            "learning_rate": rate,
            "selection_accuracy_percent": accuracy,
            "diverged_seeds": seeds if accuracy is None else [],
            "chosen_by_seeds": chosen.get(rate, []),
        }
        for rate, accuracy in zip(RATES, accuracies, strict=True)
    ]


def with_rates(content, accuracies, after):
    """`content` with the rows' accuracies by rate, the better one chosen by all seeds, and their means after it."""
    rows = [row for row in content["variants"] if row["status"] == "ok"]
    content["variants"] = rows[: len(accuracies)]
    for row, own, chosen in zip(rows, accuracies, after, strict=False):
        seeds = [seed["seed"] for seed in row["seeds"]]
        best = max(RATES, key=lambda rate, own=own: own[RATES.index(rate)] or 0)
        row["learning_rates"] = tried(seeds, own, {best: seeds})
        row["fate"]["finetuned_percent"] = chosen
    names = [row["variant"] for row in content["variants"]]
    content["ranking"] = [one | {"variants": [name for name in one["variants"] if name in names]}
                          for one in content["ranking"] if set(one["variants"]) & set(names)]  # fmt: skip
    keep = ("comparisons", "against_original")
    for key in keep:
        content[key] = [
            one for one in content[key] if all(one[side] in names for side in ("a", "b", "variant") if side in one)
        ]
    content["finetune"]["learning_rate"] = list(RATES)
    return content


def test_a_ranking_that_choosing_changed_is_told_with_both_orders():
    content = with_rates(single(), [(90.0, 94.0), (92.0, 93.0)], after=(94.0, 93.0))
    first, second = (row["method"] for row in content["variants"])
    text = section(said(content, code="en"), "Learning Rates")
    names = dict(zip((first, second), re.findall(r"^\| \*\*(.+?)\*\*", text, re.MULTILINE), strict=True))
    assert f"after choosing, by mean selection accuracy: {names[first]} > {names[second]}." in text
    assert f"Had all been trained with 0.01, it would be: {names[second]} > {names[first]}." in text
    assert "trained with 0.1," not in text
    assert "| 90.00 | **94.00**" in text


def test_a_ranking_that_choosing_did_not_change_is_told_and_one_that_diverged_is_marked():
    content = with_rates(single(), [(None, 94.0), (91.0, 93.0)], after=(94.0, 93.0))
    text = section(said(content), "Öğrenme Oranları")
    assert "sırayı değiştirmedi" in text
    assert "ıraksadı" in text
    assert "eğitilseydi" not in text


@pytest.mark.parametrize("language", ["tr", "en"])
def test_one_rate_has_no_section(language):
    text = said(sample(), code=language)
    assert "Öğrenme Oranları" not in text
    assert "Learning Rates" not in text


def test_a_row_has_the_mean_of_each_rate_over_seeds_and_who_chose_it():
    parts = invented_run.measured()
    figures = {0: (90.0, 94.0), 1: (93.0, 92.0), 2: (None, 95.0)}
    for label, metrics in parts.metrics.items():
        seed = int(label.rpartition("-")[2])
        one, other = figures[seed]
        metrics |= {
            "learning_rate": 0.01 if seed == 1 else 0.1,
            "learning_rates": [
                {"learning_rate": 0.01, "selection_accuracy_percent": one},
                {"learning_rate": 0.1, "selection_accuracy_percent": other},
            ],
        }
    row = next(row for row in aggregation.aggregate(parts)["variants"] if row["variant"] == "wanda")
    mean = pytest.approx((94.0 + 92.0 + 95.0) / 3)
    assert row["learning_rates"] == [
        {"learning_rate": 0.01, "selection_accuracy_percent": None, "diverged_seeds": [2], "chosen_by_seeds": [1]},
        {"learning_rate": 0.1, "selection_accuracy_percent": mean, "diverged_seeds": [], "chosen_by_seeds": [0, 2]},
    ]
