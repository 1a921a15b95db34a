"""Models as they ship: every form of every model scored on the whole test split, and all timed in the same rounds.

A form takes float32 images as NCHW and gives float32 logits, so that conversions count wherever a form needs them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from budama.data.dataset import Data
from budama.errors import one_line
from budama.measuring import file_memory, forms, latency, resources, scoring
from budama.measuring.evaluation import Evaluation
from budama.measuring.forms import Form
from budama.progress import log
from budama.significance.hits import packed

AT_ONCE = 16  # forms that share one pass over the test images
SETTINGS = ("latency", "throughput")  # at the batch sizes of both


@dataclass(frozen=True)
class Deployed:
    """A form of the model `label`, and what it makes of the test images; `reason` where it does not run."""

    label: str
    form: Form
    outcome: Evaluation | None = None
    top1_equal: int | None = None  # images for which it names the class that the PyTorch model in float32 names
    reason: str | None = None

    @property
    def key(self) -> str:
        return f"{self.label} {self.form.runtime} {self.form.precision}"

    @property
    def alike(self) -> tuple[str, str, str | None]:
        """What forms of models of equal structure must have in common to be equally fast."""
        return self.form.runtime, self.form.precision, self.form.kept

    def row(self) -> dict[str, Any]:
        """What benchmark.json says of it by itself."""
        form, outcome = self.form, self.outcome
        return {
            "runtime": form.runtime,
            "precision": form.precision,
            "status": "unavailable" if outcome is None else "ok",
            "reason": self.reason,
            "kept": form.kept,
            "size_mib": form.size_mib,
            "accuracy_percent": outcome and outcome.accuracy_percent,
            "correct": outcome and outcome.correct,
            "images": outcome and outcome.images,
            "hits": outcome and packed(outcome.hits),
            "top1_equal": self.top1_equal,
        }


def test(
    models: Mapping[str, nn.Module],
    offered: Mapping[str, Sequence[Form]],
    outcomes: Mapping[str, Evaluation],
    data: Data,
    device: torch.device,
) -> list[Deployed]:
    """Score every form in `offered` of `models`, by label; `outcomes` are those of PyTorch in float32 already."""
    wanted = [(label, form) for label in models for form in offered[label]]
    if all(len(offered[label]) == 1 for label in models):
        return []
    found: dict[tuple[str, Form], Evaluation] = {}
    reasons: dict[tuple[str, Form], str] = {}
    waiting: dict[tuple[str, Form], nn.Module] = {}
    for label, form in wanted:
        if (form.runtime, form.precision) == (forms.PYTORCH, "float32"):
            found[label, form] = outcomes[label]
            continue
        try:
            one = forms.ready(form, models[label], device)
            with torch.inference_mode():
                one(torch.zeros(2, *data.input_shape))
            if form.on_cpu:  # opened anew by the thread that scores it, with the threads that this one has then
                one.model = copy.deepcopy(one.model)
            waiting[label, form] = one
        except Exception as error:  # no kernel for it, no runtime, a file that this runtime cannot read: a row
            reasons[label, form] = one_line(error)
    for on_cpu in (False, True):
        where = torch.device("cpu") if on_cpu else device
        keys = [key for key in waiting if key[1].on_cpu == on_cpu]
        for start in range(0, len(keys), AT_ONCE):
            group = {str(number): waiting[key] for number, key in enumerate(keys[start : start + AT_ONCE])}
            scored = scoring.evaluate_together(group, scoring.batches_of_test(data, where, len(group)), where)
            found |= dict(zip(keys[start : start + AT_ONCE], scored.values(), strict=True))
    told = []
    for label, form in wanted:
        outcome = found.get((label, form))
        equal = int((outcome.predictions == outcomes[label].predictions).sum()) if outcome else None
        told.append(Deployed(label, form, outcome, equal, reasons.get((label, form))))
        if outcome:
            log(f"{told[-1].key}: {outcome.accuracy_percent:.2f} %")
    return told


@dataclass
class Speeds:
    """Times of all forms. `of` by the key of a `Deployed`; `runs`: what is to be known of each run."""

    of: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)


def time(
    deployed: Iterable[Deployed],
    models: Mapping[str, nn.Module],
    images: Mapping[int, Tensor],
    settings: Mapping[str, Any],
    device: torch.device,
) -> Speeds:
    """Time forms on `images` (by batch size), on each device; `models` by label, the baseline among them.

    On a device the reference is the baseline in float32, in ONNX Runtime where it is there, else in PyTorch.
    """
    speeds = Speeds()
    able = [one for one in deployed if one.outcome is not None]
    places = {"cpu": [one for one in able if one.form.on_cpu or device.type == "cpu"]}
    if device.type != "cpu":
        places[device.type] = [one for one in able if not one.form.on_cpu]
    for place, own in places.items():
        whole = [one for one in own if one.label == latency.BASELINE and one.form.precision == "float32"]
        if whole:
            _time(speeds, own, _reference(whole), whole, models, images, settings, torch.device(place))
    return speeds


def _reference(whole: Sequence[Deployed]) -> Deployed:
    return next((one for one in whole if one.form.runtime == forms.ONNXRUNTIME), whole[0])


def _time(speeds: Speeds, own, reference, whole, models, images, settings, device) -> None:
    """One device's forms, in a run at each batch size; `whole`: the baseline in float32, in each runtime."""
    names = {one.key: latency.BASELINE if one is reference else one.key for one in own}
    made = {names[one.key]: forms.ready(one.form, models[one.label], device, settings["channels_last"]) for one in own}
    references = {one.form.runtime: names[one.key] for one in whole}
    for kind, size in zip(SETTINGS, (settings["batch_size"], settings["throughput_batch_size"])):
        run = latency.compare(
            made,
            images[size].to(device),
            rounds=settings["rounds"],
            warmup_rounds=settings["warmup_rounds"],
            channels_last=False,
            references=[name for name in references.values() if name != latency.BASELINE],
        )
        told = {key: value for key, value in run.to_json().items() if key not in ("timings", "channels_last")}
        runtime = reference.form.runtime
        speeds.runs.append({**told, "kind": kind, "device": device.type, "reference_runtime": runtime})
        for one in own:
            ratios = {runtime: _ratio(run, names[one.key], name) for runtime, name in references.items()}
            timing = run.timings[names[one.key]]
            speeds.of.setdefault(one.key, {"device": device.type})[kind] = {
                "batch_size": run.batch_size,
                "median_ms": timing.median_ms,
                "images_per_second": timing.images_per_second,
                "error": timing.error,
                **_named("ratio", _ratio(run, names[one.key], latency.BASELINE)),
                **_named("runtime_ratio", ratios.get(one.form.runtime)),
                **_named("pytorch_ratio", ratios.get(forms.PYTORCH)),
            }
        log(f"timed {len(own)} forms on the {device.type}, {run.batch_size} images a batch: {run.rounds} rounds")


def memory(
    one: Deployed, models: Mapping[str, nn.Module], images: Tensor, settings: Mapping[str, Any], device: torch.device
) -> float | None:
    """The most MiB that a form takes with a batch: of tensors in PyTorch, of the process's resident memory in ONNX
    Runtime, each to be compared with its like alone; None where it does not run or there is no such number."""
    if one.outcome is None:
        return None
    if one.form.runtime == forms.ONNXRUNTIME and one.form.path:
        return file_memory.peak_memory_mib(one.form.path, images.shape, torch.get_num_threads())
    if one.form.runtime == forms.PYTORCH:
        made = forms.ready(one.form, models[one.label], device, settings["channels_last"])
        return resources.peak_memory_mib(made.model, images.to(device, made.dtype, memory_format=made.form))
    return None


def _ratio(run: latency.Run, name: str, reference: str) -> latency.Ratio | None:
    """Time of a model over a reference's, with its interval; None where it could not run."""
    timing = run.timings[name]
    if timing.ratio is None:
        return None
    if name == reference:
        return 1.0, (1.0, 1.0)
    if reference == latency.BASELINE:
        return timing.ratio, timing.ratio_interval or (1.0, 1.0)
    return run.against.get(reference, {}).get(name)


def _named(name: str, ratio: latency.Ratio | None) -> dict[str, Any]:
    return {name: ratio and ratio[0], f"{name}_interval": list(ratio[1]) if ratio else None}
