"""The first line of every shipped configuration file names its schema, from which an editor completes and checks keys.

Schemas are looked up here as an editor does it: `$ref`s are relative to the file that they stand in.
"""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from budama.settings import schema, yamlfile

CONFIG = Path(__file__).parents[1] / "config"
FILES = sorted(CONFIG.glob("**/*.yaml"))
KINDS = {"baselines": "baseline", "scenarios": "scenario", "config": "config"}  # by folder
LINE = "# yaml-language-server: $schema="


def resource(uri: str) -> Resource:
    contents = yamlfile.read(Path(uri.removeprefix("file://")))
    return Resource.from_contents(contents, default_specification=DRAFT202012)


def validator(path: Path) -> Draft202012Validator:
    return Draft202012Validator({"$ref": path.as_uri()}, registry=Registry(retrieve=resource))


def named_schema(file: Path) -> Path:
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(LINE)
    return (file.parent / first.removeprefix(LINE)).resolve()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CONFIG)))
def test_the_first_line_names_the_schema_of_the_file_and_the_file_fits_it(file):
    found = named_schema(file)
    assert found == (schema.FOLDER / f"{KINDS[file.parent.name]}.schema.yaml").resolve()
    validator(found).validate(yamlfile.read(file))


def test_an_editor_sees_a_mistake_behind_a_reference_to_another_file():
    check = validator(schema.FOLDER / "scenario.schema.yaml")
    pruning = {"methods": ["magnitude", "magnitud"], "ratio": 0.3}
    scenario = {"scenario": "mine", "baseline": "mine", "pruning": pruning, "finetune": {"epochs": -1}}
    paths = {tuple(error.absolute_path) for error in check.iter_errors(scenario)}
    assert paths == {("pruning", "methods", 1), ("finetune", "epochs")}


@pytest.mark.parametrize("file", sorted(schema.FOLDER.iterdir()), ids=lambda file: file.name)
def test_every_schema_is_one(file):
    Draft202012Validator.check_schema(yamlfile.read(file))
