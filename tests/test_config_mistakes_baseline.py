# ruff: noqa: E501
"""The one line that tells each mistake in a baseline's file."""

from pathlib import Path

import pytest
from configurations import BASELINE, NAME, edited, told

from budama.settings import stages

SELECTION = "a share above 0 and below 1, a count of images (a whole number, 1 or more), or null"

BAD_BASELINES = [
    ({"baseline": "other"}, "baseline is other; it must be the file's name, small"),
    ({"baseline": "../up"}, f"baseline is ../up; it must be {NAME}"),
    (
        {"train.learning_rate": [0.1, 0.01]},
        "train.learning_rate is [0.1, 0.01]; a list is for a scenario's finetune, and it must be a number here",
    ),
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
        "model.weights is DEFAULT; for source budama it must be a file of weights, or null",
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
    ({"data.selection": 0}, f"data.selection is 0; it must be {SELECTION}"),
    ({"data.selection": 1.5}, f"data.selection is 1.5; it must be {SELECTION}"),
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


@pytest.mark.parametrize(("changes", "line"), BAD_BASELINES, ids=lambda value: str(value)[:60])
def test_mistake_in_a_baseline_is_told_in_one_line(folder, changes, line):
    path = Path("config/baselines/small.yaml")
    path.write_text(edited(BASELINE, changes))
    lines = told(stages.load_baseline, path)
    assert f"config/baselines/small.yaml: {line}" in lines
    assert len(lines) <= 2  # a name that is no name is not the file's either
