"""LABEL=PATH arguments: which file belongs to which variant and seed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from budama.errors import BudamaError


def paths(arguments: Iterable[str], option: str, more: str | None = None) -> dict[str, Path]:
    """{"wanda/seed-0": path, …} from "wanda/seed-0=path" arguments of a command-line option, in their order.

    `more` is a label that the option may have beside those.
    """
    found: dict[str, Path] = {}
    for argument in arguments:
        label, equals, path = argument.partition("=")
        variant, slash, seed = label.rpartition("/seed-")
        known = label == more or (slash and variant and seed.isdecimal())
        if not (equals and path and known):
            beside = f" or {more}=PATH" if more else ""
            raise BudamaError(f"{option} has {argument}; it must be VARIANT/seed-N=PATH{beside}")
        if label in found:
            raise BudamaError(f"{option} has {label} twice")
        found[label] = Path(path)
    return found


def label(variant: str, seed: int) -> str:
    """The label of a variant's seed."""
    return f"{variant}/seed-{seed}"
