"""What a person is told when a run cannot be planned, or when one of its jobs has failed."""

import functools
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from budama import files
from budama.errors import BudamaError
from budama.jobs import runs
from budama.settings import stages

SAY_WHY = ("error: ", "Fatal Python error: ")
LAST_LINES = 25
# Before every command: the log of a job that a signal ended (a crash, the system's out-of-memory killer) says which.
# Ctrl-C and SIGTERM are meant, and a command that writes no log has none to say it in. Snakemake halves the braces.
SAY_WHICH_SIGNAL = (
    'set -euo pipefail; trap \'status=$?; log=${{BASH_COMMAND##* > }}; case "$status $log" in'
    ' "130 "*|"143 "*|*" $BASH_COMMAND") ;; "129 "*|1[3-9]?" "*)'
    ' echo "error: ended by the signal SIG$(kill -l $status)" >> "${{log%% *}}";; esac\' EXIT; '
)


def told(function: Callable) -> Callable:
    """The same function, of which a user's mistake ends the process with the mistake's lines, and no traceback."""

    @functools.wraps(function)
    def telling(*arguments, **keywords):
        try:
            return function(*arguments, **keywords)
        except BudamaError as error:
            sys.exit("\n".join(f"error: {line}" for line in error.lines))

    return telling


def explain(rule: str, log: str | Path, command: str) -> str:
    """Of a failed job: its errors, the end of its log, and the command that runs it by hand."""
    lines = [f"\n{rule} failed. The end of {log}:", *(f"    {line}" for line in end_of_log(log))]
    return "\n".join([*lines, f"To run it alone:\n    {command}"])


def end_of_log(log: str | Path) -> list[str]:
    """The errors in a log, wherever they stand, and its last lines: much may come after an error."""
    if not Path(log).exists():  # on a full disk
        return ["(there is no log)"]
    lines = Path(log).read_text(errors="replace").splitlines()
    return [*(line for line in lines[:-LAST_LINES] if line.startswith(SAY_WHY)), *lines[-LAST_LINES:]]


def by_hand(
    command: str,
    spec: str,
    scenario: str | None = None,
    baseline: str | None = None,
    variant: str | None = None,
    seed: int | None = None,
    rate: float | None = None,
    turn: int | None = None,
) -> str:
    """A stage's command with the names of its configuration in place of the spec, and without the log.

    Jobs find `python` in a path that Snakemake set; the command of a person names this Python.
    """
    command, _, _ = command.partition(" > ")
    if command.startswith("python "):
        command = shlex.quote(files.shown(sys.executable)) + command.removeprefix("python")
    names = _configuration(scenario, baseline)
    if _stage(command) in stages.VARIANT_STAGES:
        names += ["--variant", variant] if variant else []
        names += ["--seed", str(seed)] if seed is not None else []
        names += ["--turn", str(turn)] if turn is not None else []
        names += ["--rate", str(rate)] if rate is not None else []
    return command.replace(f"--spec {shlex.quote(spec)}", shlex.join(names))


def _configuration(scenario: str | None, baseline: str | None) -> list[str]:
    if scenario:
        return ["--scenario", runs.find_scenario(scenario).path.as_posix()]
    return ["--baseline", runs.find_baseline(baseline).path.as_posix()] if baseline else []


def _stage(command: str) -> str | None:
    """The name of the script that a command runs."""
    script = re.search(r"(\w+)\.py\b", command)
    return script[1] if script else None
