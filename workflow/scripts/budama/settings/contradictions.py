"""Values of a scenario or baseline file that are each allowed, but not together.

A rule names the keys it reads; it is asked only where those are valid, so that one mistake is told once.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from budama import files
from budama.data import catalogue
from budama.methods import METHODS
from budama.settings import schema
from budama.settings.schema import show

_RULES: list[tuple[str, tuple[str, ...], Callable[..., Iterator[str]]]] = []


def find(document: dict, name: str, mistakes: list[schema.Mistake]) -> Iterator[str]:
    """The lines that tell what contradicts itself in `document`, which has `mistakes` against the schema `name`."""
    wrong = [mistake.path for mistake in mistakes]
    for kind, keys, rule in _RULES:
        paths = [tuple(key.split(".")) for key in keys]
        if kind != name or any(_touches(path, bad) for path in paths for bad in wrong):
            continue
        yield from rule(*(_value(document, schema.load(name), path) for path in paths))


def _touches(path: tuple, bad: tuple) -> bool:
    shorter = min(len(path), len(bad))
    return path[:shorter] == bad[:shorter]


def _value(document: dict, part: dict, path: tuple):
    """The value at `path`, or its default."""
    value: Any = document
    for key in path:
        part = part["properties"][key]
        value = value[key] if key in value else part.get("default")
        if value is None:
            return None
    return value


def _rule(kind: str, *keys: str):
    def add(function: Callable[..., Iterator[str]]):
        _RULES.append((kind, keys, function))
        return function

    return add


@_rule("scenario", "pruning.round_to", "pruning.match")
def _rounding_matched(round_to, match):
    if match == "latency" and round_to == "auto":
        yield (
            "pruning.round_to is auto, but pruning.match is latency, which looks for widths by their time; it must be "
            "null or a number"
        )
    elif match not in ("channels", "latency") and round_to not in (None, 1):
        yield (
            f"pruning.round_to is {show(round_to)}, but pruning.match {match} cannot be met in multiples; "
            "it must be null, or match channels"
        )


@_rule("scenario", "pruning.ratio", "pruning.max_ratio", "pruning.match")
def _ratio_above_cap(ratio, max_ratio, match):
    highest = max(ratio) if isinstance(ratio, list) else ratio
    if match == "channels" and highest is not None and highest > max_ratio:
        yield f"pruning.ratio is {show(highest)}, but pruning.max_ratio is {show(max_ratio)}; it must be at most that"


@_rule("scenario", "pruning.layers", "pruning.max_ratio")
def _layer_above_cap(layers, max_ratio):
    for pattern, ratio in (layers or {}).items():
        if max_ratio is not None and ratio > max_ratio:
            limit = f"pruning.max_ratio is {show(max_ratio)}; it must be at most that"
            yield f"pruning.layers has {show(ratio)} for {show(pattern)}, but {limit}"


@_rule("scenario", "pruning.layers", "pruning.ignore")
def _layer_ignored(layers, ignore):
    for pattern in layers or {}:
        if pattern in (ignore or []):
            yield f"pruning.layers has {show(pattern)}, which pruning.ignore leaves whole; it must be in one of them"


@_rule("scenario", "pruning.methods", "finetune.epochs")
def _new_weights_untrained(methods, epochs):
    untrained = [name for name in methods or () if METHODS[name].new_weights and epochs == 0]
    for name in untrained:
        yield f"finetune.epochs is 0, but {name} in pruning.methods trains new weights; it must be 1 or more"


@_rule("scenario", "pruning.methods")
def _nothing_pruned(methods):
    if methods and all(METHODS[name].unpruned for name in methods):
        yield f"pruning.methods has {show(methods[0])} alone, which prunes nothing; it must have a method beside it"


@_rule("scenario", "pruning.cycles", "finetune.epochs")
def _turns_untrained(cycles, epochs):
    if epochs is not None and cycles is not None and cycles > 1 and epochs < cycles:
        yield f"pruning.cycles is {show(cycles)}, but finetune.epochs is {show(epochs)}; each turn must have an epoch"


@_rule("scenario", "finetune.warmup_epochs", "pruning.cycles", "finetune.epochs")
def _warmup_in_turns(warmup, cycles, epochs):
    turn = epochs // cycles if epochs and cycles else 0
    if turn and warmup is not None and turn < warmup <= epochs:
        limit = f"a turn of pruning.cycles {show(cycles)} has {turn} epochs; it must be at most that"
        yield f"finetune.warmup_epochs is {show(warmup)}, but {limit}"


@_rule("scenario", "export.formats", "export.precisions")
def _precisions_of_onnx(formats, precisions):
    for precision in precisions:
        if precision != "float32" and "onnx" not in formats:
            yield f"export.precisions has {precision}, which ONNX files alone have; export.formats must have onnx"


@_rule("scenario", "scenario", "report.compare_with")
def _compares_itself(name, compare_with):
    if name in compare_with:
        yield f"report.compare_with has {show(name)}, the scenario itself; it must name other scenarios"


@_rule("scenario", "finetune.warmup_epochs", "finetune.epochs")
def _warmup_in_finetune(warmup, epochs):
    yield from _warmup("finetune", warmup, epochs)


@_rule("baseline", "train.warmup_epochs", "train.epochs")
def _warmup_in_train(warmup, epochs):
    yield from _warmup("train", warmup, epochs)


def _warmup(section: str, warmup: float | None, epochs: int | None) -> Iterator[str]:
    if epochs and warmup is not None and warmup > epochs:
        limit = f"{section}.epochs is {show(epochs)}; it must be at most that"
        yield f"{section}.warmup_epochs is {show(warmup)}, but {limit}"


@_rule("baseline", "train.learning_rate")
def _one_rate(rate):
    if isinstance(rate, list):
        yield f"train.learning_rate is {show(rate)}; a list is for a scenario's finetune, and it must be a number here"


@_rule("baseline", "train.distill")
def _no_teacher(distill):
    if distill:
        yield f"train.distill is {show(distill)}, but a baseline has no teacher; it must be 0"


@_rule("baseline", "train.epochs", "model.weights", "model.source")
def _untrained(epochs, weights, source):
    if epochs == 0 and weights is None and source != "python":
        yield "train.epochs is 0, but model.weights is null, so nothing would be trained; it must be 1 or more"


@_rule("baseline", "model.source", "model.name")
def _callable(source, name):
    if source == "python" and not re.fullmatch(r"[^\W\d][\w.]*:[^\W\d][\w.]*", name):
        yield f"model.name is {show(name)}; for source python it must be package.module:function"


@_rule("baseline", "model.source", "model.weights")
def _weights_from_file(source, weights):
    if source in ("budama", "python") and weights is not None and not files.names_weights(weights):
        yield f"model.weights is {show(weights)}; for source {source} it must be a file of weights, or null"


@_rule("baseline", "data.name", "data.root")
def _root(name, root):
    if name == "image_folder" and root is None:
        yield "data.root is missing; for image_folder it must be the folder of the images"


@_rule("baseline", "data.name", "data.folders")
def _folders(name, folders):
    if folders is not None and name != "image_folder":
        yield f"data.folders is given, but data.name is {name}; it must be null, or data.name image_folder"


@_rule("baseline", "data.name", "data.protocol")
def _no_validation_set(name, protocol):
    if name == "digits" and protocol == "validation_only":
        yield "data.protocol is validation_only, but digits has no validation set; it must be full"


@_rule("baseline", "data.name", "data.protocol", "data.test")
def _two_test_sets(name, protocol, test):
    if test is not None and protocol == "full" and catalogue.SOURCES[name].own_test:
        yield f"data.test is {show(test)}, but {name} has a test set; it must be null, or protocol validation_only"


@_rule("baseline", "data.selection", "data.test")
def _shares(selection, test):
    if test is not None and selection is not None and test < 1 and selection < 1 and selection + test >= 1:
        yield f"data.selection is {show(selection)} and data.test is {show(test)}; their sum must be below 1"


@_rule("baseline", "data.image_size", "data.resize")
def _resize(image_size, resize):
    if image_size and resize and resize < image_size:
        yield f"data.resize is {show(resize)}, but data.image_size is {show(image_size)}; it must not be below that"


@_rule("baseline", "data.mean", "data.std")
def _normalisation(mean, std):
    if mean is None and std is None:
        return
    if mean is None or std is None:
        missing, given = ("mean", "std") if mean is None else ("std", "mean")
        yield f"data.{missing} is missing; with data.{given} it must be given, too"
    elif len(mean) != len(std):
        yield f"data.mean has {len(mean)} and data.std {len(std)} numbers; both must have one for every channel"
    elif len(mean) == 2:
        yield "data.mean and data.std have 2 numbers; they must have 1 or 3"


@_rule("baseline", "data.mean", "data.channels")
def _channels(mean, channels):
    if mean is not None and channels is not None and len(mean) != channels:
        yield f"data.mean has {len(mean)} numbers, but data.channels is {channels}; it must have {channels}"
