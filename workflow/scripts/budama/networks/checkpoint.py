"""A model as a folder: `model.safetensors` (tensors) and `structure.json` (how to rebuild it). No pickle.

`load` builds the architecture anew from the recipe, sets what pruning changed in it (channel counts and their like),
and puts the saved tensors in place: a plain module whose outputs equal the saved model's bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from budama import files
from budama.errors import BudamaError, one_line
from budama.networks import layout, models, modes, outputs, rebuilding, user_source
from budama.networks.rebuilding import STRUCTURE, TENSORS

if TYPE_CHECKING:
    from budama.data.dataset import Data

FORMAT = 1
SOURCES = "source"  # folder of a checkpoint with the files of a user's own model
_RECIPE = ("model", "classes", "input_shape", "class_names", "normalisation")


def save(folder: str | Path, model: nn.Module, *, recipe: dict, kept: dict[str, list[int]] | None = None) -> None:
    """Write `model` as a checkpoint, and read it back to see that it is the same.

    `recipe` says how the unpruned architecture is built: `model` (section of the baseline file), `classes`,
    `input_shape` (C, H, W), `class_names`, `normalisation` (mean, std, resize, image_size). `kept` names the channels
    of the unpruned model that each pruned layer still has. Raises BudamaError where the model cannot be rebuilt.
    """
    from safetensors.torch import save as serialise

    tensors, aliases = rebuilding.named_tensors(model)
    fresh = rebuilding.unpruned(recipe)
    written = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content = serialise(written)
    description = {
        "format": FORMAT,
        "recipe": {key: recipe[key] for key in _RECIPE if key in recipe},
        "attributes": rebuilding.changed_attributes(model, fresh),
        "kept": kept or {},
        "aliases": aliases,
        "strides": rebuilding.strides(tensors),
        **({layout.MARK: True} if layout.is_contiguous(model) else {}),
        "sha256": hashlib.sha256(content).hexdigest(),
        "versions": {"torch": torch.__version__, **_source_version(recipe["model"]["source"])},
    }
    sources = _sources(recipe["model"])
    if sources:
        description["sources"] = sorted(sources)
    with files.folder(folder) as unfinished:
        for name, code in sources.items():
            files.write_bytes(unfinished / SOURCES / name, code)
        files.write_bytes(unfinished / TENSORS, content)
        files.write_json(unfinished / STRUCTURE, description)
        _check_equal(model, load(unfinished), recipe["input_shape"], folder)


def load(folder: str | Path, device: str | torch.device = "cpu", data: Data | None = None) -> nn.Module:
    """The model of a checkpoint, in eval mode on `device`. One clear BudamaError for a damaged or foreign folder, and
    where `data` is given, for a model of other classes or of images of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as deserialise

    folder = Path(folder)
    described = structure(folder)
    if "unavailable" in described:
        raise BudamaError(f"{folder} holds no model: {described['unavailable']}")
    if data is not None:
        _check_data(folder, described["recipe"], data)
    try:
        content = (folder / TENSORS).read_bytes()
    except OSError as error:
        raise BudamaError(f"{folder / TENSORS}: cannot be read ({error.strerror})") from None
    if hashlib.sha256(content).hexdigest() != described["sha256"]:
        raise BudamaError(
            f"{folder / TENSORS}: is damaged or from another checkpoint (its sha256 is not structure.json's)"
        )
    try:
        tensors = deserialise(content)
    except SafetensorError as error:
        raise BudamaError(f"{folder / TENSORS}: is not a safetensors file ({one_line(error)})") from None
    try:
        model = rebuilding.unpruned(described["recipe"])
        rebuilding.set_attributes(model, described["attributes"])
        rebuilding.set_tensors(model, tensors, described.get("aliases", {}), described.get("strides", {}))
        rebuilding.check_shapes(model)
    except BudamaError as error:
        hint = f"; its source is in {folder / SOURCES}: that folder must be in PYTHONPATH" if _not_found(error) else ""
        raise BudamaError(f"{folder}: {error}{hint if described.get('sources') else ''}") from error
    if described.get(layout.MARK):
        layout.mark(model)
    if described.get("memory_format") == "channels_last":  # of the whole model, in checkpoints of budama 0.2 and before
        model = model.to(memory_format=torch.channels_last)
    return model.eval().to(device)


def structure(folder: str | Path) -> dict:
    """`structure.json` of a checkpoint, checked: `recipe`, `attributes`, `kept`, `sha256`; or `unavailable` alone."""
    path = Path(folder) / STRUCTURE
    described = files.read_json(path)
    if isinstance(described, dict) and isinstance(described.get("unavailable"), str):
        return described
    expected = {"format": int, "recipe": dict, "attributes": dict, "kept": dict, "sha256": str}
    for key, kind in expected.items():
        if not isinstance(described, dict) or not isinstance(described.get(key), kind):
            raise BudamaError(f"{path}: is not a checkpoint of budama ({key} is missing or wrong)")
    if described["format"] != FORMAT:
        raise BudamaError(f"{path}: has format {described['format']}; this version of budama reads format {FORMAT}")
    recipe = described["recipe"]
    shape = recipe.get("input_shape")
    whole = isinstance(recipe.get("model"), dict) and {"source", "name"} <= set(recipe["model"])
    if not whole or not isinstance(recipe.get("classes"), int) or not isinstance(shape, list) or len(shape) != 3:
        raise BudamaError(f"{path}: its recipe must have model (source, name), classes and input_shape [C, H, W]")
    return described


def save_unavailable(folder: str | Path, reason: str) -> None:
    """Write a checkpoint that says why there is no model: a method that cannot serve it is a row, not a crash."""
    with files.folder(folder) as unfinished:
        files.write_json(unfinished / STRUCTURE, {"format": FORMAT, "unavailable": reason})


def recipe_of(model: dict, manifest: Mapping) -> dict:
    """The recipe of a baseline's `model` section for the images of `manifest` (dataset.json)."""
    normalisation = {key: manifest.get(key) for key in ("mean", "std", "resize")}
    return {
        "model": model,
        "classes": manifest["classes"],
        "input_shape": manifest["input_shape"],
        "class_names": manifest["class_names"],
        "normalisation": {**normalisation, "image_size": manifest["input_shape"][-1]},
    }


def _check_data(folder: Path, recipe: dict, data: Data) -> None:
    shapes = list(recipe["input_shape"]), list(data.input_shape)
    if recipe["classes"] != data.classes:
        raise BudamaError(f"{folder}: is for {recipe['classes']} classes, but dataset.json has {data.classes}")
    if shapes[0] != shapes[1]:
        raise BudamaError(f"{folder}: is for images of {shapes[0]}, but dataset.json has {shapes[1]}")
    names = recipe.get("class_names")
    if names and list(names) != list(data.class_names):
        pairs = zip(names, data.class_names, strict=True)
        number, (own, other) = next((number, pair) for number, pair in enumerate(pairs) if pair[0] != pair[1])
        raise BudamaError(f"{folder}: its class {number} is {own!r}, but dataset.json has {other!r} there")


def _check_equal(model: nn.Module, rebuilt: nn.Module, input_shape, folder: str | Path) -> None:
    """The read-back model has the same tensors, and on the CPU the same outputs, bit for bit."""
    ours, theirs = rebuilding.named_tensors(model)[0], rebuilding.named_tensors(rebuilt)[0]
    different = [name for name in ours if name not in theirs or not _same(ours[name], theirs[name])]
    if different or len(ours) != len(theirs):
        raise BudamaError(f"{folder}: the model does not come back from disk as it was ({', '.join(different[:3])})")
    if any(tensor.device.type != "cpu" or tensor.dtype != torch.float32 for tensor in model.parameters()):
        return
    images = models.example_input(input_shape)
    with torch.no_grad(), modes.evaluation(model):
        same = torch.equal(outputs.logits(model(images)), outputs.logits(rebuilt(images)))
    if not same:
        raise BudamaError(f"{folder}: the model read back from disk does not give the same outputs")


def _same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    ours = ours.detach().cpu()
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    return torch.equal(ours, theirs) or ours.allclose(theirs, 0, 0, equal_nan=True)


def _sources(model: dict) -> dict[str, bytes]:
    """The files of a user's own model, which go with the checkpoint. Nothing is run from there by itself."""
    if model["source"] != "python":
        return {}
    module = user_source.module_file(model["name"].partition(":")[0])
    found = user_source.parts(model["name"])
    if module is None or not found:
        return {}
    root = module.parents[len(Path(next(iter(found))).parts) - 1]
    return {name: (root / name).read_bytes() for name in found}


def _not_found(error: BaseException) -> bool:
    """Whether a module could not be imported because it is not there."""
    return isinstance(error.__cause__, ModuleNotFoundError)


def _source_version(source: str) -> dict[str, str]:
    if source not in ("torchvision", "timm"):
        return {}
    try:
        return {source: metadata.version(source)}
    except metadata.PackageNotFoundError:
        return {}
