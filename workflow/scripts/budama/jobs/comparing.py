"""Which scenarios a report compares with, and which of them a run brings up to date."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from budama.jobs import runs


def asked_for(targets: Iterable[str], chosen: Iterable[str]) -> set[str]:
    """The scenarios that a run is for: those that its targets name (paths, or `rule:scenario=NAME`), or the chosen."""
    found = re.findall(rf"(?:{runs.SCENARIOS}|{runs.REPORTS})/([^/\s]+)/|scenario=([^,\s]+)", " ".join(targets))
    return {one or other for one, other in found} or set(chosen)


def compared(scenario: str, asked_for: Collection[str]) -> tuple[list[str], list[str]]:
    """Results of the scenarios that a report compares with, in two lists.

    The first are those that this run brings up to date, since they were asked for, or were recorded and cost nothing;
    the second are others as they are on the disk. Asking for one scenario never computes another; one without results
    is left out.
    """
    fresh, as_they_are = [], []
    for name in runs.find_scenario(scenario).report["compare_with"]:
        results = f"{runs.SCENARIOS}/{name}/results.json"
        if name in asked_for or runs.find_scenario(name).recorded is not None:
            fresh.append(results)
        elif Path(results).exists():
            as_they_are.append(results)
    return fresh, as_they_are
