"""A copy of the workflow with a small configuration of its own, run and planned by the real Snakemake."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "workflow", "profiles", "envs", "requirements.lock")
SNAKEMAKE = Path(sys.executable).with_name("snakemake")

CONFIG = {
    "config.yaml": {"scenarios": ["small", "elsewhere"]},
    "baselines/digits.yaml": {
        "baseline": "digits",
        "model": {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8, "width": 8}},
        "data": {"name": "digits"},
        "calibration": {"batches": 2, "batch_size": 64},
        "train": {"epochs": 2, "learning_rate": 0.1},
    },
    "scenarios/small.yaml": {
        "scenario": "small",
        "baseline": "digits",
        "pruning": {"methods": ["wanda", "random"], "ratio": 0.3},
        "finetune": {"epochs": 1},
        "seeds": [0],
        "benchmark": {"rounds": 3, "warmup_rounds": 1, "throughput_batch_size": 8},
        "report": {"compare_with": ["elsewhere"]},
    },
    "scenarios/elsewhere.yaml": {"scenario": "elsewhere", "recorded": "elsewhere.json"},
}


def lay_out(folder: Path) -> Path:
    """The workflow and the small configuration in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        ignore = {"ignore": shutil.ignore_patterns("__pycache__")} if copy is shutil.copytree else {}
        copy(ROOT / part, folder / part, **ignore)
    for name, content in CONFIG.items():
        write(folder, name, content)
    recorded = ROOT / "config/scenarios/recorded/ts2.json"
    (folder / "config/scenarios/elsewhere.json").write_text(recorded.read_text().replace("TS2", "elsewhere"))
    return folder


def write(folder: Path, name: str, content: dict) -> None:
    """A file of the configuration, its keys in the order given."""
    path = folder / "config" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False, default_flow_style=None), encoding="utf-8")


def copy(folder: Path, to: Path) -> Path:
    """A copy of a whole working folder, times included."""
    return Path(shutil.copytree(folder, to, symlinks=True, ignore=shutil.ignore_patterns("log", "__pycache__")))


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run `snakemake --cores 2 ARGUMENTS` in `folder`, as a user would."""
    command = [str(SNAKEMAKE), "--cores", "2", *arguments]
    told = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run(command, cwd=folder, env=told, capture_output=True, text=True, timeout=3600)


def plan(folder: Path, *arguments: str) -> set[str]:
    """The jobs that `snakemake --dry-run ARGUMENTS` would run: `prune wanda`, `finetune random/seed-0`, `dataset`.

    Snakemake is imported once and forked for every plan, which makes a plan a second instead of five.
    """
    import snakemake.cli

    shown = folder / ".plan"
    child = os.fork()
    if child == 0:
        status = 70
        try:
            out = os.open(shown, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.chdir(folder)
            for name in [name for name in sys.modules if name.partition(".")[0] == "budama"]:
                del sys.modules[name]
            snakemake.cli.main(["--dry-run", "--cores", "2", *arguments])
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status or 0)
    _, ended = os.waitpid(child, 0)
    text = shown.read_text()
    assert os.waitstatus_to_exitcode(ended) == 0, text
    return jobs(text)


def jobs(text: str) -> set[str]:
    """The jobs that Snakemake's words name, by rule and by variant and seed; of a second scenario, by its name too."""
    found = set()
    for block in re.split(r"\n(?=\[)", text):
        rule = re.search(r"^(?:local)?rule (\w+):$", block, re.MULTILINE)
        if rule and rule[1] != "all":
            wildcards = dict(re.findall(r"(\w+)=([^,\s]+)", (re.search(r"wildcards: (.*)", block) or ["", ""])[1]))
            where = wildcards.get("place") or "/seed-".join(filter(None, map(wildcards.get, ("variant", "seed"))))
            owner = [wildcards.get(key) for key in ("scenario", "baseline") if wildcards.get(key)]
            where += wildcards.get("run", "")
            names = [rule[1], *(name for name in owner if name not in ("small", "digits")), where]
            found.add(" ".join(filter(None, names)))
    return found
