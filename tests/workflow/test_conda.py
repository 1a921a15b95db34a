"""With --use-conda every stage runs in an environment of its own, which has the lock's versions and lacks nothing.

Planning with conda proves little, and so does a green run: a wrong pin is noticed when the environment is made, and a
package that is missing there may be taken from elsewhere. So environments are made here, looked into, and run in.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import chain
import pytest
import yaml

import conda_environments
from budama.jobs import provenance

# Making environments downloads gigabytes.
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not shutil.which("conda"), reason="no conda on PATH: --use-conda cannot be run"),
]

RECORDED = "reports/elsewhere/ozet_rapor.html"  # takes the light environment alone
PREVIEW = "results/scenarios/small/preview.json"  # takes the one with torch alone
ENVIRONMENTS = [("report", RECORDED), ("torch", PREVIEW)]
LOOK = """
import importlib, importlib.metadata, json, sys
files = {}
for name in sys.argv[1:]:
    try:
        files[name] = importlib.import_module(name).__file__
    except ModuleNotFoundError as error:
        files[name] = str(error)
versions = {found.metadata["Name"]: found.version for found in importlib.metadata.distributions()}
print(json.dumps({"prefix": sys.prefix, "files": files, "versions": versions}))
"""


def run(folder: Path, environments: Path, *arguments: str, **told: str) -> subprocess.CompletedProcess:
    """`snakemake --use-conda`, with its environments where other tests find them and in no list of the user's."""
    where = ("--use-conda", "--conda-prefix", str(environments))
    return chain.run(folder, *where, *arguments, CONDA_REGISTER_ENVS="false", **told)


@pytest.fixture(scope="session")
def environments(tmp_path_factory) -> Path:
    """The folder of all environments, for every worker."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    (base / "environments").mkdir(exist_ok=True)
    return base / "environments"


def made(folder: Path, environments: Path, target: str) -> Path:
    """The one environment that `target` takes, made if it is not there."""
    with open(environments / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run(folder, environments, target, "--conda-create-envs-only")
        assert done.returncode == 0, done.stderr[-5000:]
    listed = run(folder, environments, target, "--list-conda-envs").stdout
    (path,) = [line.split("\t")[-1] for line in listed.splitlines() if line.endswith("_")]
    return folder / path


def look(environment: Path, modules: set[str] | frozenset[str]) -> dict:
    """What an environment's Python says of itself, asked for some imports; it sees nothing of this process's."""
    command = [environment / "bin/python", "-I", "-c", LOOK, *sorted(modules)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def differences(versions: dict[str, str], pins: dict[str, str]) -> dict[str, tuple]:
    """Packages with another version than the pins, missing, or beyond them; conda itself brings pip and its like."""
    there = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in versions.items()}
    names = (there.keys() - {"pip", "setuptools", "wheel"}) | pins.keys()
    return {name: (there.get(name), pins.get(name)) for name in names if there.get(name) != pins.get(name)}


def not_from(environment: str | Path, files: dict[str, str]) -> dict[str, str]:
    """Modules whose file lies outside an environment."""
    inside = Path(environment).resolve()
    return {name: file for name, file in files.items() if inside not in Path(file).resolve().parents}


def pins(path: Path) -> dict[str, str]:
    (listed,) = [entry["pip"] for entry in yaml.safe_load(path.read_text())["dependencies"] if isinstance(entry, dict)]
    return dict(pin.split("==") for pin in listed)


def imports(name: str) -> frozenset[str]:
    """All that the stages of an environment import."""
    return frozenset().union(*map(conda_environments.imported, conda_environments.STAGES[name]))


@pytest.fixture
def folder(tmp_path) -> Path:
    return chain.lay_out(tmp_path / "work")


@pytest.mark.parametrize(("name", "target"), ENVIRONMENTS, ids=["report", "torch"])
def test_an_environment_has_exactly_the_locks_versions(folder, environments, name, target):
    wanted = pins(chain.ROOT / f"envs/{name}.yaml")
    assert wanted == {package: provenance.locked()[package] for package in wanted}
    assert not differences(look(made(folder, environments, target), set())["versions"], wanted)


@pytest.mark.parametrize(("name", "target"), ENVIRONMENTS, ids=["report", "torch"])
def test_all_that_an_environments_stages_import_is_in_it(folder, environments, name, target):
    environment = made(folder, environments, target)
    assert not not_from(environment, look(environment, imports(name))["files"])


def watched(environment: Path) -> None:
    """Jobs in this environment say from where they load what."""
    (site,) = environment.glob("lib/python3*/site-packages")
    shutil.copy(Path(__file__).parent / "conda_trace/sitecustomize.py", site)


def ran_in(folder: Path) -> dict[str, str]:
    """The environment in which each stage ran. All that a stage loaded came from there or from the workflow."""
    used = {}
    for path in (folder / "trace").glob("*.json"):
        seen = json.loads(path.read_text())
        assert Path(seen["prefix"]).resolve() == Path(seen["conda_prefix"]).resolve(), seen["stage"]
        elsewhere = not_from(seen["prefix"], seen["files"])
        assert not not_from(folder / "workflow/scripts", elsewhere), seen["stage"]
        used[seen["stage"]] = Path(seen["prefix"]).resolve()
    return used


def check_a_run(folder: Path, environments: Path, targets: tuple[str, ...], takes: dict[str, str]) -> None:
    """Run, find each stage of `takes` in its environment, and have nothing left to do."""
    places = {name: made(folder, environments, target).resolve() for name, target in takes.items()}
    for place in places.values():
        watched(place)
    (folder / "trace").mkdir()
    done = run(folder, environments, *targets, BUDAMA_TRACE=str(folder / "trace"))
    assert done.returncode == 0, done.stderr[-5000:]
    used = ran_in(folder)
    stages = {stage: places[name] for name in takes for stage in conda_environments.STAGES[name]}
    assert used == {stage: stages[stage] for stage in used}
    assert set(used.values()) == set(places.values())
    again = run(folder, environments, *targets)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stderr


def test_recorded_results_are_reported_in_the_light_environment_alone(folder, environments):
    check_a_run(folder, environments, (RECORDED,), {"report": RECORDED})


def test_the_whole_chain_runs_with_every_stage_in_its_environment(folder, environments):
    check_a_run(folder, environments, (), {"report": RECORDED, "torch": PREVIEW})


# --- and would these tests notice? ---


def edit(folder: Path, pattern: str, text: str) -> None:
    path = folder / "envs/report.yaml"
    before = path.read_text()
    path.write_text(re.sub(pattern, text, before, flags=re.MULTILINE))
    assert path.read_text() != before


def test_a_missing_package_is_noticed_and_not_taken_from_elsewhere(folder, environments):
    edit(folder, r"^ +- typst==.*\n", "")
    environment = made(folder, environments, RECORDED)
    assert list(not_from(environment, look(environment, imports("report"))["files"])) == ["typst"]
    found = look(environment, set())["versions"]
    assert list(differences(found, pins(chain.ROOT / "envs/report.yaml"))) == ["typst"]
    done = run(folder, environments, RECORDED)
    assert done.returncode == 1
    assert "No module named 'typst'" in done.stderr


def test_an_environment_that_cannot_be_made_stops_the_run_before_its_first_job(folder, environments):
    edit(folder, r"- typst==.*", "- typst==0.0.0")
    done = run(folder, environments, RECORDED)
    assert done.returncode == 1
    assert "Could not create conda environment" in done.stderr
    assert not (folder / "results").exists()
