"""Every key of the configuration, whatever it is: another type, a misspelling, a number out of bounds, its absence."""

from pathlib import Path

import pytest
from configurations import BASELINE, SCENARIO, edited, told

from budama.settings import schema, stages

FILES = {
    "scenario": ("config/scenarios/s.yaml", SCENARIO, stages.load_scenario),
    "baseline": ("config/baselines/small.yaml", BASELINE, stages.load_baseline),
}


def keys(part, path=""):
    """Dotted names of all keys of a schema, each with its own schema and whether it is required."""
    for key, inner in part["properties"].items():
        name = f"{path}.{key}".lstrip(".")
        yield name, inner, key in part.get("required", ())
        if "properties" in inner:
            yield from keys(inner, name)


KEYS = [(kind, *key) for kind in FILES for key in keys(schema.load(kind))]
LEAVES = [key for key in KEYS if "properties" not in key[2]]
TYPED = [key for key in KEYS if key[1] != "model.arguments"]  # takes what the model's constructor takes


def bounds(kind, name, inner):
    for bound, step in (("minimum", -1), ("exclusiveMinimum", -1), ("maximum", 1), ("exclusiveMaximum", 1)):
        if bound in inner:
            yield kind, name, inner[bound] + step


OUT_OF_BOUNDS = [row for kind, name, inner, _ in LEAVES for row in bounds(kind, name, inner)]


def lines(kind, changes):
    path, text, load = FILES[kind]
    Path(path).write_text(edited(text, changes))
    found = told(load, path)
    assert all(line.startswith(f"{path}: ") and line.isprintable() for line in found)
    return [line.removeprefix(f"{path}: ") for line in found]


@pytest.mark.parametrize(("kind", "name"), [key[:2] for key in TYPED])
def test_a_key_of_another_type_is_told_with_what_it_must_be(folder, kind, name):
    wanted = next(key[2] for key in KEYS if key[:2] == (kind, name)).get("type", "")
    wrong = "a word" if "object" in wanted else {"x": 1}
    assert any(line.startswith(f"{name} is ") and "; it must be " in line for line in lines(kind, {name: wrong}))


@pytest.mark.parametrize(("kind", "name"), [key[:2] for key in KEYS])
def test_a_misspelt_key_is_told_with_the_one_that_was_meant(folder, kind, name):
    found = lines(kind, {f"{name}x": 1})
    assert any(line.startswith(f"{name}x is not a known key; did you mean ") and f"{name}?" in line for line in found)


@pytest.mark.parametrize(("kind", "name", "value"), OUT_OF_BOUNDS)
def test_a_number_out_of_its_bounds_is_told_with_them(folder, kind, name, value):
    assert any(line.startswith(f"{name} is {value}; it must be ") for line in lines(kind, {name: value}))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("scenario", name) for name in ("scenario", "pruning.methods", "pruning.ratio", "finetune.epochs")),
        *(("baseline", name) for name in ("baseline", "model.source", "model.name", "data.name", "train.epochs")),
    ],
)
def test_a_key_that_has_no_default_is_missed(folder, kind, name):
    assert any(line.startswith(f"{name} is missing; it must be ") for line in lines(kind, {name: ...}))
