"""Pruning and training in turns, by the real Snakemake: each a job that resumes, and that is stale by itself."""

import os
import signal
import subprocess
import time

import chain
import pytest
from edits import put

from budama import files

SCENARIO, PLACE = "scenarios/small.yaml", "results/scenarios/small/wanda"
LAST = f"{PLACE}/seed-0"
TURNS = {
    "prune wanda/turn-1",
    "finetune wanda/seed-0/turn-1",
    "prune wanda/seed-0",
    "finetune wanda/seed-0",
}


def test_one_cycle_is_what_there_was(work):
    put(SCENARIO, "pruning.cycles", 1)(work)
    assert chain.plan(work) == set()


@pytest.fixture
def in_turns(work):
    put(SCENARIO, "pruning.cycles", 2)(work)
    put(SCENARIO, "finetune.epochs", 12)(work)
    return work


def result(folder):
    """All that training decides: the weights, and what was measured of them, but for the clock and the machine."""
    metrics = files.read_json(folder / LAST / "metrics.json")
    told = {key: value for key, value in metrics.items() if key not in ("train_seconds", "environment")}
    return files.sha256(folder / LAST / "model/model.safetensors"), told


def killed_in_training(folder):
    """Start the last turn's training, and kill everything once an epoch of it is saved."""
    command = [str(chain.SNAKEMAKE), "--cores", "2", f"{LAST}/metrics.json"]
    with open(folder / "said", "w") as said:
        run = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, start_new_session=True)
        while run.poll() is None and not list((folder / LAST).glob("progress/[!.]*")):
            time.sleep(0.01)
        assert run.poll() is None, "it ended before it could be killed"
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert not (folder / LAST / "metrics.json").exists()


def test_a_run_killed_in_the_second_turn_ends_as_an_undisturbed_one_and_turns_are_stale_by_themselves(
    in_turns, tmp_path
):
    assert chain.plan(in_turns, f"{LAST}/metrics.json") == TURNS
    done = chain.run(in_turns, f"{LAST}/pruned")
    assert done.returncode == 0, done.stderr[-4000:]
    for file in ("metrics.json", "history.csv"):  # of the run that had one turn
        (in_turns / LAST / file).unlink()
    struck = chain.copy(in_turns, tmp_path / "struck")
    killed_in_training(struck)
    assert chain.run(struck, "--unlock").returncode == 0
    for folder in (struck, in_turns):
        done = chain.run(folder, f"{LAST}/metrics.json", "--rerun-incomplete")
        assert done.returncode == 0, done.stderr[-4000:]
    assert "going on after epoch" in (struck / "logs/scenarios/small/wanda/seed-0/finetune.log").read_text()
    assert result(struck) == result(in_turns)
    first, last = (files.read_json(in_turns / place / "pruning.json") for place in (f"{PLACE}/turn-1", LAST))
    assert first["achieved"]["channels_percent"] == pytest.approx(15, abs=3)
    assert last["achieved"]["channels_percent"] == pytest.approx(30, abs=3)
    assert [files.read_json(in_turns / place / "metrics.json")["epochs"] for place in (f"{LAST}/turn-1", LAST)] == [
        6,
        6,
    ]
    put(SCENARIO, "finetune.epochs", 13)(in_turns)  # 6 + 7
    assert chain.plan(in_turns, f"{LAST}/metrics.json") == {"finetune wanda/seed-0"}
