"""The gate against leftover hooks.

The published TS2 and TS3 tables showed two methods fifty times slower than the rest: their activation hooks were still
on the model and copied every activation to the host during timing. A model with a hook is therefore refused wherever it
is pruned, exported or timed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from budama.errors import BudamaError

if TYPE_CHECKING:
    from torch import nn

# Attributes of torch.nn.Module that hold callables run by forward and backward passes.
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def check_no_hooks(model: nn.Module) -> None:
    """Refuse a model on which any module, or any parameter's gradient, still carries a hook.

    Raises:
        BudamaError: names the modules (and how many) that carry one.
    """
    found = [
        f"{name or 'the model itself'} ({kind.strip('_')})"
        for name, module in model.named_modules()
        for kind in _HOOKS
        if getattr(module, kind, None)
    ]
    found += [f"{name} (gradient hook)" for name, parameter in model.named_parameters() if parameter._backward_hooks]
    if found:
        shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        raise BudamaError(f"{type(model).__name__}: a hook was left on {shown}; remove it before this model is used")
