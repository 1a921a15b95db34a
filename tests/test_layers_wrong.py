# ruff: noqa: E501
"""The one line that tells each wrong use of `pruning.layers` and `pruning.scope` while planning; those that need the
model's layers are in test_layers.py."""

import pytest
from configurations import BASELINE, SCENARIO, edited, told

from budama.settings import stages

EACH = "it must be layers' names or patterns, each with a number between 0 and 0.95 (not 0)"
SHARE = "it must be a number between 0 and 0.95 (not 0)"
SCOPES = "it must be one of layerwise, global, isomorphic, sensitivity"
WRONG = [
    ({"pruning.layers": ["conv1"]}, f'pruning.layers is ["conv1"]; {EACH}'),
    ({"pruning.layers": "conv1"}, f"pruning.layers is conv1; {EACH}"),
    ({"pruning.layers": 0.3}, f"pruning.layers is 0.3; {EACH}"),
    ({"pruning.layers": True}, f"pruning.layers is true; {EACH}"),
    ({"pruning.layers": {"conv1": 0}}, "pruning.layers.conv1 is 0; it must be between 0 and 0.95 (not 0)"),
    ({"pruning.layers": {"conv1": 1}}, "pruning.layers.conv1 is 1; it must be between 0 and 0.95"),
    ({"pruning.layers": {"conv1": -0.1}}, "pruning.layers.conv1 is -0.1; it must be between 0 and 0.95"),
    ({"pruning.layers": {"conv1": "0,3"}}, f'pruning.layers.conv1 is "0,3"; {SHARE}; decimals take a point: 0.3'),
    ({"pruning.layers": {"conv1": "much"}}, f"pruning.layers.conv1 is much; {SHARE}"),
    ({"pruning.layers": {"conv1": None}}, f"pruning.layers.conv1 is null; {SHARE}"),
    ({"pruning.layers": {"conv1": [0.1, 0.2]}}, f"pruning.layers.conv1 is [0.1, 0.2]; {SHARE}"),
    ({"pruning.layers": {"conv1": {"ratio": 0.1}}}, f'pruning.layers.conv1 is {{"ratio": 0.1}}; {SHARE}'),
    ({"pruning.layers": {"conv1": True}}, f"pruning.layers.conv1 is true; {SHARE}"),
    ({"pruning.layers": {"conv1": float("nan")}}, f"pruning.layers.conv1 is .nan; {SHARE}"),
    ({"pruning.layers": {"conv1": float("inf")}}, f"pruning.layers.conv1 is .inf; {SHARE}"),
    ({"pruning.layers": {"": 0.1}}, 'pruning.layers has ""; names there must be between 1 and 200 letters'),
    ({"pruning.layers": {"x" * 201: 0.1}}, f"pruning.layers has {'x' * 57}...; names there must be between 1 and 200 letters"),
    ({"pruning.layers": {"conv1": 0.9}, "pruning.max_ratio": 0.5}, "pruning.layers has 0.9 for conv1, but pruning.max_ratio is 0.5; it must be at most that"),
    ({"pruning.layers": {"conv1": 0.3}, "pruning.ignore": ["conv1"]}, "pruning.layers has conv1, which pruning.ignore leaves whole; it must be in one of them"),
    ({"pruning.layer": {"conv1": 0.3}}, "pruning.layer is not a known key; did you mean pruning.layers?"),
    ({"layers": {"conv1": 0.3}}, "layers is not a known key; did you mean pruning.layers?"),
    ({"pruning.scope": "isomorph"}, f"pruning.scope is isomorph; {SCOPES} (did you mean isomorphic?)"),
    ({"pruning.scope": "sensitive"}, f"pruning.scope is sensitive; {SCOPES} (did you mean sensitivity?)"),
    ({"pruning.scope": "Sensitivity"}, f"pruning.scope is Sensitivity; {SCOPES} (did you mean sensitivity?)"),
    ({"pruning.scope": None}, f"pruning.scope is null; {SCOPES}"),
    ({"pruning.scope": ["global"]}, f'pruning.scope is ["global"]; {SCOPES}'),
    ({"pruning.scope": True}, f"pruning.scope is true; {SCOPES}"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "line"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_wrong_use_is_one_line(tmp_path, change, line):
    for folder, name, text in (("baselines", "small", BASELINE), ("scenarios", "first", edited(SCENARIO, change))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.yaml").write_text(text)
    path = tmp_path / "scenarios" / "first.yaml"
    (found,) = told(stages.load_scenario, path)
    assert found.endswith(f": {line}")
