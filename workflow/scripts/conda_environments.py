"""Write envs/*.yaml from requirements.lock: the packages that each environment's stages import, and what those need.

conda brings Python and pip alone; every other package is pinned in the `pip:` list, so that the versions are the same
with and without --use-conda.
"""

import re
from pathlib import Path

from budama import files
from budama.jobs import code_digest, command_line, provenance

ENVS = provenance.ROOT / "envs"
STAGES = {
    "torch": (
        "dataset",
        "baseline",
        "calibrate",
        "prune",
        "finetune",
        "benchmark",
        "export",
        "preview",
        "widths",
        "layer_times",
    ),
    "report": ("aggregate", "report", "index", "preview_page"),
}
# What torch.onnx imports to export a model.
UNSEEN = {"export": frozenset({"onnx", "onnxscript"})}
# What is used where a user has installed it.
OPTIONAL = frozenset({"openvino"})
HEADER = "# {stages}. Generated from requirements.lock by `make envs`; a test compares them.\n"


def main() -> None:
    command_line.parser(__doc__).parse_args()
    for name, text in environments().items():
        files.write_text(ENVS / name, text)


def environments() -> dict[str, str]:
    """The text of every environment file, by its name."""
    return {f"{name}.yaml": _environment(stages) for name, stages in STAGES.items()}


def imported(stage: str) -> frozenset[str]:
    """Top-level names of the packages that a stage imports.

    Of the command line, what reading settings takes: choosing a device takes torch, which the stages that do it have
    anyway.
    """
    return (
        code_digest.packages(stage, leave_out=("budama.jobs.command_line",))
        | code_digest.packages("budama/settings/stages", leave_out=())
        | UNSEEN.get(stage, frozenset())
    ) - OPTIONAL


def _environment(stages: tuple[str, ...]) -> str:
    pins = provenance.locked()
    wanted = _with_what_they_need({provenance.distribution(name) for stage in stages for name in imported(stage)})
    return (
        HEADER.format(stages=", ".join(stages))
        + "channels:\n  - conda-forge\n  - nodefaults\ndependencies:\n  - python =3.11\n  - pip\n  - pip:\n"
        + "".join(f"      - {name}=={pins[name]}\n" for name in sorted(wanted))
    )


def _with_what_they_need(names: set[str]) -> set[str]:
    """`names` and all packages that they depend on, which the lock's `# via` lines tell the other way round."""
    needs: dict[str, set[str]] = {}
    for name, users in _users().items():
        for user in users:
            needs.setdefault(user, set()).add(name)
    reached, ahead = set(), list(names)
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += needs.get(name, ())
    return reached


def _users() -> dict[str, list[str]]:
    """Who needs each package, by its name in the lock."""
    blocks = re.split(r"^(?=[a-z0-9])", Path(provenance.LOCK).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        block.partition("==")[0]: re.findall(r"^    #(?: via|  ) ([a-z0-9][a-z0-9._-]*)", block, re.MULTILINE)
        for block in blocks
        if "==" in block
    }


if __name__ == "__main__":
    command_line.run(main)
