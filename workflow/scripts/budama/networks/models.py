"""Any vision model by the `model` section of a baseline file: torchvision, timm, a Python callable, or budama's own.

A model maps images `[N, C, H, W]` to logits `[N, classes]`. Its classifier is found, kept from pruning, and replaced
where its number of classes differs.
"""

import importlib
import os
import sys
from typing import Any

import torch
from torch import nn

from budama import files
from budama.errors import BudamaError, did_you_mean, one_line
from budama.networks import titles, trial, weight_kinds
from budama.networks import weights as weight_files

SOURCES = ("torchvision", "timm", "python", "budama")


def build(model: dict, classes: int, input_shape, *, weights: bool = True, seed: int = 0) -> nn.Module:
    """The model of a baseline file, in eval mode, on the CPU (or on the device of a surrounding `torch.device`).

    `model` has `source`, `name`, `arguments` and `weights`; `input_shape` is (C, H, W). With `weights=False` the
    structure alone is wanted: nothing is read or downloaded. What is initialised here depends on `seed` alone, and the
    caller's random state stays as it was. BudamaError for an unknown name, wrong arguments, weights that do not fit.
    """
    source = model.get("source")
    if source not in SOURCES:
        raise BudamaError(f"model.source is {source!r}; it must be one of {', '.join(SOURCES)}")
    wanted = model.get("weights") if weights else None
    path = wanted if wanted and files.names_weights(wanted) else None
    if path:
        weight_kinds.check(path)
    tensors: dict[str, torch.Tensor] = {}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        built = _BUILDERS[source](
            model["name"], dict(model.get("arguments") or {}), None if path else wanted, classes, input_shape
        )
        if path:
            head = find_classifier(built, classes)
            tensors = weight_files.of_model(path, built, model.get("weights_key"), head)
        _adapt_channels(built, input_shape[0], model, wanted, tensors)
        if path:
            found = len(tensors.get(f"{head}.weight", range(classes)))  # classes that the file was made for
            _replace_classifier(built, classes, found)
            weight_files.load_into(built, tensors, path)
            _replace_classifier(built, found, classes)
    return built.eval()


def find_classifier(model: nn.Module, classes: int) -> str:
    """Dotted name of the layer that gives the logits: the last linear layer or 1×1 convolution of `classes` outputs."""
    named = getattr(model, "pretrained_cfg", None) or {}  # timm says it
    heads = named.get("classifier") if isinstance(named, dict) else None
    for head in [heads] if isinstance(heads, str) else heads or []:
        for name, module in model.named_modules():
            if (name == head or name.startswith(f"{head}.")) and _outputs(module) == classes:
                return name
    candidates = [name for name, module in model.named_modules() if _outputs(module) == classes]
    if not candidates:
        raise BudamaError(
            f"the model has no linear layer or 1x1 convolution with {classes} outputs: its classifier was not found"
        )
    return candidates[-1]


def classifiers(model: nn.Module, classes: int) -> list[str]:
    """The classifier and what else gives logits (timm's distilled models have two heads)."""
    main = find_classifier(model, classes)
    heads = (getattr(model, "pretrained_cfg", None) or {}).get("classifier", ()) or ()
    modules = dict(model.named_modules())
    others = [] if isinstance(heads, str) else [name for name in heads if _outputs(modules.get(name)) == classes]
    return [main, *(name for name in others if name != main)]


def example_input(input_shape, batch: int = 1) -> torch.Tensor:
    """Images `[batch, C, H, W]` of normal noise, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, *input_shape, generator=generator, device="cpu")


def _torchvision(name: str, arguments: dict, weights: str | None, classes: int, input_shape) -> nn.Module:
    try:
        import torchvision
    except ImportError:
        raise BudamaError("model.source is torchvision, which is not installed here: pip install torchvision") from None
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise BudamaError(f"model.name: torchvision has no {name!r}; {did_you_mean(name, names, most=3)}")
    if name in ("googlenet", "inception_v3"):  # auxiliary heads serve training from scratch alone and break pruning
        arguments.setdefault("aux_logits", False)
        if not weights:
            arguments.setdefault("init_weights", True)
    if name.startswith("vit_") and not weights:
        arguments.setdefault("image_size", input_shape[1])
    chosen = None
    if weights:
        known = list(torchvision.models.get_model_weights(name).__members__)
        if weights not in ("DEFAULT", *known):
            raise _unknown_weights(name, weights, known)
        chosen = torchvision.models.get_model_weights(name)[weights]
    given = int(arguments.setdefault("num_classes", len(chosen.meta["categories"]) if chosen else classes))
    cached = os.path.join(torch.hub.get_dir(), "checkpoints", os.path.basename(chosen.url)) if chosen else ""
    place = f"put the file at {cached}, or set model.weights to the path of a file of them"
    shown = {"progress": sys.stderr.isatty()}  # a bar is for a terminal, not for a log
    wanted = {"weights": chosen, **shown, **arguments}
    built = _call(torchvision.models.get_model, f"torchvision/{name}", (name,), wanted, place)
    return _replace_classifier(built, given, classes)


def _timm(name: str, arguments: dict, weights: str | None, classes: int, input_shape) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise BudamaError("model.source is timm, which is not installed here: pip install timm") from None
    if not timm.is_model(name):
        raise BudamaError(f"model.name: timm has no {name!r}; {did_you_mean(name, timm.list_models(), most=3)}")
    if weights and weights != "DEFAULT":
        tags = [tagged.partition(".")[2] for tagged in timm.list_pretrained(f"{name.partition('.')[0]}.*")]
        if weights not in tags:
            raise _unknown_weights(name, weights, tags)
        name = f"{name.partition('.')[0]}.{weights}"
    settings = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if settings and settings.fixed_input_size and tuple(settings.input_size[1:]) != tuple(input_shape[1:]):
        arguments.setdefault("img_size", tuple(input_shape[1:]))
    arguments.setdefault("num_classes", classes)
    arguments.setdefault("in_chans", input_shape[0])
    place = "set model.weights to a file of the model's weights"
    arguments["pretrained"] = bool(weights)
    built = _call(timm.create_model, f"timm/{name}", (name,), arguments, place)
    return _replace_classifier(built, int(arguments["num_classes"]), classes)


def _budama(name: str, arguments: dict, weights: str | None, classes: int, input_shape) -> nn.Module:
    from budama.networks.architectures import ARCHITECTURES

    if name not in ARCHITECTURES:
        raise BudamaError(f"model.name: budama has no {name!r}; it has {', '.join(ARCHITECTURES)}")
    _no_named_weights(weights, "budama")
    arguments = {"classes": classes, "in_channels": input_shape[0], **arguments}
    built = _call(ARCHITECTURES[name], name, (), arguments)
    return _replace_classifier(built, int(arguments["classes"]), classes)


def _python(name: str, arguments: dict, weights: str | None, classes: int, input_shape) -> nn.Module:
    module_name, colon, function_name = str(name).partition(":")
    if not (module_name and colon and function_name):
        raise BudamaError(f"model.name is {name!r}; with source python it is package.module:function")
    _no_named_weights(weights, "python")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last, so that a file of the user's hides no module of Python's
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise BudamaError(f"model.name: {module_name} cannot be imported from {os.getcwd()} ({reason})") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        hint = did_you_mean(function_name, names, most=3)
        raise BudamaError(f"model.name: {module_name} has no function {function_name!r}; {hint}")
    built = _call(function, name, (), arguments)
    if not isinstance(built, nn.Module):
        raise BudamaError(f"model.name: {name} gave a {type(built).__name__}; it must give a torch.nn.Module")
    built = _unwrapped(built)
    return _replace_classifier(built, trial.classes_of(built, input_shape, name), classes)


def _unwrapped(model: nn.Module) -> nn.Module:
    """The model inside what `torch.compile` and `nn.DataParallel` make of it: what is pruned is compiled anew."""
    while inner := getattr(model, "_orig_mod", None) or (model.module if isinstance(model, nn.DataParallel) else None):
        model = inner
    return model


_BUILDERS = {"torchvision": _torchvision, "timm": _timm, "budama": _budama, "python": _python}


def _call(function, name: str, positional: tuple, arguments: dict, place: str = "") -> nn.Module:
    """Call a constructor; what it refuses becomes one line."""
    from urllib.error import URLError

    try:
        return function(*positional, **arguments)
    except BudamaError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        downloads = isinstance(error, URLError | ConnectionError) or type(error).__module__.startswith(
            ("huggingface_hub", "httpx", "requests", "urllib3")
        )
        if place and downloads:
            line = f"model.weights: the weights of {name} cannot be downloaded ({reason}); {place}"
            raise BudamaError(line) from error
        shown = {key: value for key, value in arguments.items() if value is not None}
        raise BudamaError(f"model {name} cannot be built with the arguments {shown}: {reason}") from error


def _unknown_weights(name: str, weights: str, known: list[str]) -> BudamaError:
    allowed = ", ".join(["null", "a file", "DEFAULT", *known])
    return BudamaError(f"model.weights: {name} has no {weights!r}; allowed: {allowed}")


def _no_named_weights(weights: str | None, source: str) -> None:
    if weights:
        allowed = "null or a file of weights"
        raise BudamaError(f"model.weights is {weights!r}; with source {source} it is {allowed}")


def _outputs(module: nn.Module | None) -> int | None:
    if isinstance(module, nn.Linear):
        return module.out_features
    if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1:
        return module.out_channels
    return None


def _replace_classifier(model: nn.Module, found: int, classes: int) -> nn.Module:
    """Give every head with `found` outputs a freshly initialised one with `classes`."""
    if found == classes:
        return model
    for name in classifiers(model, found):
        old: Any = model.get_submodule(name)
        like = {"device": old.weight.device, "dtype": old.weight.dtype}
        new: nn.Module
        if isinstance(old, nn.Linear):
            new = nn.Linear(old.in_features, classes, old.bias is not None, **like)
        else:
            new = nn.Conv2d(old.in_channels, classes, 1, old.stride, old.padding, bias=old.bias is not None, **like)
        _set_module(model, name, new)
    if isinstance(getattr(model, "num_classes", None), int):
        setattr(model, "num_classes", classes)  # noqa: B010 - no attribute that every module has
    return model


def _adapt_channels(model: nn.Module, channels: int, description: dict, weights: str | None, tensors: dict) -> None:
    """Make the first convolution take images of `channels` channels, where that loses no weights."""
    name, first = next(((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d)), ("", None))
    if first is None or first.in_channels == channels:
        return
    in_file = tensors.get(f"{name}.weight")
    lost = weights and (in_file is None or in_file.shape[1] != channels)
    if lost or description["source"] in ("budama", "python"):
        raise BudamaError(
            f"data.channels: the images have {channels}, but {titles.title(description)} takes {first.in_channels}; "
            f"set data.channels to {first.in_channels}" + (", or model.weights to null" if lost else "")
        )
    if first.groups != 1:
        raise BudamaError(
            f"data.channels: {titles.title(description)} takes {first.in_channels} channels, not {channels}"
        )
    like: Any = first
    new = nn.Conv2d(
        channels, like.out_channels, like.kernel_size, like.stride, like.padding, like.dilation,
        bias=like.bias is not None, padding_mode=like.padding_mode, device=like.weight.device,
    )  # fmt: skip
    _set_module(model, name, new)


def _set_module(model: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, new)
