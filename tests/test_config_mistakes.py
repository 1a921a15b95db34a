# ruff: noqa: E501
"""The one line in which each mistake in a configuration file is told."""

import json
import os
from pathlib import Path

import pytest
import yaml
from configurations import BASELINE, SCENARIO, edited, told, write

from budama.errors import BudamaError
from budama.methods import METHODS
from budama.settings import schema, stages

NAME = "a name of letters, digits, _ - and . (at most 64, beginning with a letter, a digit or _)"
COUNT = "a share above 0 and below 1, or a count of images (a whole number, 1 or more)"
RECORDED = {
    "scenario": "first",
    "model": "ResNet50",
    "dataset": "ImageNet",
    "source": "a table",
    "baseline": {"accuracy_percent": 78.59},
    "methods": {"wanda": {"accuracy_percent": 74.5}},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a valid configuration, made the current one."""
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# One change to a valid scenario file, and the line that tells it (without the file's name).
BAD_SCENARIOS = [
    ({"pruning.ratio": 1.4}, "pruning.ratio is 1.4; it must be between 0 and 0.95"),
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
    ({"report.xyz": 1}, "report.xyz is not a known key; known are language, decimal, compare_with"),
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
    ({"pruning.scope": "globl"}, "pruning.scope is globl; it must be one of layerwise, global (did you mean global?)"),
    ({"pruning.steps": 0}, "pruning.steps is 0; it must be between 1 and 1000"),
    ({"pruning.steps": 2.5}, "pruning.steps is 2.5; it must be a whole number between 1 and 1000"),
    ({"pruning.steps": True}, "pruning.steps is true; it must be a whole number between 1 and 1000"),
    ({"pruning.match": "flops"}, "pruning.match is flops; it must be one of channels, macs, parameters"),
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
        "benchmark.precisions[0] is float8; it must be one of float32, bfloat16, float16 (did you mean float32?)",
    ),
    ({"benchmark.compile": 1}, "benchmark.compile is 1; it must be true or false"),
    ({"benchmark.channels_last": "no"}, "benchmark.channels_last is no; it must be true or false"),
    (
        {"export.formats": ["onx"]},
        "export.formats[0] is onx; it must be one of onnx, torch_export (did you mean onnx?)",
    ),
    ({"report.language": "de"}, "report.language is de; it must be one of tr, en"),
    ({"report.decimal": "·"}, 'report.decimal is "·"; it must be one of ".", ","'),
    ({"report.compare_with": ["secnd"]}, "report.compare_with has secnd, which no file has; did you mean second?"),
    (
        {"report.compare_with": ["first"]},
        "report.compare_with has first, the scenario itself; it must name other scenarios",
    ),
    ({"report.compare_with": "second"}, "report.compare_with is second; it must be a list of scenarios' names"),
    ({"recorded": 3}, "recorded is 3; it must be text, or null"),
]

BAD_BASELINES = [
    ({"baseline": "other"}, "baseline is other; it must be the file's name, small"),
    ({"baseline": "../up"}, f"baseline is ../up; it must be {NAME}"),
    ({"model": ...}, "model is missing; it must be a section with source, name"),
    (
        {"model.source": "torchvison"},
        "model.source is torchvison; it must be one of torchvision, timm, budama, python (did you mean torchvision?)",
    ),
    ({"model.name": 50}, "model.name is 50; it must be text"),
    ({"model.arguments": [14]}, "model.arguments is [14]; it must be a section of keys and values"),
    ({"model.weights": True}, "model.weights is true; it must be text, or null"),
    (
        {"model.weights": "DEFAULT"},
        "model.weights is DEFAULT; for source budama it must be a file (.safetensors or .pth), or null",
    ),
    (
        {"model.source": "python", "model.name": "package.module.function"},
        "model.name is package.module.function; for source python it must be package.module:function",
    ),
    (
        {"train.epochs": 0},
        "train.epochs is 0, but model.weights is null, so nothing would be trained; it must be 1 or more",
    ),
    ({"train.distill": 0.5}, "train.distill is 0.5, but a baseline has no teacher; it must be 0"),
    ({"train.warmup_epochs": 5}, "train.warmup_epochs is 5, but train.epochs is 2; it must be at most that"),
    (
        {"data.name": "digit"},
        "data.name is digit; it must be one of digits, fashion_mnist, cifar10, cifar100, food101, imagenet, image_folder"
        " (did you mean digits?)",
    ),
    ({"data.name": "image_folder"}, "data.root is missing; for image_folder it must be the folder of the images"),
    ({"data.root": ""}, 'data.root is ""; it must be between 1 and 4000 letters'),
    ({"data.image_size": 4}, "data.image_size is 4; it must be between 8 and 2048, or null"),
    (
        {"data.image_size": 224, "data.resize": 200},
        "data.resize is 200, but data.image_size is 224; it must not be below that",
    ),
    ({"data.channels": 2}, "data.channels is 2; it must be one of 1, 3, null"),
    ({"data.protocol": "val"}, "data.protocol is val; it must be one of full, validation_only"),
    (
        {"data.protocol": "validation_only"},
        "data.protocol is validation_only, but digits has no validation set; it must be full",
    ),
    ({"data.selection": 0}, f"data.selection is 0; it must be {COUNT}"),
    ({"data.selection": 1.5}, f"data.selection is 1.5; it must be {COUNT}"),
    (
        {"data.selection": 0.6, "data.test": 0.5},
        "data.selection is 0.6 and data.test is 0.5; their sum must be below 1",
    ),
    (
        {"data.name": "cifar10", "data.test": 0.2},
        "data.test is 0.2, but cifar10 has a test set; it must be null, or protocol validation_only",
    ),
    ({"data.duplicates": "keep"}, "data.duplicates is keep; it must be one of refuse, drop, null"),
    ({"data.augment": "heavy"}, "data.augment is heavy; it must be one of auto, none, light, standard"),
    ({"data.mean": [0.5]}, "data.std is missing; with data.mean it must be given, too"),
    (
        {"data.mean": [0.5], "data.std": [0.2, 0.2, 0.2]},
        "data.mean has 1 and data.std 3 numbers; both must have one for every channel",
    ),
    ({"data.std": [0], "data.mean": [0.5]}, "data.std[0] is 0; it must be between 0 and 1 (not 0)"),
    ({"data.std": 0.2}, "data.std is 0.2; it must be a list of 1 or 3 numbers above 0 and at most 1, or null"),
    (
        {"data.mean": [0.5], "data.std": [0.2], "data.channels": 3},
        "data.mean has 1 numbers, but data.channels is 3; it must have 3",
    ),
    ({"calibration.batches": 0}, "calibration.batches is 0; it must be between 1 and 1000000"),
    ({"calibration.batch_size": 0}, "calibration.batch_size is 0; it must be between 1 and 65536"),
    (
        {"calibration.coverage_threshold": 1},
        "calibration.coverage_threshold is 1; it must be between 0 and 1 (not 1)",
    ),
    ({"seed": -1}, "seed is -1; it must be between 0 and 4294967295"),
    ({"seed": "zero"}, "seed is zero; it must be a whole number between 0 and 4294967295"),
]

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


@pytest.mark.parametrize(("changes", "line"), BAD_SCENARIOS, ids=lambda value: str(value)[:60])
def test_mistake_in_a_scenario_is_told_in_one_line(folder, changes, line):
    path = Path("config/scenarios/s.yaml")
    path.write_text(edited(SCENARIO, changes))
    assert told(stages.load_scenario, path) == [f"config/scenarios/s.yaml: {line}"]


@pytest.mark.parametrize(("changes", "line"), BAD_BASELINES, ids=lambda value: str(value)[:60])
def test_mistake_in_a_baseline_is_told_in_one_line(folder, changes, line):
    path = Path("config/baselines/small.yaml")
    path.write_text(edited(BASELINE, changes))
    lines = told(stages.load_baseline, path)
    assert f"config/baselines/small.yaml: {line}" in lines
    assert len(lines) <= 2  # a name that is no name is not the file's either


@pytest.mark.parametrize(("text", "line"), BAD_TEXTS, ids=lambda value: repr(value)[:40])
def test_file_that_is_no_configuration_is_told_in_one_line(folder, text, line):
    path = Path("config/scenarios/s.yaml")
    path.write_bytes(text)
    assert told(stages.load_scenario, path) == [f"config/scenarios/s.yaml: {line}"]


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
