"""A model as a folder: `model.safetensors` (tensors) and `structure.json` (how to rebuild it). No pickle.

`load` builds the architecture anew from the recipe, sets what pruning changed in it (channel counts and their like),
and puts the saved tensors in place: a plain module whose outputs equal the saved model's bit for bit.
"""

import hashlib
import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import torch
from torch import nn

from budama import files
from budama.errors import BudamaError, one_line
from budama.networks import models, modes

TENSORS, STRUCTURE = "model.safetensors", "structure.json"
FORMAT = 1
_RECIPE = ("model", "classes", "input_shape", "class_names", "normalisation")
_TRANSIENT = ("training", "_is_full_backward_hook")


def save(folder: str | Path, model: nn.Module, *, recipe: dict, kept: dict[str, list[int]] | None = None) -> None:
    """Write `model` as a checkpoint, and read it back to see that it is the same.

    `recipe` says how the unpruned architecture is built: `model` (section of the baseline file), `classes`,
    `input_shape` (C, H, W), `class_names`, `normalisation` (mean, std, resize, image_size). `kept` names the channels
    of the unpruned model that each pruned layer still has. Raises BudamaError where the model cannot be rebuilt.
    """
    from safetensors.torch import save as serialise

    tensors, aliases = _tensors(model)
    fresh = _rebuild(recipe)
    written = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content = serialise(written)
    description = {
        "format": FORMAT,
        "recipe": {key: recipe[key] for key in _RECIPE if key in recipe},
        "attributes": _changed_attributes(model, fresh),
        "kept": kept or {},
        "aliases": aliases,
        "memory_format": "channels_last" if _is_channels_last(model) else "contiguous",
        "sha256": hashlib.sha256(content).hexdigest(),
        "versions": {"torch": torch.__version__, **_source_version(recipe["model"]["source"])},
    }
    with files.folder(folder) as unfinished:
        files.write_bytes(unfinished / TENSORS, content)
        files.write_json(unfinished / STRUCTURE, description)
        _check_equal(model, load(unfinished), recipe["input_shape"], folder)


def load(folder: str | Path, device: str | torch.device = "cpu", data=None) -> nn.Module:
    """The model of a checkpoint, in eval mode on `device`. One clear BudamaError for a damaged or foreign folder, and
    where `data` (a data.dataset.Data, or none) is given, for a model of other classes or of images of another shape.
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
        model = _rebuild(described["recipe"])
        _set_attributes(model, described["attributes"])
        _set_tensors(model, tensors, described.get("aliases", {}))
        _check_shapes(model)
    except BudamaError as error:
        raise BudamaError(f"{folder}: {error}") from error
    if described.get("memory_format") == "channels_last":
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


def _check_data(folder: Path, recipe: dict, data) -> None:
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


def _rebuild(recipe: dict) -> nn.Module:
    """The unpruned architecture, as fast as it can be: without storage where possible, else without initialisation."""
    arguments = (recipe["model"], recipe["classes"], recipe["input_shape"])
    try:
        with torch.device("meta"), _NoInitialisation():
            model = models.build(*arguments, weights=False)
        if not any(tensor.is_meta for tensor in _plain_tensors(model)):
            return model
    except Exception:
        pass  # a constructor that computes with values, say a schedule of drop rates
    with _NoInitialisation():
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


def _tensors(model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Parameters and all buffers by name, each tensor once; and `alias: name` for those that stand there twice."""
    tensors, aliases, first = {}, {}, {}
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


def _changed_attributes(model: nn.Module, fresh: nn.Module) -> dict[str, dict]:
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


def _set_attributes(model: nn.Module, attributes: dict[str, dict]) -> None:
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


def _set_tensors(model: nn.Module, tensors: dict[str, torch.Tensor], aliases: dict[str, str]) -> None:
    """Put the tensors in place. They are copied, for MKL's last bit may depend on how memory is aligned."""
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
        tensor = tensors[name].clone()
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


def _check_shapes(model: nn.Module) -> None:
    """Channel counts and tensors must agree: a structure.json that was edited is told before a forward pass fails."""
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
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


def _is_channels_last(model: nn.Module) -> bool:
    return any(
        p.dim() == 4 and p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
        for p in model.parameters()
    )


def _check_equal(model: nn.Module, rebuilt: nn.Module, input_shape, folder: str | Path) -> None:
    """The read-back model has the same tensors, and on the CPU the same outputs, bit for bit."""
    ours, theirs = _tensors(model)[0], _tensors(rebuilt)[0]
    different = [name for name in ours if name not in theirs or not _same(ours[name], theirs[name])]
    if different or len(ours) != len(theirs):
        raise BudamaError(f"{folder}: the model does not come back from disk as it was ({', '.join(different[:3])})")
    if any(tensor.device.type != "cpu" or tensor.dtype != torch.float32 for tensor in model.parameters()):
        return
    images = models.example_input(input_shape)
    with torch.no_grad(), modes.evaluation(model):
        same = torch.equal(model(images), rebuilt(images))
    if not same:
        raise BudamaError(f"{folder}: the model read back from disk does not give the same outputs")


def _same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    ours = ours.detach().cpu()
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    return torch.equal(ours, theirs) or ours.allclose(theirs, 0, 0, equal_nan=True)


def _source_version(source: str) -> dict[str, str]:
    if source not in ("torchvision", "timm"):
        return {}
    try:
        return {source: metadata.version(source)}
    except metadata.PackageNotFoundError:
        return {}
