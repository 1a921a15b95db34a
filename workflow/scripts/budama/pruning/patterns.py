"""Layers by name or pattern, as a user writes them."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from budama.errors import BudamaError, did_you_mean


def matching(names: Iterable[str], pattern: str, key: str) -> list[str]:
    """The `names` of modules that `pattern` is: a dotted name (`layer1.0.conv1`) or a wildcard (`layer1.*`).

    One that matches nothing is a BudamaError about `key` with the nearest names.
    """
    known = [name for name in names if name]
    found = [name for name in known if name == pattern or fnmatch.fnmatchcase(name, pattern)]
    if not found:
        hint = did_you_mean(pattern, known, most=3)
        raise BudamaError(f"{key}: {pattern!r} matches no layer of the model; {hint}")
    return found


def with_all_below(names: Iterable[str], chosen: Iterable[str]) -> list[str]:
    """The `names` that are `chosen` or stand below one that is: a module's name stands for all that it holds."""
    above = set(chosen)
    return [name for name in names if any(part in above for part in _path(name))]


def _path(name: str) -> list[str]:
    """A module's name and those of all that hold it."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
