"""conda environments: the lock's versions, and all that the stages import."""

import re
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import conda_environments
from budama.jobs import code_digest, provenance

ROOT = Path(__file__).parents[1]
ENVS = sorted((ROOT / "envs").glob("*.yaml"))


def pins(path):
    content = yaml.safe_load(path.read_text())
    (listed,) = [entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict)]
    return dict(pin.split("==") for pin in listed)


@pytest.mark.parametrize("path", ENVS, ids=lambda path: path.name)
def test_the_file_is_what_make_envs_writes(path):
    assert path.read_text() == conda_environments.environments()[path.name], "run `make envs`"


@pytest.mark.parametrize("path", ENVS, ids=lambda path: path.name)
def test_every_package_is_pinned_as_in_the_lock(path):
    locked = provenance.locked()
    assert pins(path) == {name: locked[name] for name in pins(path)}


@pytest.mark.parametrize("path", ENVS, ids=lambda path: path.name)
def test_conda_brings_python_and_pip_alone_and_from_conda_forge(path):
    content = yaml.safe_load(path.read_text())
    assert content["channels"] == ["conda-forge", "nodefaults"]
    assert content["dependencies"][:2] == ["python =3.11", "pip"]


@pytest.mark.parametrize("path", ENVS, ids=lambda path: path.name)
def test_every_package_has_what_it_needs(path):
    """By the packages' own words, where the file was made from the lock's."""
    there = pins(path)
    for name in there:
        for text in metadata.requires(name) or ():
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                needed = re.sub(r"[-_.]+", "-", need.name).lower()
                assert needed in there or needed in ("pip", "setuptools"), f"{name} needs {needed}"


@pytest.mark.parametrize(("env", "stage"), [(e, s) for e, all_ in conda_environments.STAGES.items() for s in all_])
def test_every_import_of_a_stage_is_in_its_environment(env, stage):
    providers = metadata.packages_distributions()
    there = pins(ROOT / f"envs/{env}.yaml")
    for module in conda_environments.imported(stage):
        names = {re.sub(r"[-_.]+", "-", name).lower() for name in providers[module]}
        assert names & there.keys(), f"{stage} imports {module}, which envs/{env}.yaml does not have"


def test_the_environment_of_reports_has_no_torch():
    assert not {"torch", "torchvision", "timm", "torch-pruning"} & pins(ROOT / "envs/report.yaml").keys()


def test_every_rule_that_runs_python_names_the_environment_of_its_stage():
    named = {}
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            (script,) = re.findall(r"{params\.scripts:q}/(\w+)\.py", rule)
            (env,) = re.findall(r'"\.\./\.\./envs/(\w+)\.yaml"', rule)
            named[script] = env
    assert named == {stage: env for env, stages in conda_environments.STAGES.items() for stage in stages}


def test_all_stages_have_an_environment():
    stages = {stage for stages in conda_environments.STAGES.values() for stage in stages}
    scripts = {path.stem for path in code_digest.SCRIPTS.glob("*.py")} - {
        "conda_environments",
        "config_readme",
        "leftovers",
    }
    assert stages == scripts
