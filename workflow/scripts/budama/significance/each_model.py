"""Differences whose error over images is known model by model, but not what they are over seeds.

A claim is then one about all of the trained models: each of them differs from the reference, and all in the same
direction. It is the intersection–union test (Berger 1982): the p of the whole is the largest p of its parts, so it is
right as often as each part is. It says nothing of a further training.
"""

from __future__ import annotations

from collections.abc import Sequence

from scipy import stats

from budama.significance.claims import EachModel
from budama.significance.differences import SIGNIFICANCE, holm

Change = tuple[float, float]  # a model's difference in points, and the standard error of that over images


def claims(variants: Sequence[Sequence[Change]]) -> list[EachModel]:
    """One claim a variant, of its models' changes; Holm's correction is over the variants, which are of one ratio."""
    corrected = holm([p(changes) for changes in variants])
    return [
        {
            "change_points": sum(change for change, _ in changes) / len(changes),
            "p_holm": p_holm,
            "distinguishable": p_holm < SIGNIFICANCE,
            "models": len(changes),
        }
        for changes, p_holm in zip(variants, corrected)
    ]


def p(changes: Sequence[Change]) -> float:
    """Two-sided, normal: that each of these models differs from the reference, all in one direction."""
    if len({change > 0 for change, _ in changes}) > 1:
        return 1.0
    return max(_single(change, error) for change, error in changes)


def _single(change: float, error: float) -> float:
    if not change:
        return 1.0
    return float(2 * stats.norm.sf(abs(change) / error)) if error else 0.0
