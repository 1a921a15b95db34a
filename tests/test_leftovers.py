"""Folders of variants and seeds that a scenario no longer has: named in its report, removed by one command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from reports import ROOT, single

from budama.jobs import leftovers

KEPT = ("wanda/pruned/model.safetensors", "wanda/pruning.json", "wanda/seed-0/metrics.json", "notes/mine.txt", "a.json")
LEFT = ("taylor/pruning.json", "random/seed-0/pruned/structure.json", "wanda/seed-7/metrics.json")


@pytest.fixture
def scenario(tmp_path):
    """A folder to run in, with one scenario of Wanda and seed 0, and the results of earlier versions of it."""
    baseline, own = (json.loads(text) for text in ('{"baseline": "b", "data": {"name": "digits"}}', "{}"))
    baseline |= {"model": {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8}}}
    own |= {
        "scenario": "s",
        "baseline": "b",
        "pruning": {"methods": ["wanda"], "ratio": 0.3},
        "seeds": [0],
        "finetune": {"epochs": 1},
    }
    for name, content in (("baselines/b", baseline), ("scenarios/s", own)):
        path = tmp_path / f"config/{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
    for file in (*KEPT, *LEFT):
        path = tmp_path / "results/scenarios/s" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return tmp_path


def run(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / f"workflow/scripts/{script}.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_other_variants_and_other_seeds_are_left_over_and_nothing_else_is(scenario):
    folder = scenario / "results/scenarios/s"
    found = leftovers.find(folder, ["wanda"], [0])
    assert [path.relative_to(folder).as_posix() for path in found] == ["random", "taylor", "wanda/seed-7"]
    assert leftovers.find(folder, ["wanda", "taylor", "random"], [0, 7]) == []
    assert leftovers.find(scenario / "nowhere", ["wanda"], [0]) == []


def test_one_command_names_them_and_removes_them_and_only_them(scenario):
    folder = scenario / "results/scenarios/s"
    named = run("leftovers", scenario)
    assert named.returncode == 0, named.stderr
    assert "left over: results/scenarios/s/taylor" in named.stdout
    assert files(folder) == {*KEPT, *LEFT}
    removed = run("leftovers", scenario, "s", "--remove")
    assert "removed: results/scenarios/s/wanda/seed-7" in removed.stdout
    assert files(folder) == {*KEPT}
    assert run("leftovers", scenario, "--remove").stdout == "nothing is left over\n"


def test_an_unknown_scenario_is_told_in_one_line(scenario):
    done = run("leftovers", scenario, "t", "--remove")
    assert done.returncode == 1
    assert done.stderr.startswith("error: config/scenarios: no file has the scenario t;")
    assert files(scenario / "results/scenarios/s") == {*KEPT, *LEFT}


def test_the_report_names_them(tmp_path):
    content = single()
    (tmp_path / "results.json").write_text(json.dumps(content))
    for place in ("hessian/seed-0", f"{content['variants'][0]['variant']}/seed-0"):
        (tmp_path / place).mkdir(parents=True)
    done = run("report", ROOT, "--spec", "{}", "--results", str(tmp_path / "results.json"), "--output-dir",
               str(tmp_path / "out"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out/ozet_rapor.md").read_text("utf-8")
    assert "artık senaryoda olmayan modeller var: hessian." in text
    assert f"leftovers.py {content['scenario']} --remove" in text
