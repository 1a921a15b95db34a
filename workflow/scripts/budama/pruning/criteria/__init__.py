"""The pruning methods: how much a channel of a dependency group is worth. Higher is kept.

A method is one class in a module of this package, with its row of `budama.methods` and a `score`.
`Criterion.importance` gives Torch-Pruning's kind of callable: a group to one score a channel of its root.
"""

from budama.errors import BudamaError, did_you_mean
from budama.methods import METHODS
from budama.pruning.criteria import controls, data, moments, weights
from budama.pruning.criteria.base import Criterion, Unavailable

__all__ = ["CRITERIA", "Criterion", "Unavailable", "get"]

_CLASSES = {
    found.method.name: found
    for module in (controls, data, moments, weights)
    for found in vars(module).values()
    if isinstance(found, type) and issubclass(found, Criterion) and hasattr(found, "method")
}
CRITERIA: dict[str, Criterion] = {name: _CLASSES[name]() for name in METHODS}


def get(name: str) -> Criterion:
    """The method of this name; BudamaError with the nearest known one where there is none."""
    if name in CRITERIA:
        return CRITERIA[name]
    raise BudamaError(f"pruning.methods: there is no method {name}; {did_you_mean(name, CRITERIA)}")
