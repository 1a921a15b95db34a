# ruff: noqa: E501
"""The one line that tells each mistake in a scenario's file."""

from pathlib import Path

import pytest
from configurations import NAME, SCENARIO, edited, told

from budama.methods import METHODS
from budama.settings import schema, stages

# One change to a valid scenario file, and the line that tells it (without the file's name).
BAD_SCENARIOS = [
    ({"pruning.ratio": 1.4}, "pruning.ratio is 1.4; it must be between 0 and 0.95"),
    (
        {"pruning.ratio": "0,2"},
        'pruning.ratio is "0,2"; it must be a number between 0 and 0.95 (not 0), or a list of numbers; decimals take a '
        "point: 0.2",
    ),
    (
        {"finetune.distill": "0,5"},
        'finetune.distill is "0,5"; it must be a number between 0 and 1; decimals take a point: 0.5',
    ),
    ({"pruning.ratio": 0}, "pruning.ratio is 0; it must be between 0 and 0.95 (not 0)"),
    ({"pruning.ratio": -0.1}, "pruning.ratio is -0.1; it must be between 0 and 0.95"),
    ({"pruning.ratio": [0.1, 2]}, "pruning.ratio[1] is 2; it must be between 0 and 0.95"),
    ({"pruning.ratio": [0.1, 0.1]}, "pruning.ratio has 0.1 twice; each may stand there once"),
    (
        {"pruning.ratio": "much"},
        "pruning.ratio is much; it must be a number between 0 and 0.95 (not 0), or a list of numbers",
    ),
    (
        {"pruning.ratio": "0.3"},
        'pruning.ratio is "0.3"; it must be a number between 0 and 0.95 (not 0), or a list of numbers',
    ),
    (
        {"pruning.ratio": ...},
        "pruning.ratio is missing; it must be a number between 0 and 0.95 (not 0), or a list of numbers",
    ),
    ({"pruning.ration": 0.1}, "pruning.ration is not a known key; did you mean pruning.ratio?"),
    ({"ratio": 0.1}, "ratio is not a known key; did you mean pruning.ratio?"),
    ({"Seeds": [1]}, "Seeds is not a known key; did you mean seeds?"),
    ({"report.xyz": 1}, "report.xyz is not a known key; known are language, decimal, latency_limit_ms, compare_with"),
    (
        {"pruning.methods": ["wandaa"]},
        f"pruning.methods[0] is wandaa; it must be one of {', '.join(METHODS)} (did you mean wanda?)",
    ),
    (
        {"pruning.methods": ["Taylor"]},
        f"pruning.methods[0] is Taylor; it must be one of {', '.join(METHODS)} (did you mean taylor?)",
    ),
    ({"pruning.methods": [3]}, f"pruning.methods[0] is 3; it must be one of {', '.join(METHODS)}"),
    ({"pruning.methods": []}, f"pruning.methods is empty; it must be a list of names (any of {', '.join(METHODS)})"),
    (
        {"pruning.methods": "wanda"},
        f"pruning.methods is wanda; it must be a list of names (any of {', '.join(METHODS)})",
    ),
    ({"pruning.methods": ["wanda", "wanda"]}, "pruning.methods has wanda twice; each may stand there once"),
    (
        {"pruning.scope": "globl"},
        "pruning.scope is globl; it must be one of layerwise, global, isomorphic, sensitivity (did you mean global?)",
    ),
    ({"pruning.steps": 0}, "pruning.steps is 0; it must be between 1 and 1000"),
    ({"pruning.steps": 2.5}, "pruning.steps is 2.5; it must be a whole number between 1 and 1000"),
    ({"pruning.steps": True}, "pruning.steps is true; it must be a whole number between 1 and 1000"),
    ({"pruning.match": "flops"}, "pruning.match is flops; it must be one of channels, macs, parameters, latency"),
    (
        {"pruning.round_to": "odd"},
        "pruning.round_to is odd; it must be a whole number between 1 and 512, auto, or null",
    ),
    ({"pruning.round_to": 0}, "pruning.round_to is 0; it must be a whole number between 1 and 512, auto, or null"),
    ({"pruning.ignore": "fc"}, "pruning.ignore is fc; it must be a list of layers' names or patterns"),
    ({"pruning.ignore": [""]}, 'pruning.ignore[0] is ""; it must be between 1 and 200 letters'),
    ({"pruning.max_ratio": 1}, "pruning.max_ratio is 1; it must be between 0 and 0.99"),
    (
        {"pruning.reestimate_batchnorm": "yes"},
        "pruning.reestimate_batchnorm is yes; it must be true or false",
    ),
    (
        {"pruning.round_to": 8, "pruning.match": "macs"},
        "pruning.round_to is 8, but pruning.match macs cannot be met in multiples; it must be null, or match channels",
    ),
    (
        {"pruning.round_to": "auto", "pruning.match": "parameters"},
        "pruning.round_to is auto, but pruning.match parameters cannot be met in multiples; it must be null, or match channels",
    ),
    (
        {"pruning.max_ratio": 0.2},
        "pruning.ratio is 0.3, but pruning.max_ratio is 0.2; it must be at most that",
    ),
    (
        {"pruning.methods": ["scratch"], "finetune.epochs": 0},
        "finetune.epochs is 0, but scratch in pruning.methods trains new weights; it must be 1 or more",
    ),
    ({"pruning": 3}, "pruning is 3; it must be a section with methods, ratio"),
    ({"pruning": ...}, "pruning is missing; it must be a section with methods, ratio"),
    ({"finetune": ...}, "finetune is missing; it must be a section with epochs"),
    ({"finetune.epochs": -1}, "finetune.epochs is -1; it must be between 0 and 10000"),
    ({"finetune.epochs": ...}, "finetune.epochs is missing; it must be a whole number between 0 and 10000"),
    ({"finetune.batch_size": 0}, "finetune.batch_size is 0; it must be between 1 and 65536"),
    ({"finetune.optimizer": "adam"}, "finetune.optimizer is adam; it must be one of sgd, adamw (did you mean adamw?)"),
    ({"finetune.learning_rate": 0}, "finetune.learning_rate is 0; it must be between 0 and 100 (not 0)"),
    ({"finetune.learning_rate": []}, "finetune.learning_rate is empty; it must be a list of numbers"),
    ({"finetune.learning_rate": [0.1, 0.10]}, "finetune.learning_rate has 0.1 twice; each may stand there once"),
    ({"finetune.learning_rate": [0.1, -1]}, "finetune.learning_rate[1] is -1; it must be between 0 and 100"),
    (
        {"finetune.learning_rate": ["high"]},
        "finetune.learning_rate[0] is high; it must be a number between 0 and 100 (not 0)",
    ),
    (
        {"finetune.learning_rate": "high"},
        "finetune.learning_rate is high; it must be a number between 0 and 100 (not 0), or a list of numbers",
    ),
    (
        {"finetune.lr": 0.1},
        "finetune.lr is not a known key; known are " + ", ".join(schema.load("training")["properties"]),
    ),
    ({"finetune.momentum": 1}, "finetune.momentum is 1; it must be between 0 and 0.999"),
    ({"finetune.weight_decay": -1}, "finetune.weight_decay is -1; it must be between 0 and 1"),
    (
        {"finetune.schedule": "cosin"},
        "finetune.schedule is cosin; it must be one of cosine, constant, step (did you mean cosine?)",
    ),
    ({"finetune.warmup_epochs": 3}, "finetune.warmup_epochs is 3, but finetune.epochs is 2; it must be at most that"),
    ({"finetune.label_smoothing": 1}, "finetune.label_smoothing is 1; it must be between 0 and 0.9"),
    ({"finetune.distill": 1.5}, "finetune.distill is 1.5; it must be between 0 and 1"),
    ({"finetune.distill_temperature": 0}, "finetune.distill_temperature is 0; it must be between 0 and 100 (not 0)"),
    ({"finetune.weight_averaging": 1}, "finetune.weight_averaging is 1; it must be between 0 and 1 (not 1), or null"),
    (
        {"finetune.precision": "fp16"},
        "finetune.precision is fp16; it must be one of auto, float32, bfloat16",
    ),
    ({"finetune.max_batches": 0}, "finetune.max_batches is 0; it must be between 1 and 1000000, or null"),
    ({"scenario": ...}, f"scenario is missing; it must be {NAME}"),
    ({"scenario": "../up"}, f"scenario is ../up; it must be {NAME}"),
    ({"scenario": "two words"}, f'scenario is "two words"; it must be {NAME}'),
    ({"scenario": ".hidden"}, f"scenario is .hidden; it must be {NAME}"),
    ({"scenario": "-x"}, f"scenario is -x; it must be {NAME}"),
    ({"scenario": ""}, f'scenario is ""; it must be {NAME}'),
    ({"scenario": "a" * 65}, f"scenario is {'a' * 57}...; it must be {NAME}"),
    ({"scenario": 3}, f"scenario is 3; it must be {NAME}"),
    ({"title": ""}, 'title is ""; it must be between 1 and 200 letters'),
    ({"title": 3}, "title is 3; it must be text, or null"),
    ({"baseline": "smal"}, "baseline is smal, which no file has; did you mean small?"),
    ({"baseline": "vgg"}, "baseline is vgg, which no file has; known are small"),
    ({"baseline": ...}, f"baseline is missing; it must be {NAME}"),
    ({"seeds": []}, "seeds is empty; it must be a list of whole numbers"),
    ({"seeds": [1, 1]}, "seeds has 1 twice; each may stand there once"),
    ({"seeds": [-1]}, "seeds[0] is -1; it must be between 0 and 4294967295"),
    ({"seeds": 3}, "seeds is 3; it must be a list of whole numbers"),
    ({"benchmark.rounds": 1}, "benchmark.rounds is 1; it must be between 3 and 100000"),
    ({"benchmark.warmup_rounds": 0}, "benchmark.warmup_rounds is 0; it must be between 1 and 100000"),
    ({"benchmark.batch_size": "1"}, 'benchmark.batch_size is "1"; it must be a whole number between 1 and 65536'),
    ({"benchmark.throughput_batch_size": 0}, "benchmark.throughput_batch_size is 0; it must be between 1 and 65536"),
    (
        {"benchmark.precisions": ["float8"]},
        "benchmark.precisions[0] is float8; it must be one of float32, tfloat32, bfloat16, float16 (did you mean float32?)",
    ),
    ({"benchmark.compile": 1}, "benchmark.compile is 1; it must be true or false"),
    ({"benchmark.channels_last": "no"}, "benchmark.channels_last is no; it must be true or false"),
    (
        {"export.precisions": ["float32", "int8"]},
        "export.precisions has int8, which ONNX files alone have; export.formats must have onnx",
    ),
    (
        {"export.formats": ["onnx"], "export.precisions": ["int4"]},
        "export.precisions[0] is int4; it must be one of float32, float16, int8 (did you mean int8?)",
    ),
    (
        {"export.formats": ["onx"]},
        "export.formats[0] is onx; it must be one of onnx, torch_export (did you mean onnx?)",
    ),
    ({"report.language": "de"}, "report.language is de; it must be one of tr, en"),
    ({"report.decimal": "·"}, 'report.decimal is "·"; it must be one of ".", ",", null'),
    ({"report.compare_with": ["secnd"]}, "report.compare_with has secnd, which no file has; did you mean second?"),
    (
        {"report.compare_with": ["first"]},
        "report.compare_with has first, the scenario itself; it must name other scenarios",
    ),
    ({"report.compare_with": "second"}, "report.compare_with is second; it must be a list of scenarios' names"),
    ({"recorded": 3}, "recorded is 3; it must be text, or null"),
]


@pytest.mark.parametrize(("changes", "line"), BAD_SCENARIOS, ids=lambda value: str(value)[:60])
def test_mistake_in_a_scenario_is_told_in_one_line(folder, changes, line):
    path = Path("config/scenarios/s.yaml")
    path.write_text(edited(SCENARIO, changes))
    assert told(stages.load_scenario, path) == [f"config/scenarios/s.yaml: {line}"]
