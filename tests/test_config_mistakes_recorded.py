# ruff: noqa: E501
"""The one line that tells each mistake in recorded results."""

import json
from pathlib import Path

import pytest
import yaml
from configurations import SCENARIO, edited, told

from budama.methods import METHODS
from budama.settings import stages

RECORDED = {
    "scenario": "first",
    "model": "ResNet50",
    "dataset": "ImageNet",
    "source": "a table",
    "baseline": {"accuracy_percent": 78.59},
    "methods": {"wanda": {"accuracy_percent": 74.5}},
}

BAD_RECORDINGS = [
    ({"baseline": ...}, "baseline is missing; it must be a section with accuracy_percent"),
    ({"baseline.accuracy_percent": 101}, "baseline.accuracy_percent is 101; it must be between 0 and 100"),
    ({"methods": {}}, "methods is empty; it must be a section of keys and values"),
    (
        {"methods.wandaa": {"accuracy_percent": 1}},
        f"methods has wandaa; names there must be one of {', '.join(METHODS)} (did you mean wanda?)",
    ),
    (
        {"methods.wanda.accuracy": 1},
        "methods.wanda.accuracy is not a known key; did you mean methods.wanda.accuracy_percent?",
    ),
    (
        {"methods.wanda.latency_ms": 0},
        "methods.wanda.latency_ms is 0; it must be between 0 and 1000000000 (not 0), or null",
    ),
    ({"pruning.ratio": 10}, "pruning.ratio is 10; it must be between 0 and 1, or null"),
    ({"source": "two\nlines"}, 'source is "two\\nlines"; it must be one line of text'),
]


@pytest.mark.parametrize(("changes", "line"), BAD_RECORDINGS, ids=lambda value: str(value)[:60])
def test_mistake_in_recorded_results_is_told_in_one_line(folder, changes, line):
    Path("config/scenarios/r.json").write_text(json.dumps(yaml.safe_load(edited(json.dumps(RECORDED), changes))))
    Path("config/scenarios/r.yaml").write_text("scenario: r\nrecorded: r.json\n")
    assert told(stages.load_scenario, "config/scenarios/r.yaml") == [f"config/scenarios/r.json: {line}"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, "config/scenarios/r.yaml: recorded is r.json; config/scenarios/r.json: no such file"),
        (
            '{"scenario": ',
            "config/scenarios/r.yaml: recorded is r.json; config/scenarios/r.json: is not JSON (Expecting value, line 1, column 14)",
        ),
        (
            '{"a": 1, "a": 2}',
            "config/scenarios/r.yaml: recorded is r.json; config/scenarios/r.json: is not JSON of ours (the key a stands there twice)",
        ),
        (
            '{"a": NaN}',
            "config/scenarios/r.yaml: recorded is r.json; config/scenarios/r.json: is not JSON of ours (NaN is not a number)",
        ),
        ("[" * 100_000, None),
        ("[" * 900 + "]" * 900, None),
        ("[1]", None),
    ],
    ids=["missing", "truncated", "twice", "nan", "bomb", "deep", "list"],
)
def test_recorded_file_that_cannot_be_read_is_told_in_one_line(folder, text, line):
    if text is not None:
        Path("config/scenarios/r.json").write_text(text)
    Path("config/scenarios/r.yaml").write_text("scenario: r\nrecorded: r.json\n")
    lines = told(stages.load_scenario, "config/scenarios/r.yaml")
    assert len(lines) == 1
    assert line is None or lines == [line]


def test_nothing_runs_beside_recorded_results(folder):
    Path("config/scenarios/r.json").write_text(json.dumps(RECORDED))
    Path("config/scenarios/s.yaml").write_text(SCENARIO + "recorded: r.json\n")
    assert told(stages.load_scenario, "config/scenarios/s.yaml") == [
        f"config/scenarios/s.yaml: {key} stands beside recorded, which runs nothing; leave one of them out"
        for key in ("baseline", "pruning", "finetune")
    ]
