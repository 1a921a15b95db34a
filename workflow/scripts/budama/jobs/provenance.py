"""What a result came from: the spec that decides whether it is fresh, and its machine. Free of torch."""

import json
import platform
import re
import subprocess
from contextlib import suppress
from datetime import datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from budama import machine
from budama.jobs import code_digest

ROOT = Path(__file__).parents[4]
LOCK = ROOT / "requirements.lock"
COPIED = ROOT / ".commit"  # which workflow/rules/location.smk leaves in a copy of a commit

# Where the name on the package index is not the imported one with "-" for "_".
DISTRIBUTIONS = {
    "PIL": "pillow",
    "markdown_it": "markdown-it-py",
    "pynvml": "nvidia-ml-py",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
# They show, check or look around: another version of them changes no result.
DECIDE_NOTHING = ("jsonschema", "psutil", "pynvml", "tqdm", "yaml")


def spec(stage: str, settings: dict, facts: dict | None = None) -> str:
    """All that decides a stage's result besides its input files: JSON with sorted keys, equal texts for equal things.

    `settings` as `stages.stage_settings` gives them; `code` is a digest of the stage's script and of what it imports;
    `packages` the versions that decide its numbers; `facts` digests of the user's own files (`user_files.facts`).
    """
    unneeded = code_digest.unneeded(settings)
    code = code_digest.digest(stage, unneeded)
    value = {"settings": settings, "code": code, "packages": packages(stage, unneeded), **(facts or {})}
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@cache
def packages(stage: str, unneeded: tuple[str, ...] = ()) -> dict[str, str]:
    """The versions of the packages that decide a stage's numbers, by distribution; `unneeded` modules import none."""
    found = code_digest.packages(stage, (*code_digest.OUTSIDE, *unneeded))
    names = sorted(distribution(name) for name in found if name not in DECIDE_NOTHING)
    return {name: version(name) for name in names}


def distribution(module: str) -> str:
    """The name under which a module's package is installed."""
    return DISTRIBUTIONS.get(module, module.replace("_", "-"))


@cache
def version(name: str) -> str:
    """The version of a package here; where it is not installed (as jobs run in conda environments), the lock's."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return locked().get(name, "none")


@cache
def locked() -> dict[str, str]:
    """The pinned versions in requirements.lock, by distribution."""
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE))


def environment() -> dict:
    """The machine, the versions and the commit that a result was made with, for metrics and reports."""
    gpus = machine.gpus()
    return {
        "python": platform.python_version(),
        "torch": version("torch"),
        "packages": {name: version(name) for name in ("numpy", "torch-pruning", "torchvision")},
        "platform": platform.platform(),
        "cpu": machine.cpu(),
        "cores": len(machine.cores()),
        "memory_gib": machine.memory_gib(),
        "gpu": gpus[0] if gpus else None,
        "gpus": len(gpus),
        "git_commit": _commit(),
        "date": datetime.now().astimezone().date().isoformat(),
    }


def _commit() -> str | None:
    """The commit of this workflow, `-dirty` where its files differ from it; null outside git."""
    if COPIED.is_file():
        return COPIED.read_text(encoding="utf-8").strip()
    with suppress(OSError, subprocess.SubprocessError):
        described = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
        return described.stdout.strip() or None
    return None
