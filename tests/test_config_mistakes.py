# ruff: noqa: E501
"""The one line that tells each mistake: a file that is no configuration, the choice of scenarios, and all of them at once."""

import os
from pathlib import Path

import pytest
from configurations import BASELINE, SCENARIO, edited, told

from budama.errors import BudamaError
from budama.settings import stages

# The whole text of a scenario file.
BAD_TEXTS = [
    (b"", "is empty"),
    (b"# nothing but a comment\n", "is empty"),
    (b"- a\n- b\n", "holds a list, not `key: value`"),
    (b"scenario\n", "holds a single value, not `key: value`"),
    (b"scenario: a\nscenario: b\n", "line 2, column 1: the key scenario stands there twice"),
    (b"pruning:\n  ratio: 0.1\n  ratio: 0.2\n", "line 3, column 3: the key ratio stands there twice"),
    (
        b"pruning:\n\tratio: 0.1\n",
        "line 2, column 1: is not YAML (found character that cannot start any token); indent with spaces, not tabs",
    ),
    (b"scenario: [a\n", "line 2, column 1: is not YAML (did not find expected ',' or ']')"),
    (b"scenario: a: b\n", "line 1, column 12: is not YAML (mapping values are not allowed in this context)"),
    (
        "scenario: \N{LATIN SMALL LETTER DOTLESS I}\n".encode("iso8859-9"),
        "is not UTF-8 text (byte 11); save it as UTF-8",
    ),
    (b"scenario: a\x00b\n", "is not YAML (it holds a control character)"),
    (
        b'scenario: "a\\nb"\n',
        "line 1, column 11: the text holds a line break or a control character; write it on one line",
    ),
    (b"a: &x 1\nb: *x\n", "line 1, column 4: anchors and aliases (& and *) are not read here; write the value out"),
    (
        b"a: !!python/object/apply:os.system [ls]\n",
        "line 1, column 4: tags (tag:yaml.org,2002:python/object/apply:os.system) are not read here; write a plain value",
    ),
    (b"scenario: a\n---\nscenario: b\n", "line 2, column 1: a second document begins here; the file may hold one"),
    (b"a: " + b"[" * 40 + b"]" * 40, "line 1, column 23: nested deeper than 20 levels"),
    (b"[a, b]: 1\n", "line 1, column 1: a key must be a word, not a list or a mapping"),
    (b"a: " + b"x" * 1_000_001, "holds 1000004 characters; it may hold 1000000"),
]


@pytest.mark.parametrize(("text", "line"), BAD_TEXTS, ids=lambda value: repr(value)[:40])
def test_file_that_is_no_configuration_is_told_in_one_line(folder, text, line):
    path = Path("config/scenarios/s.yaml")
    path.write_bytes(text)
    assert told(stages.load_scenario, path) == [f"config/scenarios/s.yaml: {line}"]


def test_all_mistakes_of_all_files_are_told_at_once(folder):
    Path("config/scenarios/s.yaml").write_text(edited(SCENARIO, {"pruning.ratio": 2, "seeds": [-1], "titel": "x"}))
    Path("config/baselines/small.yaml").write_text(edited(BASELINE, {"seed": -1, "data.channels": 2}))
    with pytest.raises(BudamaError) as caught:
        stages.chosen_scenarios({"scenarios": ["first", "second", "third"]})
    assert caught.value.lines == [
        "config/scenarios/s.yaml: titel is not a known key; did you mean title?",
        "config/scenarios/s.yaml: pruning.ratio is 2; it must be between 0 and 0.95",
        "config/scenarios/s.yaml: seeds[0] is -1; it must be between 0 and 4294967295",
        "config/baselines/small.yaml: data.channels is 2; it must be one of 1, 3, null",
        "config/baselines/small.yaml: seed is -1; it must be between 0 and 4294967295",
        "config/config.yaml: scenarios has third, which no file has; known are first, second",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"scenarios": []}, "scenarios is empty; it must be a list of texts"),
        ({"scenarios": ["first", "first"]}, "scenarios has first twice; each may stand there once"),
        ({"scenarios": 3}, "scenarios is 3; it must be a scenario's name, or a list of such names"),
        ({"scenario": "first"}, "scenario is not a known key; did you mean scenarios?"),
        ({"scenarios": "firs"}, "scenarios has firs, which no file has; did you mean first?"),
    ],
)
def test_mistake_in_the_choice_of_scenarios_is_told_in_one_line(folder, content, line):
    with pytest.raises(BudamaError) as caught:
        stages.chosen_scenarios(content)
    assert caught.value.lines == [f"config/config.yaml: {line}"]


def test_missing_file_folder_and_unreadable_file_are_told_in_one_line(folder):
    assert told(stages.load_scenario, "config/none.yaml") == ["config/none.yaml: no such file"]
    assert told(stages.load_scenario, "config/scenarios") == ["config/scenarios: is a folder; it must be a file"]
    assert told(stages.load_scenario, "a\0b") == ["'a\\x00b' is not a file name"]
    path = Path("config/scenarios/s.yaml")
    path.chmod(0)
    if os.geteuid() != 0:  # root reads everything
        assert told(stages.load_scenario, path) == ["config/scenarios/s.yaml: cannot be read (Permission denied)"]
