"""Every image's split: by the data set's own parts where it has them, else by content; no image stands in two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from budama.data import splits
from budama.data.pool import Pool
from budama.errors import BudamaError

if TYPE_CHECKING:
    from budama.data.manifest import Duplicates

SELECTION_SHARE = 0.1  # of the training images
TEST_SHARE = 0.2  # of images that come without a test set


def divide(pool: Pool, data: dict[str, Any], seed: int) -> tuple[dict[str, np.ndarray], Duplicates]:
    """Rows of the pool by split, and what was done about test images that also stand among the training images."""
    rows = np.arange(len(pool.digests))
    if pool.test is None:
        share = TEST_SHARE if data["test"] is None else data["test"]
        wanted = splits.wanted_images(share, len(rows), "data.test")
        test = splits.choose(pool.digests, pool.labels, wanted, seed, "test")
    elif data["test"] is not None:
        raise BudamaError(f"data.test is {data['test']}, but {pool.place} holds its own test images; it must be null")
    else:
        test = pool.test
    own = pool.selection
    held = [test] if own is None else [test, own & ~test]
    copies = _copies(pool, held)
    duplicates = _duplicates(pool, data, held, copies)
    rest = rows[~test & ~copies]
    if own is None:
        share = SELECTION_SHARE if data["selection"] is None else data["selection"]
        wanted = splits.wanted_images(share, len(rest), "data.selection")
        chosen = splits.choose(pool.digests[rest], pool.labels[rest], wanted, seed, "selection")
    elif data["selection"] is not None:
        folder = pool.parts["selection"]
        raise BudamaError(
            f"data.selection is {data['selection']}, but {pool.place} holds its own images for it ({folder}/); "
            "it must be null"
        )
    else:
        chosen = own[rest]
    train, selection = rest[~chosen], rest[chosen]
    if min(len(train), len(selection), test.sum()) == 0:
        counts = f"train {len(train)}, selection {len(selection)}, test {test.sum()}"
        raise BudamaError(f"{pool.place}: too few images to split ({counts}); every split needs at least one")
    return {"train": train, "selection": selection, "test": rows[test]}, duplicates


def _copies(pool: Pool, held: list[np.ndarray]) -> np.ndarray:
    """Which images also stand in a split before theirs, bool [N]; `held`: the first splits, bool [N] each."""
    copies, before = np.zeros(len(pool.digests), dtype=bool), np.zeros(len(pool.digests), dtype=bool)
    for split in held:
        before |= split
        copies |= ~before & np.isin(pool.digests, pool.digests[split])
    return copies


def _duplicates(pool: Pool, data: dict, held: list[np.ndarray], copies: np.ndarray) -> Duplicates:
    policy = data["duplicates"] or ("refuse" if data["name"] == "image_folder" else "drop")
    originals: dict[int, int] = {}
    for split in reversed(held) if copies.any() else ():
        originals |= dict(zip(pool.digests[split].tolist(), np.flatnonzero(split).tolist(), strict=True))
    pairs = [
        {"train": pool.name(row), "test": pool.name(originals[int(pool.digests[row])])}
        for row in np.flatnonzero(copies)[: splits.EXAMPLES]
    ]
    if pairs and policy == "refuse":
        named = "; ".join(f"{pair['train']} = {pair['test']}" for pair in pairs)
        where = "test set" if len(held) == 1 else "test or validation set"
        raise BudamaError(
            f"{pool.place}: {copies.sum()} training images also stand in the {where} ({named});"
            " remove them, or set data.duplicates: drop"
        )
    _, first = np.unique(pool.digests, return_index=True)
    return {"policy": policy, "dropped": int(copies.sum()), "examples": pairs, "copies": len(pool.digests) - len(first)}
