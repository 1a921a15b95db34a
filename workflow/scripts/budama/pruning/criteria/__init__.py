"""The pruning methods: how much a channel of a dependency group is worth. Higher is kept.

A method is one class with `score`, in the registry `CRITERIA`. `Criterion.importance` gives Torch-Pruning's kind of
callable: a group to one score a channel of its root.
"""

from budama.errors import BudamaError, did_you_mean
from budama.pruning.criteria.base import Criterion, Unavailable
from budama.pruning.criteria.controls import Random, Scratch
from budama.pruning.criteria.data import Coverage, Hessian, Taylor, Wanda
from budama.pruning.criteria.weights import FPGM, LAMP, BNScale, Magnitude

__all__ = ["CRITERIA", "Criterion", "Unavailable", "get"]

CRITERIA: dict[str, Criterion] = {
    criterion.name: criterion
    for criterion in (
        Coverage(), Wanda(), Magnitude(), Taylor(), Random(), Scratch(), FPGM(), BNScale(), LAMP(), Hessian()
    )
}  # fmt: skip


def get(name: str) -> Criterion:
    """The method of this name; BudamaError with the nearest known one where there is none."""
    if name in CRITERIA:
        return CRITERIA[name]
    raise BudamaError(f"pruning.methods: there is no method {name}; {did_you_mean(name, CRITERIA)}")
