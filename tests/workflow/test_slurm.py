"""On a SLURM cluster: what profiles/slurm asks for arrives, and a cancelled job costs what it had not finished.

A real SLURM of one node runs the jobs, sent by Snakemake's own plugin. The node says that it has more than the machine,
so that the profile's numbers fit; where jobs run, their threads alone are changed, to cores that are really there.
"""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import chain
import interruptions
import outcomes
import pytest
import single_node_slurm
import yaml
from single_node_slurm import Slurm

SCENARIO = chain.CONFIG["scenarios/small.yaml"]
PROFILE = yaml.safe_load((chain.ROOT / "profiles/slurm/profile.yaml").read_text())
# How soon Snakemake asks how its jobs are: a cluster for many wants it less often.
SOON = ("--slurm-init-seconds-before-status-checks", "1")


@pytest.fixture
def slurm() -> Iterator[Slurm]:
    with contextlib.ExitStack() as stack:
        try:
            started = stack.enter_context(single_node_slurm.running())
        except single_node_slurm.CannotStart as reason:
            pytest.skip(str(reason))
        yield started


@contextlib.contextmanager
def snakemake(folder: Path, slurm: Slurm, *arguments: str) -> Iterator[subprocess.Popen]:
    """A running `snakemake --workflow-profile profiles/slurm ARGUMENTS`; what it says goes to `.said`."""
    command = [chain.SNAKEMAKE, "--workflow-profile", "profiles/slurm", *SOON, *arguments]
    told = {"cwd": folder, "env": {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **slurm.environment}}
    # Ctrl-C reaches it also where these tests run in a shell's background.
    heeding = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with (
        open(folder / ".said", "w") as words,
        subprocess.Popen(command, stdout=words, stderr=words, preexec_fn=heeding, **told) as run,
    ):
        try:
            yield run
        finally:
            run.kill()


def said(folder: Path) -> str:
    return (folder / ".said").read_text()[-5000:]


def wait_for(ready, run: subprocess.Popen, folder: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert run.poll() is None, said(folder)
        assert time.monotonic() < until, said(folder)
        time.sleep(0.1)


def one_thread_a_job(folder: Path) -> None:
    """The profile as the user of a small machine would change it."""
    threads = dict.fromkeys(PROFILE["set-threads"], 1)
    (folder / "profiles/slurm/profile.yaml").write_text(yaml.safe_dump({**PROFILE, "set-threads": threads}))


def rule(job: dict[str, str]) -> str:
    return re.match(r"rule_([a-z]+)", job["Comment"])[1]


def of(jobs: list[dict[str, str]], name: str) -> list[dict[str, str]]:
    """The jobs of one rule and wildcards, such as `finetune_wildcards_small_wanda_0` (an empty one adds `_`)."""
    return [job for job in jobs if job["Comment"].rstrip("_") == f"rule_{name}"]


def asked(job: dict[str, str]) -> dict:
    """What a job asks of SLURM, in the profile's words."""
    days, _, clock = job["TimeLimit"].rpartition("-")
    hours, minutes, _ = map(int, clock.split(":"))
    tres = dict(part.split("=") for part in job["TRES"].split(","))
    gibibytes = tres["mem"].endswith("G")
    return {
        "threads": int(job["MinCPUsNode"]),
        "mem_mb": round(float(tres["mem"][:-1]) * (1024 if gibibytes else 1)),
        "runtime": (int(days or 0) * 24 + hours) * 60 + minutes,
        "gpu": int((job.get("TresPerJob") or "gres:gpu:0").rpartition(":")[2]),
        "alone": job["OverSubscribe"] == "NO",
    }


def promised(name: str, attempt: int = 1, threads: int | None = None) -> dict:
    """What the profile says of a rule."""
    own = {**PROFILE["default-resources"], **PROFILE["set-resources"][name]}
    factor, _, memory = str(own["mem_mb"]).partition(" * ")
    assert factor == "attempt"
    return {
        "threads": threads or PROFILE["set-threads"].get(name, 1),
        "mem_mb": attempt * int(memory),
        "runtime": own["runtime"],
        "gpu": own.get("gpu", 0),
        "alone": "--exclusive" in own.get("slurm_extra", ""),
    }


def test_every_rule_that_slurm_runs_gets_more_memory_when_it_is_tried_again():
    text = "".join(map(Path.read_text, chain.ROOT.glob("workflow/rules/*.smk")))
    rules = set(re.findall(r"^(?:use rule \w+ as|rule) (\w+)(?: with)?:", text, re.M))
    local = {"report", "index", "leaderboard", "preview_page"}
    assert PROFILE["set-resources"].keys() == rules - local
    assert PROFILE["retries"] == 2
    for name in rules - local:
        assert promised(name, attempt=2)["mem_mb"] == 2 * promised(name)["mem_mb"]


def test_slurm_is_asked_for_what_the_profile_says_and_an_interrupted_run_takes_its_jobs_back(work, slurm):
    # Four stages that wait for nothing: of a new baseline, of a new scenario, and of a changed one.
    chain.write(work, "baselines/new.yaml", {**chain.CONFIG["baselines/digits.yaml"], "baseline": "new", "seed": 1})
    chain.write(work, "scenarios/other.yaml", {**SCENARIO, "scenario": "other", "baseline": "new"})
    chain.write(work, "scenarios/more.yaml", {**SCENARIO, "scenario": "more"})
    chain.write(work, "scenarios/small.yaml", {**SCENARIO, "benchmark": {**SCENARIO["benchmark"], "rounds": 4}})
    chain.write(work, "config.yaml", {"scenarios": ["small", "more", "other"]})
    slurm.call("scontrol", "update", "PartitionName=all", "State=DOWN")  # jobs are taken, and wait
    names = (
        "dataset_wildcards_new",
        "prune_wildcards_more_wanda",
        "prune_wildcards_more_random_seed-0",
        "benchmark_wildcards_small",
    )
    with snakemake(work, slurm) as run:
        wait_for(lambda: len(slurm.jobs()) == len(names), run, work, seconds=60)
        for name in names:
            (job,) = of(slurm.jobs(), name)
            assert asked(job) == promised(rule(job))
        run.send_signal(signal.SIGINT)
        run.wait(timeout=60)
    assert {job["JobState"] for job in slurm.jobs()} == {"CANCELLED"}


def trained(folder: Path, run: str) -> int:
    """How many epochs a fine-tuning has finished and kept."""
    return interruptions.epochs(folder).get(Path(run), 0)


def test_a_cancelled_fine_tuning_is_sent_again_with_more_memory_and_ends_like_an_undisturbed_one(work, slurm, tmp_path):
    chain.write(work, "scenarios/small.yaml", {**SCENARIO, "finetune": {"epochs": 60}})
    one_thread_a_job(work)
    undisturbed = chain.copy(work, tmp_path / "undisturbed")
    wanda, by_chance = (f"results/scenarios/small/{method}/seed-0" for method in ("wanda", "random"))
    targets = (f"{wanda}/metrics.json", f"{by_chance}/metrics.json")
    with snakemake(work, slurm, *targets) as run:
        wait_for(lambda: trained(work, wanda) >= 2, run, work, seconds=90)
        (job,) = of(slurm.jobs(), "finetune_wildcards_small_wanda_0")
        slurm.call("scancel", job["JobId"])
        done = chain.run(undisturbed, *targets)
        assert done.returncode == 0, done.stderr[-5000:]
        assert run.wait(timeout=300) == 0, said(work)
    first, second = of(slurm.jobs(), "finetune_wildcards_small_wanda_0")
    (only,) = of(slurm.jobs(), "finetune_wildcards_small_random_0")
    assert [job["JobState"] for job in (first, second, only)] == ["CANCELLED", "COMPLETED", "COMPLETED"]
    assert asked(first) == asked(only) == promised("finetune", threads=1)
    assert asked(second) == promised("finetune", attempt=2, threads=1)
    assert outcomes.differing(work, undisturbed) == []
    assert chain.plan(work, *targets) == set()


@pytest.mark.long
def test_demo_runs_whole_and_after_a_cancelled_fine_tuning_the_same_command_ends_it(tmp_path, slurm):
    folder = chain.lay_out(tmp_path / "demo")
    shutil.rmtree(folder / "config")
    shutil.copytree(chain.ROOT / "config", folder / "config")
    one_thread_a_job(folder)
    with snakemake(folder, slurm) as run:
        assert run.wait(timeout=3600) == 0, said(folder)
    jobs = slurm.jobs()
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert Counter(map(rule, jobs)) == {
        "dataset": 1, "baseline": 1, "calibrate": 1, "prune": 15, "finetune": 33, "benchmark": 1, "aggregate": 1,
    }  # fmt: skip
    for job in jobs:
        assert asked(job) == promised(rule(job), threads=1)
    (benchmark,) = of(jobs, "benchmark_wildcards_demo")
    for job in jobs:
        alone = job["EndTime"] <= benchmark["StartTime"] or benchmark["EndTime"] <= job["StartTime"]
        assert alone or job is benchmark
    assert chain.plan(folder) == set()

    again = chain.copy(folder, tmp_path / "again")
    shutil.rmtree(again / "results/scenarios/demo/wanda-0.3/seed-1")
    with snakemake(again, slurm, "--retries", "0") as run:
        wait_for(lambda: trained(again, "results/scenarios/demo/wanda-0.3/seed-1") >= 2, run, again, seconds=300)
        slurm.call("scancel", slurm.jobs()[-1]["JobId"])
        assert run.wait(timeout=600) == 1
    assert slurm.jobs()[-1]["JobState"] == "CANCELLED"
    assert trained(again, "results/scenarios/demo/wanda-0.3/seed-1") >= 2
    with snakemake(again, slurm) as run:
        assert run.wait(timeout=600) == 0, said(again)
    assert Counter(map(rule, slurm.jobs()[len(jobs) :])) == {"finetune": 2, "benchmark": 1, "aggregate": 1}
    assert outcomes.differing(folder, again) == []
