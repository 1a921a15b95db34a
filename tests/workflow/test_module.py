"""The workflow used from another folder: as a module of a user's own Snakefile, laid out by hand or by snakedeploy."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import chain
import pytest
import yaml

# What `snakedeploy deploy-workflow` writes as workflow/Snakefile, beside a copy of config/.
SNAKEFILE = """\
from snakemake.utils import min_version


min_version("6.10.0")


configfile: "config/config.yaml"


module budama:
    snakefile:
        {source}
    config:
        config


use rule * from budama
"""
PREVIEW, REPORT = "results/scenarios/small/preview.json", "reports/elsewhere/ozet_rapor.html"


@pytest.fixture
def repository(tmp_path) -> Path:
    """The workflow alone, in a folder whose name needs quoting."""
    folder = chain.lay_out(tmp_path / "the workflow")
    shutil.rmtree(folder / "config")
    return folder


def deploy(folder: Path, source: str, more: str = "") -> Path:
    """A user's folder, with a Snakefile and a configuration and nothing else."""
    (folder / "workflow").mkdir(parents=True)
    (folder / "workflow/Snakefile").write_text(SNAKEFILE.format(source=source) + more)
    with_config = chain.lay_out(folder.parent / "with config")
    shutil.move(with_config / "config", folder / "config")
    return folder


@pytest.fixture
def deployed(tmp_path, repository) -> Path:
    return deploy(tmp_path / "mine", repr(str(repository / "workflow/Snakefile")))


def files(folder: Path) -> set[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


def test_a_link_to_the_snakefile_starts_it_in_another_folder(repository, tmp_path):
    mine = tmp_path / "benim klasörüm"
    mine.mkdir()
    shutil.move(chain.lay_out(tmp_path / "with config") / "config", mine / "config")
    (mine / "Snakefile").symlink_to(repository / "Snakefile")
    assert chain.plan(mine, PREVIEW) == {"preview"}


def test_a_deployed_folder_plans_what_the_repository_plans(deployed, tmp_path):
    assert chain.plan(deployed) == chain.plan(chain.lay_out(tmp_path / "whole"))


def test_a_deployed_folder_computes_for_itself_and_moving_the_workflow_reruns_nothing(deployed, repository, tmp_path):
    before = files(repository)
    done = chain.run(deployed, PREVIEW, REPORT)
    assert done.returncode == 0, done.stderr[-5000:]
    assert json.loads((deployed / PREVIEW).read_text())
    assert "elsewhere" in (deployed / REPORT).read_text()
    assert files(repository) == before
    moved = repository.rename(tmp_path / "moved")
    snakefile = deployed / "workflow/Snakefile"
    snakefile.write_text(snakefile.read_text().replace(str(repository), str(moved)))
    assert chain.plan(deployed, PREVIEW, REPORT) == set()


def test_snakedeploy_takes_the_workflow_from_github(repository, tmp_path):
    run_git(repository, "init", "--quiet", "--initial-branch=main")
    run_git(repository, "add", ".")
    run_git(repository, "commit", "--quiet", "--message=all")
    run_git(repository, "tag", "v1")
    shutil.move(repository, tmp_path / "github.com/somebody/budama")
    deployed = deploy(tmp_path / "mine", 'github("somebody/budama", path="workflow/Snakefile", tag="v1")')
    github = {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{tmp_path}/github.com/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
    }
    done = chain.run(deployed, PREVIEW, REPORT, **github)
    assert done.returncode == 0, done.stderr[-5000:]
    (copied,) = (deployed / ".cache/budama/workflow").iterdir()
    run_git(deployed, "init", "--quiet")  # another repository, whose commits are not the workflow's
    ask = "from budama.jobs import provenance; print(provenance.environment()['git_commit'])"
    told = subprocess.run([sys.executable, "-c", ask], cwd=copied / "workflow/scripts", capture_output=True, text=True)
    commit = run_git(tmp_path / "github.com/somebody/budama", "rev-parse", "HEAD")
    assert told.stdout.strip() == copied.name == commit[:12]
    again = chain.run(deployed, PREVIEW, REPORT, **github)
    assert "Nothing to be done" in again.stderr, again.stderr[-5000:]


def run_git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_rules_may_be_renamed_and_a_failed_job_still_says_how_to_run_it_alone(repository, tmp_path):
    source = repr(str(repository / "workflow/Snakefile"))
    deployed = deploy(tmp_path / "mine", source, "\nonerror:\n    budama.onerror()\n")
    snakefile = deployed / "workflow/Snakefile"
    snakefile.write_text(snakefile.read_text().replace("from budama\n", "from budama as pruning_*\n"))
    (deployed / "mynet.py").write_text("def build():\n    raise ValueError('not today')\n")
    baseline = {**chain.CONFIG["baselines/digits.yaml"], "model": {"source": "python", "name": "mynet:build"}}
    chain.write(deployed, "baselines/digits.yaml", baseline)
    done = chain.run(deployed, PREVIEW)
    assert done.returncode == 1
    told = done.stderr[done.stderr.index("pruning_preview failed") :]
    assert "not today" in told
    command = re.search(r"To run it alone:\n\s+(.*)", told)[1]
    assert "/workflow/scripts/preview.py --scenario config/scenarios/small.yaml" in command.replace("'", "")
    path = {**os.environ, "PATH": f"{chain.SNAKEMAKE.parent}{os.pathsep}{os.environ['PATH']}"}
    again = subprocess.run(command, shell=True, cwd=deployed, capture_output=True, text=True, env=path)
    assert again.returncode == 1
    assert "not today" in again.stderr


def test_the_configuration_that_snakedeploy_copies_is_planned(deployed):
    shutil.rmtree(deployed / "config")
    shutil.copytree(chain.ROOT / "config", deployed / "config")
    assert {"dataset digits_resnet", "benchmark demo", "report demo", "index"} <= chain.plan(deployed)


def test_a_mistake_in_the_configuration_is_a_line_and_not_a_traceback(deployed):
    chain.write(deployed, "config.yaml", {"scenarios": ["smal"]})
    done = chain.run(deployed)
    assert done.returncode == 1
    (line,) = re.findall(r"^error: (.*)$", done.stderr, re.MULTILINE)
    assert line.startswith("config/config.yaml")
    assert "Traceback" not in done.stderr


def test_the_catalogue_is_told_what_is_true():
    told = yaml.safe_load((chain.ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    rules = "".join(path.read_text() for path in (chain.ROOT / "workflow/rules").glob("*.smk"))
    assert told["software-stack-deployment"]["conda"] == ("conda:" in rules)
    assert told["software-stack-deployment"]["apptainer"] == ("container:" in rules)
    assert told["report"] == ("report(" in rules)
    assert (chain.ROOT / "workflow/Snakefile").is_file()
    assert (chain.ROOT / "config/README.md").is_file()
