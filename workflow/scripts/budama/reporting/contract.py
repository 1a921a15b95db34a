"""What results.json holds. `results/` writes it, and `reporting/` reads it.

It stands here and not beside its writers, which are above: reports cannot import `results`, but `results` may import
this. Every key is always there; a value that nobody measured is None.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Any, TypedDict, get_args, get_origin, get_type_hints, is_typeddict

from budama.reporting.row import Baseline, Fate, Row, Seed, Timing, Unavailable
from budama.reporting.shipped import Control, Interval, Onnx
from budama.significance.claims import AgainstOriginal, AgainstRandom, Comparison, Group


class Recorded(TypedDict):
    """Where results that were measured elsewhere come from."""

    source: str
    scenario: str


class Model(TypedDict):
    title: str
    source: str | None
    name: str
    input_shape: list[int] | None
    classes: int | None


class Counts(TypedDict):
    """Images by split."""

    train: int | None
    calibration: int | None
    selection: int | None
    test: int | None


class Dataset(TypedDict):
    name: str
    title: str
    protocol: str | None
    counts: Counts
    unreadable: int | None
    duplicates_dropped: int | None
    class_names: list[str] | None
    class_images: list[int] | None  # test images of each class
    test_split: str | None  # equal where the test images and their labels are (see `significance.hits`)


class Pruning(TypedDict):
    """The `pruning` section of a scenario."""

    methods: list[str]
    ratio: float | list[float] | None
    scope: str | None
    steps: int | None
    cycles: int | None
    match: str | None
    round_to: int | str | None
    ignore: list[str] | None
    layers: dict[str, float] | None
    max_ratio: float | None
    reestimate_batchnorm: bool | None
    compensate: str | None


class Finetune(TypedDict):
    """What reports say of the `finetune` section of a scenario; it has more keys."""

    epochs: int | None
    batch_size: int | None
    optimizer: str | None
    learning_rate: float | list[float] | None
    distill: float | None
    distill_temperature: float | None


class Calibration(TypedDict):
    batches: int | None
    images: int | None


class Curve(TypedDict):
    """What the readers of a group of channels miss at each of its `widths` (channels left), others making up for what
    is gone: `lost`, shares of their outputs' variance. `name`: the first layer that produces the channels."""

    name: str
    channels: int
    widths: list[int]
    lost: list[float]


class Width(TypedDict):
    ms: float
    ratio: float
    interval: Interval | None


class Widths(TypedDict):
    """A layer's time at every width, and the multiple that `round_to: auto` chose by it."""

    batch: int
    precision: str
    side: int
    widths: dict[str, Width]
    round_to: int


class Controls(TypedDict):
    aa: Control | None


class Content(TypedDict):
    """results.json. A warning has its `code`, and what its sentence needs."""

    scenario: str
    title: str | None
    recorded: Recorded | None
    model: Model
    dataset: Dataset
    pruning: Pruning
    widths: Widths | None
    finetune: Finetune
    calibration: Calibration
    sensitivity: list[Curve]
    seeds: list[int]
    baseline: Baseline
    variants: list[Row | Unavailable]
    unpruned: Row | None  # the original, fine-tuned as the variants were, where that was asked for
    ranking: list[Group]
    comparisons: list[Comparison]
    against_original: list[AgainstOriginal]
    against_unpruned: list[AgainstOriginal]
    against_random: list[AgainstRandom]
    controls: Controls
    warnings: list[dict[str, Any]]
    environment: dict[str, Any]
    date: str | None
    configuration: dict[str, Any]


_CLAIM = dict.fromkeys(("interval", "distinguishable", "of", "seeds"))
_BEYOND = dict.fromkeys(("balanced_accuracy_percent", "trust", "answers", "corruptions", "confused", "confusion"))
_ROW = {
    "deployments": None,
    "accuracy_interval_over": None,
    "learning_rates": None,
    "unpruned_layers": None,
    "time": None,
    **_BEYOND,
}
# Keys that results of earlier versions lack, and what they have instead.
LATER: dict[type, dict[str, Any]] = {
    Content: {"against_original": [], "against_unpruned": [], "unpruned": None, "sensitivity": []},
    Dataset: {"class_images": None, "test_split": None},
    Pruning: {"cycles": None, "compensate": None, "layers": None},
    Comparison: _CLAIM,
    AgainstRandom: _CLAIM,
    Seed: {"kept_epoch": None, "same_seeds": [], "compensated_percent": None, "hits": None},
    Onnx: {"precisions": {}},
    Fate: {"compensated_percent": None},
    Baseline: _ROW,
    Row: _ROW,
    Unavailable: _ROW,
    Timing: {"cuda_graph": False},
}


def complete(value: object, kind: Any = Content) -> None:
    """Put into results of earlier versions the keys of this one that they lack."""
    if isinstance(value, dict) and is_typeddict(kind):
        value |= {key: copy.copy(empty) for key, empty in LATER.get(kind, {}).items() if key not in value}
        for key, hint in _hints(kind).items():
            complete(value.get(key), hint)
    elif isinstance(kind, UnionType):
        for one in get_args(kind):
            complete(value, one)
    elif isinstance(value, list) and get_origin(kind) is list:
        for item in value:
            complete(item, get_args(kind)[0])


def missing(value: object, kind: Any = Content, path: str = "") -> Iterator[str]:
    """The keys that `kind` has and `value` lacks, as paths ("variants[2].latency"), and lists that are none."""
    if is_typeddict(kind):
        found = value if isinstance(value, dict) else {}
        for key, hint in _hints(kind).items():
            inner = f"{path}.{key}" if path else key
            if key in found:
                yield from missing(found[key], hint, inner)
            elif key in kind.__required_keys__:
                yield inner
    elif isinstance(kind, UnionType):
        kinds = [one for one in get_args(kind) if is_typeddict(one) or get_origin(one)]
        if isinstance(value, dict | list) and kinds:
            yield from missing(value, kinds[0], path)  # rows of all kinds have the same keys
    elif get_origin(kind) is list:
        if not isinstance(value, list):
            yield path
            return
        for i, item in enumerate(value):
            yield from missing(item, get_args(kind)[0], f"{path}[{i}]")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
