"""A small valid configuration, and ways to spoil it."""

from pathlib import Path

import pytest
import yaml

from budama.errors import BudamaError

SCENARIO = """\
scenario: first
baseline: small
pruning: {methods: [wanda, random], ratio: 0.3}
finetune: {epochs: 2}
"""
BASELINE = """\
baseline: small
model: {source: budama, name: resnet_cifar}
data: {name: digits}
train: {epochs: 2}
"""
# What a message says of a name that is none.
NAME = "a name of letters, digits, _ - and . (at most 64, beginning with a letter, a digit or _)"


def write(folder: Path) -> None:
    """Two scenarios and their baseline below `folder`."""
    for name in ("scenarios", "baselines"):
        (folder / "config" / name).mkdir(parents=True)
    (folder / "config/scenarios/s.yaml").write_text(SCENARIO)
    (folder / "config/scenarios/second.yaml").write_text(SCENARIO.replace("first", "second"))
    (folder / "config/baselines/small.yaml").write_text(BASELINE)


def edited(text: str, changes: dict) -> str:
    """A YAML file with values set or, where the value is `...`, left out; keys are dotted."""
    document = yaml.safe_load(text)
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = document
        for section in sections:
            place = place.setdefault(section, {})
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False)


def told(load, path) -> list[str]:
    """The lines in which `load` refuses `path`."""
    with pytest.raises(BudamaError) as caught:
        load(path)
    return caught.value.lines
