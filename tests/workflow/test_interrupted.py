"""A run that was interrupted, at any moment and in any way, goes on by the same command and ends as if it had not been.

What is seen in between is whole: no half-written file has its final name. Fine-tuning goes on from its last finished
epoch. The short test strikes one run of a part of the chain; the long one strikes whole runs at least sixty times.
"""

import random
import subprocess
import time
from pathlib import Path

import chain
import interruptions
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


def test_a_run_that_is_struck_in_every_way_ends_as_an_undisturbed_one(finished, small_disk):
    """Five stages up to the first fine-tuned model, and in each another kind of interruption."""
    run = Interrupted(chain.lay_out(small_disk / "short"), random.Random(0))
    assert run.strike("dataset", "all INT")
    assert run.strike("baseline", "all KILL", "epoch")
    locked = chain.run(run.folder, SHORT)
    assert locked.returncode == 1
    assert "--unlock" in locked.stderr
    assert run.strike("calibrate", "stage TERM")
    assert run.resumed == [("results/baselines/digits", 1)]
    assert run.strike("prune", "disk full")
    assert run.strike("finetune", "Snakemake KILL", "writing")
    run.finish(SHORT)
    whole, struck = interruptions.results(finished), interruptions.results(run.folder)
    assert {name: whole[name] for name in struck} == struck
    assert len(struck) == 16


@pytest.mark.long
def test_sixty_interruptions_lose_nothing(tmp_path, small_disk):
    undisturbed = longer(tmp_path / "undisturbed")
    Interrupted(undisturbed, random.Random()).finish("all", PREVIEW)
    strikes, resumed = [], []
    for life in range(LIVES):
        rng = random.Random(life)
        run = Interrupted(longer(small_disk / f"life{life}"), rng)
        for number, stage in enumerate(STAGES):
            moments = ["any", "writing", "epoch"] if stage in TRAINING else ["any", "writing"]
            for kind in kinds(life, number, more=stage in TRAINING):
                strike = run.strike(stage, kind, rng.choice(moments)) or run.again(stage).strike(stage, kind)
                print(f"{time.strftime('%T')} life {life}: {strike or f'{stage} was over before {kind}'}", flush=True)
        run.finish("all", PREVIEW)
        strikes, resumed = strikes + run.strikes, resumed + run.resumed
        different = interruptions.differing(undisturbed, run.folder)
        print(interruptions.table(strikes))
        print(f"trainings that went on: {len(resumed)}, epochs not trained again: {sum(n for _, n in resumed)}")
        print(f"lives: {life + 1}, differing files: {len(different)} {different}", flush=True)
        assert different == []
    assert len(strikes) >= 60
    assert {strike.stage for strike in strikes} == set(STAGES)
    assert {strike.kind for strike in strikes} == set(KINDS)
    assert len(resumed) >= 6


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
