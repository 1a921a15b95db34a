"""Where a scenario's time goes: every job of a fresh run on a time axis, and what each rule costs in all.

    python benchmarks/timeline.py [SCENARIO] [--cores 2] [--figure timeline.svg] [--runs 1]

The scenario (default: demo) runs in a copy of the tree that holds no results. Times of jobs are those that Snakemake
keeps; "imports" is what loading a rule's libraries takes in a process that does nothing else, times its jobs. With
several runs each figure is the median.
"""

import argparse
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ("Snakefile", "workflow", "config", "profiles", "envs")
CHAIN = ("dataset", "baseline", "calibrate", "prune", "finetune", "export", "benchmark", "aggregate", "report", "index")
LOADED = {  # what a stage's process has loaded when its own work begins
    "torch": ("dataset", "calibrate", "export"),
    "torch, torch._dynamo": ("baseline", "finetune", "benchmark"),  # optimizers and torchvision load the latter
    "torch, torch_pruning": ("prune",),
    "pandas, matplotlib": ("aggregate", "report"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="?", default="demo")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    runs = [run(args.scenario, args.cores) for _ in range(args.runs)]
    whole = [seconds for seconds, _ in runs]
    print(
        f"{args.scenario}: {statistics.median(whole):.1f} s on {args.cores} cores ("
        + ", ".join(f"{s:.1f}" for s in whole)
        + ")"
    )
    table(runs)
    if args.figure:
        figure(args.figure, args.scenario, runs[whole.index(statistics.median_low(whole))])


def run(scenario: str, cores: int) -> tuple[float, list[tuple[str, float, float]]]:
    """Seconds of the whole command, and (rule, start, end) of its jobs, in seconds since the command began."""
    with tempfile.TemporaryDirectory() as folder:
        for name in SOURCES:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder)
        # Bytecode is part of a finished set-up: a run in the tree itself has it.
        subprocess.run([sys.executable, "-m", "compileall", "-q", "workflow"], cwd=folder, check=True)
        snakemake = Path(sys.executable).with_name("snakemake")
        command = [str(snakemake), "--cores", str(cores), "--quiet", "all", "--config", f"scenarios={scenario}"]
        began, started = time.time(), time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if done.returncode:
            sys.exit(done.stderr)
        kept = [
            json.loads(path.read_text()) for path in Path(folder, ".snakemake/metadata").iterdir() if path.is_file()
        ]
    jobs = {(job["rule"], job["starttime"] - began, job["endtime"] - began) for job in kept if job.get("starttime")}
    return seconds, sorted(jobs, key=lambda job: job[1])


def table(runs) -> None:
    imports = {rule: seconds for names, rules in LOADED.items() for seconds in [loading(names)] for rule in rules}
    print("| rule | jobs | seconds in all | of one, median | imports in all |")
    print("|---|---:|---:|---:|---:|")
    for rule in CHAIN:
        mine = [[end - start for name, start, end in jobs if name == rule] for _, jobs in runs]
        if not mine[0]:
            continue
        whole, one = statistics.median(map(sum, mine)), statistics.median(itertools.chain(*mine))
        loads = f"{len(mine[0]) * imports[rule]:.1f}" if rule in imports else ""
        print(f"| {rule} | {len(mine[0])} | {whole:.1f} | {one:.1f} | {loads} |")
    idle = statistics.median(seconds - busy(jobs) for seconds, jobs in runs)
    print(f"| no job runs | | {idle:.1f} | | |")


def busy(jobs) -> float:
    """Seconds in which at least one job runs."""
    total, until = 0.0, 0.0
    for _, start, end in jobs:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def loading(names: str) -> float:
    """Seconds in which a new process imports `names`; the median of three."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {names}"], check=True, env={"OMP_NUM_THREADS": "1"})
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def figure(path: Path, scenario: str, run) -> None:
    """Jobs as bars, in as many rows as ran at once."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    seconds, jobs = run
    colours = dict(zip(CHAIN, plt.get_cmap("tab10").colors, strict=True))
    fig, axes = plt.subplots(figsize=(9, 2.2), layout="constrained")
    rows: list[float] = []
    for rule, start, end in jobs:
        row = next((number for number, free in enumerate(rows) if free <= start + 0.05), len(rows))
        rows[row : row + 1] = [end]
        axes.barh(row, end - start, left=start, height=0.8, color=colours[rule], edgecolor="white", linewidth=0.4)
    shown = [rule for rule in CHAIN if any(job[0] == rule for job in jobs)]
    axes.legend(
        [plt.Rectangle((0, 0), 1, 1, color=colours[rule]) for rule in shown], shown,
        loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=len(shown), frameon=False, fontsize=8,
    )  # fmt: skip
    axes.set(
        xlim=(0, seconds), yticks=[], xlabel="seconds", title=f"{scenario}: {seconds:.0f} s, a row a job at a time"
    )
    fig.savefig(path)


if __name__ == "__main__":
    main()
