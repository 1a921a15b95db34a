"""A model from a checkpoint's recipe, and what pruning changed in it: attributes and tensors, read and put back."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from budama.errors import BudamaError
from budama.networks import models, trial

TENSORS, STRUCTURE = "model.safetensors", "structure.json"  # a checkpoint's files
_TRANSIENT = ("training", "_is_full_backward_hook")


def unpruned(recipe: dict) -> nn.Module:
    """The unpruned architecture, as fast as it can be: without storage where possible, else without initialisation."""
    arguments = (recipe["model"], recipe["classes"], recipe["input_shape"])
    try:
        with torch.device("meta"), _NoInitialisation(), trial.without_values():
            model = models.build(*arguments, weights=False)
        if not any(tensor.is_meta for tensor in _plain_tensors(model)):
            return model
    except Exception:
        pass  # a constructor that computes with values, say a schedule of drop rates
    with _NoInitialisation(), trial.without_values():
        return models.build(*arguments, weights=False)


class _NoInitialisation(torch.overrides.TorchFunctionMode):
    """Skips torch.nn.init and random numbers: the values are about to be replaced.

    (Where there is no storage, torch imports its compiler, for a second, to draw numbers that nobody will see.)
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(function, "__module__", None) == "torch.nn.init" or function in _RANDOM:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return function(*args, **kwargs)


_RANDOM = (torch.Tensor.normal_, torch.Tensor.uniform_)  # what initialisation draws, and leaves in its argument


def _plain_tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    """Tensors that a module keeps outside its parameters and buffers, where no checkpoint reaches them."""

    def inside(value) -> Iterator[torch.Tensor]:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            for item in value:
                yield from inside(item)
        elif isinstance(value, dict):
            yield from inside(list(value.values()))

    for module in model.modules():
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                yield from inside(value)


def named_tensors(model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Parameters and all buffers by name, each tensor once; and `alias: name` for those that stand there twice."""
    tensors: dict[str, torch.Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[int, str] = {}
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    for name, tensor in named:
        if id(tensor) in first:
            aliases[name] = first[id(tensor)]
        else:
            first[id(tensor)] = name
            tensors[name] = tensor
    return tensors, aliases


def _simple(value) -> bool:
    if isinstance(value, list | tuple):
        return all(_simple(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _attributes(module: nn.Module) -> dict:
    return {name: value for name, value in vars(module).items() if name not in _TRANSIENT and _simple(value)}


def changed_attributes(model: nn.Module, fresh: nn.Module) -> dict[str, dict]:
    """Numbers, texts and tuples of them that differ from a fresh build, by module and name."""
    before, after = dict(fresh.named_modules()), dict(model.named_modules())
    if list(before) != list(after):
        which = sorted(set(before) ^ set(after)) or ["their order"]
        raise BudamaError(f"the model's layers are not those of its recipe: {', '.join(which[:3])}")
    changed = {}
    for name, module in after.items():
        old = _attributes(before[name])
        new = {key: value for key, value in _attributes(module).items() if key not in old or old[key] != value}
        if new:
            changed[name] = new
    return changed


def set_attributes(model: nn.Module, attributes: dict[str, dict]) -> None:
    modules = dict(model.named_modules())
    for name, values in attributes.items():
        if name not in modules or not isinstance(values, dict):
            raise BudamaError(f"structure.json names a layer {name!r} that the model of its recipe does not have")
        for key, value in values.items():
            if not _simple(value) or callable(getattr(modules[name], key, None)):
                raise BudamaError(f"structure.json: {name}.{key} cannot be {json.dumps(value)[:60]}")
            if isinstance(value, list) and not isinstance(getattr(modules[name], key, ()), list):
                value = tuple(value)
            setattr(modules[name], key, value)


def strides(tensors: dict[str, torch.Tensor]) -> dict[str, list[int]]:
    """How each tensor lies in memory that does not lie in the order of its dimensions.

    Kernels choose by it, and with it the last bit of an output may change. It is kept of each tensor by itself, for in
    one model some may be channels_last (those that pruning did not touch, say) and others not. A dimension of one
    element counts, too: a 1 × 1 convolution's weight lies the same in both layouts, and kernels tell them apart.
    """
    return {
        name: list(tensor.stride())
        for name, tensor in tensors.items()
        if tensor.stride() != torch.empty(tensor.shape, device="meta").stride()
        and _is_dense(tensor.shape, tensor.stride())
    }


def _is_dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether elements fill their memory without a gap and without an overlap, in whatever order."""
    expected = 1
    for stride, size in sorted((stride, size) for stride, size in zip(strides, shape) if size != 1):
        if stride != expected:
            return False
        expected *= size
    return True


def _laid_out(name: str, tensor: torch.Tensor, asked: list[int] | None) -> torch.Tensor:
    """A copy that lies in memory as asked; in the order of its dimensions where nothing is asked."""
    if asked is None:
        return tensor.clone()
    whole = isinstance(asked, list) and all(type(stride) is int for stride in asked)
    if not whole or len(asked) != tensor.dim() or not _is_dense(tensor.shape, asked):
        raise BudamaError(f"structure.json: strides of {name!r} do not fit its shape {list(tensor.shape)}")
    return torch.empty_strided(tensor.shape, asked, dtype=tensor.dtype).copy_(tensor)


def set_tensors(
    model: nn.Module, tensors: dict[str, torch.Tensor], aliases: dict[str, str], strides: dict[str, list[int]]
) -> None:
    """Put the tensors in place. They are copied, for MKL's last bit may depend on how memory is aligned.

    `strides` is as the function of that name gives it.
    """
    slots = dict(_slots(model))
    missing = sorted(set(slots) - set(tensors) - set(aliases))
    surplus = sorted(set(tensors) - set(slots))
    if missing or surplus:
        which = f"lacks {missing[0]}" if missing else f"has {surplus[0]}, which the model does not"
        raise BudamaError(f"{TENSORS} does not fit the model of structure.json: it {which}")
    placed: dict[str, torch.Tensor] = {}
    for name, (module, key) in slots.items():
        if name in aliases:
            continue
        tensor = _laid_out(name, tensors[name], strides.get(name))
        old = module._parameters.get(key)
        if old is not None:
            tensor = nn.Parameter(tensor, requires_grad=old.requires_grad)
        placed[name] = tensor
        setattr(module, key, tensor)
    for alias, name in aliases.items():
        if alias not in slots or name not in placed:
            raise BudamaError(f"structure.json: the shared tensor {alias!r} has no place in the model")
        module, key = slots[alias]
        setattr(module, key, placed[name])


def _slots(model: nn.Module) -> Iterator[tuple[str, tuple[nn.Module, str]]]:
    for prefix, module in model.named_modules(remove_duplicate=False):
        for key, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None:
                yield (f"{prefix}.{key}" if prefix else key), (module, key)


def check_shapes(model: nn.Module) -> None:
    """Channel counts and tensors must agree: a structure.json that was edited is told before a forward pass fails."""
    for name, module in model.named_modules():
        weight: Any = getattr(module, "weight", None)
        expected: tuple[int, ...]
        if isinstance(module, nn.Conv2d):
            expected = (module.out_channels, module.in_channels // module.groups, *module.kernel_size)
        elif isinstance(module, nn.Linear):
            expected = (module.out_features, module.in_features)
        elif isinstance(module, nn.BatchNorm2d) and weight is not None:
            expected = (module.num_features,)
        else:
            continue
        if tuple(weight.shape) != tuple(expected):
            found = list(weight.shape)
            raise BudamaError(
                f"structure.json and {TENSORS} do not agree: {name}.weight is {found}, not {list(expected)}"
            )
