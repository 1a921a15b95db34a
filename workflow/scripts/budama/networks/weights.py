"""Weights from a file, whatever it is called and however they are wrapped. Nothing in a file is ever run."""

import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from budama import files
from budama.errors import BudamaError, one_line
from budama.networks import weight_kinds, weight_names
from budama.networks.weight_kinds import HOW
from budama.networks.weight_names import some
from budama.progress import log

DEEPEST = 4  # dictionaries in dictionaries that are looked into
# Auxiliary classifiers are left out when a model is built (`models.build`), but files have them.
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")


def read(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensors of a weights file on the CPU, by dotted names in which keys of nested dictionaries are parts, too.

    Raises BudamaError, in one line that says what to do, for a file that is no weights or holds none.
    """
    path = Path(path)
    content = _safetensors(path) if weight_kinds.check(path) == "safetensors" else _pickled(path)
    tensors = dict(_tensors(content)) if isinstance(content, dict) else {}
    if not tensors:
        raise BudamaError(f"model.weights: {path} holds no state_dict with tensors; {HOW}")
    quantised = [name for name, tensor in tensors.items() if tensor.is_quantized]
    if quantised:
        raise BudamaError(f"model.weights: {path} is refused: its weights are quantised ({some(quantised)}); {HOW}")
    return tensors


def of_model(path: str | Path, model: nn.Module, key: str | None = None, head: str | None = None) -> dict:
    """The tensors of `model` in a weights file, by the model's own names; those of another head are left out.

    `key` is `model.weights_key`, `head` the dotted name of the layer that gives the logits. Says which set of weights
    was taken where the file holds several. Raises BudamaError, with names of both sides, where it does not fit.
    """
    tensors = read(path)
    own = list(model.state_dict())
    found = weight_names.match(tensors, [name for name in own if not _counter(name)], key, path)
    if found.others:
        other = " or ".join(weight_names.shown(prefix) for prefix in found.others[:3])
        log(
            f"{path} holds {1 + len(found.others)} sets of weights: "
            f"'{weight_names.shown(found.taken)}' is taken; model.weights_key: {other} takes the other"
        )
    in_head = (f"{head}.",) if head else ()
    missing = [name for name in own if name not in found.names and not _counter(name)]
    surplus = [name for name in found.unused if not name.startswith((*AUXILIARY, *in_head)) and not _counter(name)]
    surplus = [name for name in surplus if name != "n_averaged"]  # of torch.optim.swa_utils.AveragedModel
    if surplus or [name for name in missing if not name.startswith(in_head or "\0")]:
        _refuse(path, missing, surplus, len(own))
    return {name: tensors[place] for name, place in found.names.items()}


def check_classifier(model: dict, built: nn.Module, classifier: str, asked: int) -> None:
    """Refuse to keep the weights as they are where the classifier is none of theirs: nothing would ever train it.

    `model` is the section of the baseline file, `built` the model, `classifier` the name of the layer of its logits.
    """
    found = _classes(model, built, classifier)
    if found not in (None, asked):
        made_for = f"are for {found} classes" if found else "have no classifier"
        raise BudamaError(
            f"train.epochs is 0, but the weights {model['weights']} {made_for} and the data has {asked};"
            " it must be 1 or more, for the classifier's sake"
        )


def load_into(model: nn.Module, tensors: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Copy `tensors`, by the model's own names, into `model`; a shape or type that does not fit is one clear line."""
    own = model.state_dict()
    shapes, types, values = [], [], []
    for name in (name for name in own if name in tensors):
        found, asked = tensors[name], own[name]
        if found.shape != asked.shape:
            shapes.append(f"{name} is {list(found.shape)}, not {list(asked.shape)}")
        elif found.is_floating_point() != asked.is_floating_point():
            types.append(f"{name} is {str(found.dtype).removeprefix('torch.')}")
        elif found.is_floating_point() and not found.float().isfinite().all():
            values.append(name)
    if shapes:
        raise BudamaError(f"model.weights: {path} does not fit the model: {some(shapes)}")
    if types:
        kinds = "the model has floating-point numbers there, so the file is quantised or of another model"
        raise BudamaError(f"model.weights: {path} does not fit the model: {some(types)}; {kinds}")
    if values:
        raise BudamaError(f"model.weights: {path} holds numbers that are infinite or none (NaN) in {some(values)}")
    model.load_state_dict({name: tensors.get(name, value) for name, value in own.items()})


def _classes(model: dict, built: nn.Module, classifier: str) -> int | None:
    """For how many classes the weights of a `model` section were made; 0 without a head, None where nothing says it."""
    wanted, name = model.get("weights"), model["name"]
    if wanted and files.names_weights(wanted):
        weight = of_model(wanted, built, model.get("weights_key"), classifier).get(f"{classifier}.weight")
        return 0 if weight is None else len(weight)
    if wanted and model["source"] == "torchvision":
        import torchvision

        return len(torchvision.models.get_model_weights(name)[wanted].meta["categories"])
    if wanted and model["source"] == "timm":
        import timm

        tagged = name if wanted == "DEFAULT" else f"{name.partition('.')[0]}.{wanted}"
        return getattr(timm.get_pretrained_cfg(tagged), "num_classes", None)
    return None


def _refuse(path: str | Path, missing: list[str], surplus: list[str], own: int) -> None:
    """One line with names of both sides."""
    lacks = f"it lacks {some(missing)} ({len(missing)} of the model's {own} names)" if missing else ""
    has = f"it has {some(surplus)} ({len(surplus)}), which the model has not" if surplus else ""
    raise BudamaError(f"model.weights: {path} does not fit the model: {'; '.join(filter(None, (lacks, has)))}")


def _counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _tensors(content: Mapping, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors in nested dictionaries by dotted names. An optimizer's are numbered, so that no names lead to them."""
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, torch.Tensor):
            yield prefix + key, value
        elif isinstance(key, str) and isinstance(value, Mapping) and depth < DEEPEST:
            yield from _tensors(value, f"{prefix}{key}.", depth + 1)


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BudamaError(f"model.weights: {path} is not a whole safetensors file ({one_line(error)})") from None


class _Inert:
    """In place of every class that is not torch's: an empty dictionary, which torch's reader lets be filled."""

    def __new__(cls, *arguments, **options):
        return OrderedDict()


class _InertArray:
    """In place of numpy's scalars, types and arrays."""

    def __init__(self, *arguments):
        """Take what it is given, and keep nothing."""

    def __setstate__(self, state):
        """As above."""


def _pickled(path: Path):
    """What torch.save wrote. Objects beside the weights (a namespace of arguments, say) become empty dictionaries."""
    names = weight_kinds.foreign(path)
    inert: list[Any] = [
        (type("Inert", (_InertArray if name.startswith("numpy.") else _Inert,), {}), name) for name in names
    ]
    try:
        with open(path, "rb") as file, warnings.catch_warnings(), torch.serialization.safe_globals(inert):
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)  # by content: of a path it looks at the name
    except Exception as error:  # a truncated zip, an object that cannot be passed over: torch raises what it finds
        beside = f"; it also holds {some(names)}" if names else ""
        raise BudamaError(
            f"model.weights: {path} is refused: it is damaged, or holds more than tensors ({one_line(error, 80)})"
            f"{beside}; nothing of it was run; {HOW}"
        ) from None
