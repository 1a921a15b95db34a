"""Whether a baseline's weights file fits its model, asked while Snakemake plans: before any image is read.

That takes the model, thus torch, and some seconds in a process of its own; what fitted is remembered in
`.cache/fingerprints`. Where torch is not installed beside Snakemake, or the model cannot be built there, the baseline's
own job tells it.
"""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from budama import files
from budama.errors import BudamaError
from budama.jobs import code_digest, user_files
from budama.settings import stages
from budama.settings.stages import Baseline

PROGRAM = "budama.networks.weight_check"
LONGEST = 120  # seconds; a model that takes longer to build is left to its job
OURS = ("model.weights", "train.epochs")  # lines that speak of the file, and not of this environment


def check(baseline: Baseline) -> None:
    """Raise BudamaError, with the baseline's file, where its weights do not fit its model."""
    wanted = baseline.model["weights"]
    if not wanted or not files.names_weights(wanted) or importlib.util.find_spec("torch") is None:
        return
    settings = stages.stage_settings("baseline", baseline=baseline)
    asked = {
        "model": settings["model"],
        "data": stages.stage_settings("dataset", baseline=baseline)["data"],
        "seed": settings["seed"],
        "epochs": settings["train"]["epochs"],
    }
    decided_by = {
        **asked,
        **user_files.facts("baseline", settings, baseline.path),
        "code": code_digest.code(_program()),
    }
    key = hashlib.sha256(json.dumps(decided_by, sort_keys=True).encode()).hexdigest()[:16]
    remembered = user_files.REMEMBERED / f"fits-{key}.json"
    if remembered.exists():
        return
    lines = _asked_of_a_process(json.dumps(asked), key)
    if lines:
        raise BudamaError(*(f"{baseline.path}: {line}" for line in lines))
    with suppress(BudamaError, OSError):  # a folder that cannot be written costs time, not the run
        files.write_json(remembered, asked)


@cache
def _asked_of_a_process(asked: str, key: str) -> list[str]:
    """What is wrong with the weights, asked once a `key`; nothing where they fit, or where it cannot be known here."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(code_digest.SCRIPTS), os.getenv("PYTHONPATH", "")])}
    try:
        done = subprocess.run(
            [sys.executable, "-m", PROGRAM, asked], env=environment, capture_output=True, text=True, timeout=LONGEST
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    for line in done.stderr.splitlines():
        if "model.weights_key" in line:  # which of several sets was taken
            print(line, file=sys.stderr)
    return [line for line in done.stdout.splitlines() if line.startswith(OURS)]


def _program() -> Path:
    return code_digest.SCRIPTS / (PROGRAM.replace(".", "/") + ".py")
