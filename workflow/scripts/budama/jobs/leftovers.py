"""What earlier runs of a scenario left on the disk: folders of variants and seeds that it no longer has."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

OURS = ("pruned", "pruning.json", "seed-*", "turn-*")  # a variant's folder holds one of these


def find(folder: Path, variants: Collection[str], seeds: Collection[int]) -> list[Path]:
    """The folders below a scenario's `folder` of other variants than `variants`, and of theirs with other `seeds`.

    Folders that no stage wrote are never among them.
    """
    own = {f"seed-{seed}" for seed in seeds}
    found = []
    for place in sorted(path for path in folder.glob("*") if path.is_dir() and any(any(path.glob(o)) for o in OURS)):
        if place.name not in variants:
            found.append(place)
        else:
            found += [path for path in sorted(place.glob("seed-*")) if path.is_dir() and path.name not in own]
    return found


def warnings(scenario: str, folder: Path, variants: Collection[str], seeds: Collection[int]) -> list[dict[str, Any]]:
    """The warning for a scenario's report, as results.json has warnings; none where nothing is left over."""
    found = [path.relative_to(folder).as_posix() for path in find(folder, variants, seeds)]
    return [{"code": "left_over", "scenario": scenario, "folders": found}] if found else []
