"""Where a scenario's time goes: every job of a fresh run on a time axis, and what each rule's jobs spend it on.

    python benchmarks/timeline.py [SCENARIO] [--cores 2] [--figure docs/demo_timeline.svg] [--runs 1]

The scenario (default: demo) runs in a copy of the tree that holds no results. A job lasts from Snakemake's start of it
to Snakemake's note of its end. Its process says how long it imported and when it began and ended; what is left of the
job is starting and ending processes, and Snakemake itself. With several runs, the one of median length is shown.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "workflow/scripts"))
SOURCES = ("Snakefile", "workflow", "config", "profiles", "envs")
CHAIN = ("dataset", "baseline", "calibrate", "prune", "finetune", "export", "benchmark", "aggregate", "report", "index")
PHASES = {"imports": "#9aa5b1", "work": "#2f6f9f", "around": "#dfe3e8"}
RECORDER = '''"""Put on a job's PYTHONPATH: notes when its process began and ended, and how long it imported."""
import atexit, builtins, json, os, sys, time

began, plain, depth, seconds = time.time(), builtins.__import__, 0, 0.0


def timed(*args, **kwargs):
    global depth, seconds
    depth, started = depth + 1, time.perf_counter()
    try:
        return plain(*args, **kwargs)
    finally:
        depth -= 1
        if not depth:
            seconds += time.perf_counter() - started


def note():
    stage = os.path.basename(sys.argv[0]).removesuffix(".py")
    with open(os.environ["BUDAMA_TIMELINE"], "a") as file:
        file.write(json.dumps([stage, began, time.time(), seconds]) + "\\n")


builtins.__import__ = timed
atexit.register(note)
'''


@dataclass(frozen=True)
class Job:
    """Seconds since the command began; `imports` and `work` are parts of `end - start`."""

    rule: str
    start: float
    end: float
    imports: float
    work: float

    @property
    def around(self) -> float:
        return self.end - self.start - self.imports - self.work


@dataclass(frozen=True)
class Run:
    """Seconds of a whole command, and its jobs by their start."""

    seconds: float
    jobs: list[Job]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="?", default="demo")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [fresh(Path(folder, str(number)), args.scenario, args.cores) for number in range(args.runs)]
    middle = sorted(runs, key=lambda run: run.seconds)[(len(runs) - 1) // 2]
    every = ", ".join(f"{run.seconds:.1f}" for run in runs)
    print(f"{args.scenario}: {middle.seconds:.1f} s on {args.cores} cores of {machine()} ({every})")
    table(middle)
    if args.figure:
        figure(args.figure, args.scenario, args.cores, middle)


def fresh(folder: Path, scenario: str, cores: int) -> Run:
    """Run a scenario in a copy of the tree without results."""
    folder.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    # Bytecode is part of a finished set-up: a run in the tree itself has it.
    subprocess.run([sys.executable, "-m", "compileall", "-q", "workflow"], cwd=folder, check=True)
    command = [Path(sys.executable).with_name("snakemake"), "--cores", str(cores), "--quiet", "all"]
    began, started = time.time(), time.perf_counter()
    done = subprocess.run(
        [*command, "--config", f"scenarios={scenario}"],
        cwd=folder,
        env=recorded(folder),
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(done.stderr)
    return Run(seconds, jobs(folder, began))


def recorded(folder: Path) -> dict[str, str]:
    """The environment of a command whose jobs are noted in `folder`, for `jobs`."""
    place = folder / "recorder"
    place.mkdir()
    (place / "sitecustomize.py").write_text(RECORDER)
    return {**os.environ, "PYTHONPATH": str(place), "BUDAMA_TIMELINE": str(place / "processes.jsonl")}


def jobs(folder: Path, began: float) -> list[Job]:
    """The jobs of a recorded run since `began`. Snakemake keeps an entry for each output; a job has one log."""
    entries = [json.loads(path.read_text()) for path in (folder / ".snakemake/metadata").iterdir() if path.is_file()]
    kept = {tuple(entry["log"]): entry for entry in entries if entry["starttime"] and entry["starttime"] >= began}
    processes = [json.loads(line) for line in (folder / "recorder/processes.jsonl").read_text().splitlines()]
    found = []
    for entry in sorted(kept.values(), key=lambda entry: entry["starttime"]):
        inside = (p for p in processes if p[0] == entry["rule"] and p[1] >= entry["starttime"] - 0.1)
        process = min(inside, key=lambda process: process[1])
        processes.remove(process)  # two jobs of a rule that began together are alike enough to be exchanged
        _, start, end, imports = process
        found.append(
            Job(entry["rule"], entry["starttime"] - began, entry["endtime"] - began, imports, end - start - imports)
        )
    return found


def machine() -> str:
    from budama.jobs import provenance

    return f"{provenance.environment()['cpu']} ({platform.machine()})"


def table(run: Run) -> None:
    """A line a rule, in seconds: one of its jobs, and all of them by what they spend it on."""
    print("| rule | jobs | one, median | all | imports | work | around |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for rule in shown(run):
        own = [job for job in run.jobs if job.rule == rule]
        median = statistics.median(job.end - job.start for job in own)
        sums = [sum(job.end - job.start for job in own), *(total(own, phase) for phase in PHASES)]
        print(f"| {rule} | {len(own)} | {median:.1f} | " + " | ".join(f"{seconds:.1f}" for seconds in sums) + " |")
    print(f"No job ran for {run.seconds - busy(run.jobs):.1f} s.")


def shown(run: Run) -> list[str]:
    return [rule for rule in CHAIN if any(job.rule == rule for job in run.jobs)]


def total(jobs: list[Job], phase: str) -> float:
    return sum(getattr(job, phase) for job in jobs)


def busy(jobs: list[Job]) -> float:
    """Seconds in which at least one job runs."""
    seconds, until = 0.0, 0.0
    for job in jobs:
        seconds += max(0.0, job.end - max(job.start, until))
        until = max(until, job.end)
    return seconds


def figure(path: Path, scenario: str, cores: int, run: Run) -> None:
    """Jobs as bars in as many rows as ran at once; below, what each rule's jobs spend their time on."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "budama", "font.family": "sans-serif", "font.size": 8}
    fig, (above, below) = plt.subplots(2, figsize=(8, 4), height_ratios=(1, 2), layout="constrained")
    colours = dict(zip(CHAIN, plt.get_cmap("tab10").colors, strict=True))
    rows: list[float] = []
    for job in run.jobs:
        row = next((number for number, free in enumerate(rows) if free <= job.start + 0.05), len(rows))
        rows[row : row + 1] = [job.end]
        above.barh(row, job.end - job.start, left=job.start, color=colours[job.rule], edgecolor="white", linewidth=0.4)
    above.set(xlim=(0, run.seconds), yticks=[], xlabel="seconds since the command")
    rules = shown(run)
    left = [0.0] * len(rules)
    for phase, colour in PHASES.items():
        seconds = [total([job for job in run.jobs if job.rule == rule], phase) for rule in rules]
        words = {"imports": "imports", "work": "own work", "around": "start and end of processes, Snakemake"}
        below.barh(rules, seconds, left=left, color=colour, label=words[phase])
        left = [one + more for one, more in zip(left, seconds, strict=True)]
    for label, rule, end in zip(below.get_yticklabels(), rules, left, strict=True):
        label.set_color(colours[rule])
        count = sum(job.rule == rule for job in run.jobs)
        below.text(end, rule, f"  {end:.1f} s" + (f", {count} jobs" if count > 1 else ""), va="center")
    below.set(xlim=(0, 1.2 * max(left)), xlabel="seconds, summed over a rule's jobs")
    below.invert_yaxis()
    below.legend(frameon=False, loc="lower right")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    fig.suptitle(f"{scenario}: {run.seconds:.0f} s on {cores} cores of {machine()}, {date.today().isoformat()}")
    fig.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
