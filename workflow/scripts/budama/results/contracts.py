"""What the stages of a scenario write, and `results/` puts together: pruning.json, metrics.json, benchmark.json and
export.json.

Their writers stand above (pruning, training, measuring) or beside (the export stage), and import these types to be
checked against. dataset.json's stands beside its writer, in `data/manifest.py`; results.json's in
`reporting/contract.py`.
"""

from typing import Any, Literal, NotRequired, TypedDict

from budama.reporting.contract import Controls, Curve, Width
from budama.reporting.row import Layer, Timing, Whole
from budama.reporting.shipped import Onnx
from budama.results.forms import Form
from budama.results.time_contracts import TimedPruning


class Unavailable(TypedDict):
    """A method that cannot serve the model, in pruning.json, metrics.json, export.json and a row of benchmark.json."""

    status: Literal["unavailable"]
    reason: str


class StageAccuracies(TypedDict):
    """Percent of the selection images, as pruned, with BatchNorm re-estimated, and where the scenario compensates, with
    that done and BatchNorm re-estimated."""

    as_pruned: float
    reestimated: float
    compensated: NotRequired[float]


class StageHits(TypedDict):
    """Hits on the selection images (see `hits`)."""

    as_pruned: str
    reestimated: str
    compensated: NotRequired[str]


class Compensated(TypedDict):
    """A layer that was folded. The squared distance of its output from that before the cut, over the output's square:
    `without` and `reached` with folding, on held calibration images; `promised` by the Gram matrix. `ridge`: λ over the
    mean of the Gram matrix's diagonal."""

    name: str
    without: float
    promised: float
    reached: float
    ridge: float


class NotCompensated(TypedDict):
    """A layer behind a cut that stays as it was: `worse` on held images, `attention`, `unread` in a pass, `wide` (its
    Gram matrix would be too large), `shared` weights, `unlike` what was there before."""

    name: str
    reason: Literal["worse", "attention", "unread", "wide", "shared", "unlike"]


class Sensitivity(TypedDict):
    """calibration.json: a curve a group, over `images` and at most `positions` an image and layer; `reason`, why there
    is none."""

    images: int
    positions: int
    curves: list[Curve]
    reason: str | None


class NotRefitted(TypedDict):
    """A layer that keeps the weights it had: `worse` on held images, or `unlike`, since its output is not its input
    times its weights."""

    name: str
    reason: Literal["worse", "unlike"]


class Refitting(TypedDict):
    """What became of the layers, one after the other, with `compensate: sequential`. Errors of `refitted` ones are of
    the layer's output against the original's: `without` as folded, on the input that the pruned model has by then."""

    refitted: list[Compensated]
    left: list[NotRefitted]


class Compensation(TypedDict):
    """What was done at one cut; `positions`: an image and layer, at most."""

    positions: int
    folded: list[Compensated]
    left: list[NotCompensated]
    refitting: NotRequired[Refitting]


class Achieved(TypedDict):
    """What the pruning removed, in percent of the whole."""

    channels_percent: float
    macs_percent: float
    parameters_percent: float


class MeasuredWidths(TypedDict):
    """widths.json: the time of a layer at every width."""

    batch: int
    precision: str
    channels_last: bool
    side: int
    threads: int
    aa: dict[str, Any] | None
    widths: dict[str, Width]


class Pruned(TypedDict):
    """pruning.json of a model that was pruned: what came out, then what was asked for."""

    status: Literal["ok"]
    reason: None
    calibration_images: int
    ratio_used: float | None
    round_to_used: int | None
    achieved: Achieved
    parameters: int
    size_mib: float
    gmacs: float
    selection_accuracy_percent: StageAccuracies
    selection_hits: StageHits
    selection_images: int
    layers: list[Layer]
    unpruned_layers: list[Whole]
    compensation: NotRequired[list[Compensation]]  # a cut each, where the scenario compensates
    compensate: NotRequired[str]
    layers_asked: NotRequired[dict[str, float]]  # ratios by pattern, where the scenario has some
    own_ratios: NotRequired[dict[str, float]]  # and those of the groups, by their first layers
    time: NotRequired[TimedPruning]  # where `match` is latency
    method: str
    ratio: float | None
    scope: str
    steps: int
    match: str
    round_to: int | str | None
    ignore: list[str]
    max_ratio: float
    reestimate_batchnorm: bool
    seed: int
    widths: NotRequired[MeasuredWidths]  # where `round_to` is auto


class Tried(TypedDict):
    """A run with one of several learning rates, on the selection split; None where it diverged."""

    learning_rate: float
    selection_accuracy_percent: float | None
    selection_loss: float | None
    train_seconds: float | None


class Metrics(TypedDict):
    """metrics.json of a training. Accuracies and losses are of the selection split, `start` before the first step."""

    status: Literal["ok"]
    seed: int
    best_epoch: int
    epochs: int
    selection_accuracy_percent: float
    selection_loss: float
    start_accuracy_percent: float
    train_seconds: float
    precision: str
    device: str
    environment: dict[str, Any]
    learning_rate: NotRequired[float]  # the one that was chosen, where `learning_rates` were tried
    learning_rates: NotRequired[list[Tried]]


class RoundTiming(Timing):
    """One setting, and the median of each round."""

    round_ms: list[float | None]


class Bin(TypedDict):
    """The images whose predictions have about the same confidence."""

    images: int
    confidence_percent: float
    accuracy_percent: float


class Trust(TypedDict):
    """How far a model's probabilities can be believed (see `measuring/trust.py`); None where they are not finite.

    `nll` in nats an image. `ece_calibrated_…`: what a perfectly calibrated model of these confidences would show on
    as many images, in the mean and in 95 of 100 cases. `ece_change_…`: against the baseline, and the standard error of
    that over images; None for the baseline.
    """

    top5_percent: float | None
    nll: float | None
    confidence_percent: float | None
    ece_percent: float | None
    ece_interval: list[float] | None
    ece_calibrated_percent: float | None
    ece_calibrated_at_most_percent: float | None
    ece_change_points: float | None
    ece_change_error_points: float | None
    reliability: list[Bin] | None


class Robustness(TypedDict):
    """Accuracy on corrupted test images, by kind the three strengths (see `data/corruptions.py`), and their mean.

    `change_…`: against the baseline, and the standard error of that over images; None for the baseline.
    """

    accuracy_percent: dict[str, list[float]]
    mean_percent: float
    change_points: float | None
    change_error_points: float | None


class Benchmarked(TypedDict):
    """A row of benchmark.json. Speed, memory and energy are those of each variant's first seed alone."""

    status: Literal["ok"]
    reason: None
    accuracy_percent: float
    correct: int
    images: int
    hits: str
    misses: NotRequired[str]  # the classes that were taken for the right one; earlier versions have none
    trust: NotRequired[Trust]
    corruptions: NotRequired[Robustness]  # where they were asked for
    sha256: NotRequired[str]  # of its tensors; earlier versions have none
    parameters: int
    size_mib: float
    gmacs: float
    conv_linear_gmacs: float
    other_gmacs: float
    uncounted_gmacs: float
    layers: list[dict[str, Any]]
    latency: NotRequired[RoundTiming]
    throughput: NotRequired[RoundTiming]
    timings: NotRequired[list[RoundTiming]]
    peak_memory_mib: NotRequired[float | None]
    energy_mj_per_image: NotRequired[float | None]
    deployments: NotRequired[list[Form]]  # where there are others than PyTorch in float32


class Measurements(TypedDict):
    """What was measured on the models. `rows` by label (see `labels`), the baseline's being "baseline"."""

    device: str
    threads: int
    threads_asked: int
    clocks: dict[str, Any]
    settings: dict[str, Any]
    labels_digest: str
    controls: Controls
    runs: list[dict[str, Any]]
    deployment_runs: NotRequired[list[dict[str, Any]]]
    rows: dict[str, Benchmarked | Unavailable]


class Benchmark(Measurements):
    """benchmark.json."""

    environment: dict[str, Any]


class Formats(TypedDict, total=False):
    """What is said of each format that was asked for."""

    onnx: Onnx
    torch_export: dict[str, Any]


class Export(TypedDict):
    """export.json of a model."""

    status: Literal["ok"]
    formats: Formats
    environment: dict[str, Any]
