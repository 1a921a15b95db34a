"""What is said of differences, as results.json has it.

`of` is what a claim speaks of: "methods" where it holds over seeds, "models" where there is one training of each. `p`
is of this test alone, `p_holm` corrected over all that are asked together, and `interval` belongs to the corrected
claim: it excludes 0 exactly where `distinguishable` is true. Points are percentage points of accuracy.
"""

from __future__ import annotations

from typing import Literal, TypedDict

Of = Literal["methods", "models"]
Test = Literal["two_level", "mcnemar", "two_proportion"]


class Claim(TypedDict):
    """What every tested difference has."""

    difference_points: float
    interval: list[float] | None
    p: float
    p_holm: float
    distinguishable: bool | None
    test: Test
    of: Of | None  # None in results of earlier versions
    seeds: int | None


class Comparison(Claim):
    """Two variants of one ratio; `a` is the more accurate. The correction is over all pairs of that ratio."""

    a: str
    b: str
    ratio: float | None


class AgainstOriginal(Claim):
    """A variant minus the model that was not pruned, as it is or fine-tuned as the variant was. The correction is over
    the variants of its ratio."""

    variant: str
    ratio: float | None


class AgainstRandom(Claim):
    """A variant minus pruning at random, on the selection images, before fine-tuning. Corrected over the variants."""

    variant: str
    stage: str
    random_percent: float


class EachModel(TypedDict):
    """Whether each of a variant's models differs from the original, all in one direction (see `each_model`). The
    correction is over the variants of its ratio."""

    change_points: float
    p_holm: float
    distinguishable: bool
    models: int


class Group(TypedDict):
    """Variants of one ratio that cannot be told apart from the first; `rank` is the first's place. `tie_p_holm` is the
    corrected p of the member least like the first; None for a group of one, or where nothing was tested."""

    rank: int
    ratio: float | None
    variants: list[str]
    tie_p_holm: float | None
