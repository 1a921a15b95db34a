# ruff: noqa: E501
"""The one line that tells each wrong use of `pruning.layers`, `scope`, `match: latency` and what goes with them while
planning; those that need the model's layers are in test_layers.py, those that need its times in test_time_matched.py."""

import pytest
from configurations import BASELINE, SCENARIO, edited, told

from budama.settings import stages

EACH = "it must be layers' names or patterns, each with a number between 0 and 0.95 (not 0)"
SHARE = "it must be a number between 0 and 0.95 (not 0)"
MATCHES = "it must be one of channels, macs, parameters, latency"
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
    ({"pruning.match": "time"}, f"pruning.match is time; {MATCHES}"),
    ({"pruning.match": "Latency"}, f"pruning.match is Latency; {MATCHES} (did you mean latency?)"),
    ({"pruning.match": "latncy"}, f"pruning.match is latncy; {MATCHES} (did you mean latency?)"),
    ({"pruning.match": None}, f"pruning.match is null; {MATCHES}"),
    ({"pruning.match": ["latency"]}, f'pruning.match is ["latency"]; {MATCHES}'),
    ({"pruning.match": "latency", "pruning.round_to": "auto"}, "pruning.round_to is auto, but pruning.match is latency, which looks for widths by their time; it must be null or a number"),
    ({"pruning.match": "macs", "pruning.round_to": 8}, "pruning.round_to is 8, but pruning.match macs cannot be met in multiples; it must be null, or match channels"),
    ({"pruning.match": "latency", "pruning.ratio": 0}, "pruning.ratio is 0; it must be between 0 and 0.95 (not 0)"),
    ({"pruning.match": "latency", "pruning.ratio": 1.2}, "pruning.ratio is 1.2; it must be between 0 and 0.95"),
    ({"pruning.match": "latency", "pruning.ratio": "20%"}, f'pruning.ratio is "20%"; {SHARE}, or a list of numbers'),
    ({"pruning.match": "latency", "benchmark.batch_size": 0}, "benchmark.batch_size is 0; it must be between 1 and 65536"),
    ({"pruning.match": "latency", "benchmark.precisions": []}, "benchmark.precisions is empty; it must be a list of names (any of float32, tfloat32, bfloat16, float16)"),
    ({"pruning.match": "latency", "benchmark.precisions": ["int8"]}, "benchmark.precisions[0] is int8; it must be one of float32, tfloat32, bfloat16, float16"),
    ({"report.latency_limit_ms": 0}, "report.latency_limit_ms is 0; it must be between 0 and 1000000 (not 0), or null"),
    ({"report.latency_limit_ms": "2 ms"}, 'report.latency_limit_ms is "2 ms"; it must be a number between 0 and 1000000 (not 0), or null'),
    ({"pruning.compensate": "onepass"}, "pruning.compensate is onepass; it must be one of off, one_pass, sequential (did you mean one_pass?)"),
    ({"pruning.compensate": True}, "pruning.compensate is true; it must be one of off, one_pass, sequential"),
    ({"match": "latency"}, "match is not a known key; did you mean pruning.match?"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "line"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_wrong_use_is_one_line(tmp_path, change, line):
    for folder, name, text in (("baselines", "small", BASELINE), ("scenarios", "first", edited(SCENARIO, change))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.yaml").write_text(text)
    path = tmp_path / "scenarios" / "first.yaml"
    (found,) = told(stages.load_scenario, path)
    assert found.endswith(f": {line}")
