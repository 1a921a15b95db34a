"""How long Snakemake plans: a sweep of 1,000 fine-tuning runs, on one baseline.

    python benchmarks/plan_time.py

Each time is of a whole `snakemake --dry-run` in its own process, imports included: 6.2 s for 1,000 runs (1,118 jobs)
on two cores of an AMD EPYC, Snakemake 9.27.1; 4.4 s for 25.
"""

import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/workflow"))

import chain

METHODS, RATIOS = ["wanda", "magnitude", "taylor", "coverage", "fpgm"], [0.1, 0.2, 0.3, 0.4, 0.5]


def sweep(folder: Path, scenarios: int, seeds: int) -> None:
    """Scenarios of 25 variants each, all on the baseline `digits`."""
    names = [f"sweep{number}" for number in range(scenarios)]
    for number, name in enumerate(names):
        pruning = {"methods": METHODS, "ratio": RATIOS, "max_ratio": 0.9 - number / 100}
        content = {**chain.CONFIG["scenarios/small.yaml"], "scenario": name, "pruning": pruning}
        chain.write(folder, f"scenarios/{name}.yaml", {**content, "seeds": list(range(seeds))})
    chain.write(folder, "config.yaml", {"scenarios": names})


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    print("fine-tuning runs  jobs  seconds  of CPU")
    with tempfile.TemporaryDirectory() as folder:
        bare = chain.lay_out(Path(folder, "bare"))
        for scenarios, seeds in ((1, 1), (1, 4), (4, 4), (4, 10)):
            sweep(bare, scenarios, seeds)
            start, used = time.perf_counter(), cpu_seconds()
            command = [str(chain.SNAKEMAKE), "--dry-run", "--quiet", "all"]
            done = subprocess.run(command, cwd=bare, capture_output=True, text=True, check=True)
            seconds = time.perf_counter() - start
            total = re.findall(r"^total\s+(\d+)", done.stdout + done.stderr, re.MULTILINE)[-1]
            print(f"{scenarios * seeds * 25:16}  {total:>4}  {seconds:7.1f}  {cpu_seconds() - used:6.1f}")


if __name__ == "__main__":
    main()
