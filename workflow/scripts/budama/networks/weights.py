"""Weights from a file: `.safetensors`, or a state_dict read with `weights_only=True`. Nothing in a file is ever run."""

import pickle
import re
from pathlib import Path

import torch
from torch import nn

from budama import files
from budama.errors import BudamaError, one_line

_HOW = "write it with torch.save(model.state_dict(), path)"


def read(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensors of a weights file by name, on the CPU; wrappers (`{"state_dict": …}`, `module.`) are taken off."""
    path = Path(path)
    if not path.is_file():
        raise BudamaError(f"model.weights: there is no file {path}")
    if not path.name.lower().endswith(files.WEIGHTS):
        raise BudamaError(f"model.weights: {path} is not one of {', '.join(files.WEIGHTS)}")
    content = _safetensors(path) if path.suffix.lower() == ".safetensors" else _state_dict(path)
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content:
        raise BudamaError(f"model.weights: {path} holds no state_dict; {_HOW}")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise BudamaError(f"model.weights: {path} holds no tensors; {_HOW}")
    if all(name.startswith("module.") for name in tensors):  # DistributedDataParallel
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def classes(model: dict, classifier: str) -> int | None:
    """For how many classes the weights of a baseline's `model` section were made; None where nothing says it.

    `classifier` is the dotted name of the layer that gives the logits.
    """
    wanted, name = model.get("weights"), model["name"]
    if wanted and files.names_weights(wanted):
        weight = read(wanted).get(f"{classifier}.weight")
        return None if weight is None else len(weight)
    if wanted and model["source"] == "torchvision":
        import torchvision

        return len(torchvision.models.get_model_weights(name)[wanted].meta["categories"])
    if wanted and model["source"] == "timm":
        import timm

        tagged = name if wanted == "DEFAULT" else f"{name.partition('.')[0]}.{wanted}"
        return getattr(timm.get_pretrained_cfg(tagged), "num_classes", None)
    return None


def check_classifier(model: dict, classifier: str, asked: int) -> None:
    """Refuse to keep the weights as they are where the classifier is none of theirs: nothing would ever train it."""
    found = classes(model, classifier)
    if found not in (None, asked):
        raise BudamaError(
            f"train.epochs is 0, but the weights {model['weights']} are for {found} classes and the data has {asked};"
            " it must be 1 or more, for the classifier's sake"
        )


def load_into(model: nn.Module, tensors: dict[str, torch.Tensor], path: str | Path) -> None:
    """Copy `tensors` into `model`; a name or shape that does not fit is one clear line."""
    own = model.state_dict()
    # DenseNet's files of torchvision were written when a module's name could hold a point: norm.1 for norm1.
    tensors = {
        name if name in own else re.sub(r"\.(norm|relu|conv)\.(\d)\.", r".\1\2.", name): value
        for name, value in tensors.items()
    }
    # Auxiliary classifiers are left out when a model is built (`models.build`), but files have them.
    surplus = [name for name in tensors if name not in own and not name.startswith(("aux1.", "aux2.", "AuxLogits."))]
    missing = [name for name in own if name not in tensors and not name.endswith("num_batches_tracked")]
    if missing or surplus:
        which = f"lacks {_some(missing)}" if missing else f"has also {_some(surplus)}"
        raise BudamaError(f"model.weights: {path} does not fit the model: it {which}")
    for name, value in own.items():
        if name in tensors and tensors[name].shape != value.shape:
            found, asked = list(tensors[name].shape), list(value.shape)
            raise BudamaError(f"model.weights: {path} does not fit the model: {name} is {found}, not {asked}")
    model.load_state_dict({name: tensors.get(name, value) for name, value in own.items()})


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BudamaError(f"model.weights: {path} is not a whole safetensors file ({one_line(error)})") from None


def _state_dict(path: Path):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise BudamaError(
            f"model.weights: {path} is refused: it holds more than tensors or is damaged; nothing of it was run; {_HOW}"
        ) from None
    except Exception as error:  # a truncated zip, a text file: torch raises what it finds
        raise BudamaError(f"model.weights: {path} cannot be read as a state_dict ({one_line(error)})") from None


def _some(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
