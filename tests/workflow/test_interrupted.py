"""A run that was interrupted, at any moment and in any way, goes on by the same command and ends as if it had not been.

What is seen in between is whole: no half-written file has its final name. Fine-tuning goes on from its last finished
epoch. The short test strikes one run of a part of the chain; the long one strikes whole runs at least sixty times.
"""

import fcntl
import os
import random
import subprocess
import time
from pathlib import Path

import chain
import interruptions
import outcomes
import pytest
import yaml
from interruptions import KINDS, Interrupted

SHORT = "results/scenarios/small/wanda/seed-0/metrics.json"
PREVIEW = "results/scenarios/small/preview.json"
STAGES = (
    "dataset", "baseline", "calibrate", "prune", "finetune", "export", "benchmark", "aggregate", "preview", "report",
    "index",
)  # fmt: skip
TRAINING = ("baseline", "finetune")
LIVES, PER_LIFE = 3, 2


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory):
    """A file system of its own, which can be filled up; a plain folder where none can be mounted."""
    place = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "none", place], capture_output=True)
    yield place
    if mounted.returncode == 0:
        subprocess.run(["umount", "--lazy", place], check=True)


def test_a_run_that_is_struck_in_every_way_ends_as_an_undisturbed_one(finished, small_disk, tmp_path):
    """Five stages up to the first fine-tuned model, and in each another kind of interruption."""
    run = Interrupted(chain.lay_out(small_disk / "short"), tmp_path / "said", random.Random(0))
    run.surely("dataset", "all INT")
    run.surely("baseline", "all KILL", "epoch")
    locked = chain.run(run.folder, SHORT)
    assert locked.returncode == 1
    assert "--unlock" in locked.stderr
    run.surely("calibrate", "stage TERM")
    assert run.resumed, "training the baseline went on from a saved epoch"
    run.surely("prune", "disk full")
    run.surely("finetune", "Snakemake KILL", "writing")
    run.finish(SHORT)
    whole, struck = (
        {name: what for name, what in outcomes.results(folder).items() if "/digits/" in name or "/wanda/" in name}
        for folder in (finished, run.folder)
    )
    assert struck == whole


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """A run with an export and a preview that nothing disturbed; one for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / "undisturbed"
    with open(base / "undisturbed.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "reports/index.html").exists():
            Interrupted(longer(folder), base / "said", random.Random()).finish("all", PREVIEW)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("life", range(LIVES))
def test_more_than_sixty_interruptions_in_three_lives_lose_nothing(life, undisturbed, small_disk, tmp_path):
    rng = random.Random(life)
    run = Interrupted(longer(small_disk / f"life{life}"), tmp_path / "said", rng)
    planned = 0
    for number, stage in enumerate(STAGES):
        for turn, kind in enumerate(kinds(life, number, more=stage in TRAINING)):
            moment = "epoch" if stage in TRAINING and turn != 1 else rng.choice(["any", "writing"])
            strike = run.surely(stage, kind, moment)
            print(f"{time.strftime('%T')} life {life}: {strike}", flush=True)
            planned += 1
    run.finish("all", PREVIEW)
    different = outcomes.differing(undisturbed, run.folder)
    everything = interruptions.remember(undisturbed.with_name("strikes"), life, run)
    print(
        f"{interruptions.table(everything)}\nlife {life}: files that differ: {len(different)} {different}", flush=True
    )
    assert different == []
    assert LIVES * planned > 60
    assert len(run.strikes) >= planned
    assert run.resumed, "training went on from an epoch that was saved"


def kinds(life: int, number: int, more: bool) -> list[str]:
    """The kinds of interruption that a stage gets in a life: in turns, so that over the lives each gets others."""
    count = PER_LIFE + 1 if more else PER_LIFE
    return [list(KINDS)[(number + life * count + turn) % len(KINDS)] for turn in range(count)]


def longer(folder: Path) -> Path:
    """The small configuration with more epochs to be interrupted in, and an export."""
    chain.lay_out(folder)
    for name, section, epochs in (("baselines/digits.yaml", "train", 10), ("scenarios/small.yaml", "finetune", 8)):
        content = yaml.safe_load((folder / "config" / name).read_text())
        content[section]["epochs"] = epochs
        if section == "finetune":
            content["export"] = {"formats": ["onnx"]}
        chain.write(folder, name, content)
    return folder
