"""Which seeds of a variant count: those that gave a model of their own.

Two seeds whose fine-tuning kept epoch 0 hold the same model, byte by byte. It is one model, not two that agree: counted
twice, it would look like a variance of zero between seeds.
"""

from __future__ import annotations

from collections.abc import Hashable

from budama.results.labels import label as label_of
from budama.results.measured import Measured


def seeds(measured: Measured, variant: str) -> dict[int, list[int]]:
    """The measured seeds of a variant with a model of their own, each with the later seeds that gave the same one."""
    first: dict[Hashable, int] = {}
    found: dict[int, list[int]] = {}
    for seed in measured.measured_seeds(variant):
        owner = first.setdefault(_model(measured, variant, seed), seed)
        if owner == seed:
            found[seed] = []
        else:
            found[owner].append(seed)
    return found


def _model(measured: Measured, variant: str, seed: int) -> Hashable:
    """Equal for equal models: the digest of the tensors; each seed's own where no digest was written."""
    return measured.benchmarked(label_of(variant, seed)).get("sha256", seed)
