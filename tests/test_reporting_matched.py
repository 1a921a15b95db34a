"""What reports say of time that was asked for, predicted and reached; nothing where time was not matched."""

import copy

import invented_run
import pytest
from reports import said, single

from budama.reporting.contract import complete, missing
from budama.results import aggregation

TIME = {
    "asked_percent": 20.0, "predicted_percent": 21.5, "achieved_percent": 19.64, "achieved_interval": [19.1, 20.2],
    "noise_points": 0.55, "met": True, "aa": {"ratio": 1.004, "interval": [0.999, 1.009]}, "timed": 3, "threads": 2,
    "batch_size": 1, "precision": "float32", "channels_last": True,
}  # fmt: skip
CELLS = {
    "tr": "| %20.0 | %21.5 | %19.6 [19.1 … 20.2] | ±0.6 | 1.004 | 3 |",
    "en": "| 20.0% | 21.5% | 19.6% [19.1 … 20.2] | ±0.6 | 1.004 | 3 |",
}
TITLES = {"tr": "Katman sürelerinden öngörülen", "en": "Predicted from layers' times"}
MISSED = {"tr": "tutturulamadı", "en": "was not met"}
WHAT = {"tr": "oran, ölçülen süreden eksilenin payıdır", "en": "the share of measured time that goes"}


def matched() -> dict:
    content = single()
    content["pruning"]["match"] = "latency"
    for row in content["variants"]:
        if row["status"] == "ok":
            row["time"] = copy.deepcopy(TIME)
    return content


@pytest.mark.parametrize("code", ["tr", "en"])
def test_the_table_has_what_was_asked_for_predicted_and_reached(code):
    content = matched()
    text = said(content, code=code).replace("\\", "")
    assert TITLES[code] in text
    assert WHAT[code] in text
    assert text.count(CELLS[code]) == sum(row["status"] == "ok" for row in content["variants"])
    assert MISSED[code] not in text
    content["variants"][0]["time"]["met"] = False
    assert MISSED[code] in said(content, code=code)


@pytest.mark.parametrize("code", ["tr", "en"])
def test_results_without_it_say_nothing_of_it(code):
    content = single()
    assert TITLES[code] not in said(content, code=code)
    complete(content)
    assert not list(missing(content))
    assert {row["time"] for row in content["variants"]} == {None}


def test_a_row_has_what_pruning_said_but_for_its_trials():
    pruning = {label: invented_run.pruning_of(label) for label in invented_run.measured().pruning}
    for one in pruning.values():
        if one["status"] == "ok" and one["method"] == "wanda":
            one["time"] = {**TIME, "trials": [{"gone": 0.2}]}
    rows = aggregation.aggregate(invented_run.measured(pruning=pruning))["variants"]
    assert {row["variant"]: row["time"] for row in rows} == {
        "magnitude": None, "wanda": TIME, "random": None, "bn_scale": None
    }  # fmt: skip
