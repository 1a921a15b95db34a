"""A row of results.json: the baseline, a variant that was measured, or one whose method cannot serve the model."""

from __future__ import annotations

from typing import Literal, TypedDict

from budama.reporting.matched_time import Matched
from budama.reporting.shipped import Deployment, Interval, Onnx
from budama.significance.claims import EachModel


class Seed(TypedDict):
    """A seed that gave a model of its own. `accuracy_percent` is on the test images, others on the selection images."""

    seed: int
    accuracy_percent: float
    as_pruned_percent: float | None
    reestimated_percent: float | None
    compensated_percent: float | None  # None where nothing was
    finetuned_percent: float | None
    kept_epoch: int | None  # 0: training gained nothing, the model is as it was before it
    same_seeds: list[int]  # that gave the same model, byte by byte, and are not rows of their own
    hits: str | None  # which test images it has right (see `significance.hits`)


class Fate(TypedDict):
    """Mean accuracy over seeds on the selection images, stage by stage."""

    baseline_percent: float | None
    as_pruned_percent: float | None
    reestimated_percent: float | None
    compensated_percent: float | None  # None where nothing was
    finetuned_percent: float | None


class Latency(TypedDict):
    """`ratio` is the time over the baseline's."""

    batch_size: int
    median_ms: float
    p95_ms: float
    ratio: float
    ratio_interval: Interval | None
    precision: str
    undisturbed_percent: float


class Throughput(TypedDict):
    """`ratio` is images per second over the baseline's."""

    batch_size: int
    images_per_second: float
    ratio: float
    ratio_interval: Interval | None
    precision: str


class Timing(TypedDict):
    """One setting of the benchmark. Numbers are None where the model could not run; `error` says why."""

    batch_size: int
    precision: str
    compile: bool
    cuda_graph: bool
    channels_last: bool
    median_ms: float | None
    p95_ms: float | None
    ratio: float | None
    ratio_interval: Interval | None
    images_per_second: float | None
    undisturbed_percent: float | None
    error: str | None


class Layer(TypedDict):
    """Output channels before and after pruning."""

    name: str
    before: int
    after: int


class Rate(TypedDict):
    """One of several learning rates that a variant was fine-tuned with; accuracy is the mean over seeds."""

    learning_rate: float
    selection_accuracy_percent: float | None
    diverged_seeds: list[int]
    chosen_by_seeds: list[int]


class Whole(TypedDict):
    """A layer, how many of its channels stay whatever the ratio is, and why. `by`: another layer, or None."""

    name: str
    channels: int
    reason: Literal["ignored", "architecture", "map", "single", "blocks", "output", "tied", "unused", "partly"]
    by: str | None


class Epoch(TypedDict):
    epoch: int
    train_loss: float | None
    selection_accuracy_percent: float | None


class Curve(TypedDict):
    seed: int
    epochs: list[Epoch]


class Bin(TypedDict):
    """The test images whose predictions have about the same confidence."""

    images: int
    confidence_percent: float
    accuracy_percent: float


class Trust(TypedDict):
    """How far a variant's probabilities can be believed: means over its models.

    `ece_interval` is over images and, like `ece_calibrated_…` (what a perfectly calibrated model would show on as many
    images, in the mean and in 95 of 100 cases) and `reliability`, of the first model alone. `ece_of_seeds`: the least
    and the greatest of several models. `claim`: whether the calibration error differs from the original's.
    """

    top5_percent: float | None
    nll: float | None
    confidence_percent: float | None
    ece_percent: float | None
    ece_interval: Interval | None
    ece_of_seeds: Interval | None
    ece_calibrated_percent: float | None
    ece_calibrated_at_most_percent: float | None
    reliability: list[Bin] | None
    claim: EachModel | None


class Left(TypedDict):
    """A class that the original named for `of` test images, `images` of which are now called otherwise."""

    class_index: int
    images: float
    of: int


class Answers(TypedDict):
    """Test images for which another class is named than by the original, in percent of all; means over models.

    `seeds_disagree_percent`: for how many two models of the variant name different classes.
    """

    changed_percent: float
    right_to_wrong_percent: float
    wrong_to_right_percent: float
    seeds_disagree_percent: float | None
    left: list[Left]


class Corruptions(TypedDict):
    """Accuracy on corrupted test images, by kind at three strengths, and their mean; means over models."""

    accuracy_percent: dict[str, list[float]]
    mean_percent: float
    claim: EachModel | None


class Confused(TypedDict):
    """`images` of the `of` test images of class `actual` are taken for class `taken_for`; means over models."""

    actual: int
    taken_for: int
    images: float
    of: float


class _Measured(TypedDict):
    """What all rows have in common."""

    variant: str
    accuracy_interval: Interval | None
    accuracy_interval_over: Literal["seeds", "images"] | None  # seeds and images, or the images of one model
    change_interval: Interval | None  # of the claim in `against_original`
    seeds: list[Seed]
    fate: Fate | None
    parameters: int | None
    parameters_change_percent: float | None
    size_mib: float | None
    size_change_percent: float | None
    gmacs: float | None
    gmacs_change_percent: float | None
    channels_removed_percent: float | None
    ratio_used: float | None
    latency_ms: float | None
    latency: Latency | None
    time: Matched | None  # where that is what a scenario matches
    throughput: Throughput | None
    timings: list[Timing] | None
    peak_memory_mib: float | None
    energy_mj_per_image: float | None
    onnx: Onnx | None
    deployments: list[Deployment] | None
    layers: list[Layer] | None
    unpruned_layers: list[Whole] | None
    history: list[Curve] | None
    learning_rates: list[Rate] | None  # where several were tried
    per_class_change_points: list[float | None] | None
    per_class_accuracy_percent: list[float | None] | None
    balanced_accuracy_percent: float | None
    trust: Trust | None
    answers: Answers | None
    corruptions: Corruptions | None
    confused: list[Confused] | None
    confusion: list[list[float]] | None  # images by class and by the class named, where there are few classes


class Row(_Measured):
    """A variant that was measured."""

    method: str
    ratio: float | None
    status: Literal["ok"]
    reason: None
    accuracy_percent: float
    accuracy_change_points: float
    retention_percent: float | None  # None where the baseline is never right


class Unavailable(_Measured):
    """A variant whose method cannot serve the model."""

    method: str
    ratio: float | None
    status: Literal["unavailable"]
    reason: str
    accuracy_percent: None
    accuracy_change_points: None
    retention_percent: None


class Baseline(_Measured):
    """The model that was not pruned."""

    method: None
    ratio: None
    status: Literal["ok"]
    reason: None
    accuracy_percent: float
    accuracy_change_points: None
    retention_percent: None
