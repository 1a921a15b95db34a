"""Everything that is measured on a scenario's finished models: accuracy by image, cost, and speed.

Accuracy is measured on every model. Speed is measured on the baseline and on each variant's first seed: seeds of a
variant have the same structure, or, where the seed chooses the channels, structures of the same expected cost. Variants
of equal structure run the same operations on the same shapes: one of them is timed for all, so that no noise is taken
for a difference between methods.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from budama.data.batching import batches
from budama.data.corruptions import Corruption
from budama.data.dataset import Data
from budama.measuring import complexity, deployments, forms, latency, resources, scoring, trust
from budama.measuring.deployments import Deployed
from budama.measuring.evaluation import Evaluation
from budama.networks import checkpoint
from budama.progress import log
from budama.significance.hits import labels_digest, packed, packed_classes

if TYPE_CHECKING:
    from budama.results.contracts import Measurements

FORMS = {None: "", "compile": ", compiled", "cuda_graph": ", as a CUDA graph"}
AT_ONCE = 16  # models that share one pass over the test images: decoding costs more than a small model does


@dataclass(frozen=True)
class Tested:
    """A model that was tested on the test images, and what is to be known for timing it.

    `structure`: equal texts for models of equal structure; None where the model's variant is timed by another seed.
    `timed_as`: the label of the model whose times are this one's, its own or that of the first of equal structure; None
    where no times belong to it. `model` is kept where it is the one to time.
    """

    label: str
    outcome: Evaluation
    corrupted: Mapping[Corruption, np.ndarray] | None  # hits [N], where that was asked for
    sha256: str  # of its tensors
    shapes: tuple  # of its tensors, with their names
    cost: complexity.Complexity
    structure: str | None
    timed_as: str | None
    model: nn.Module | None
    deployed: Sequence[Deployed] = ()

    def row(self) -> dict:
        """What benchmark.json says of the model by itself."""
        outcome = self.outcome
        return {
            "status": "ok",
            "reason": None,
            "accuracy_percent": outcome.accuracy_percent,
            "correct": outcome.correct,
            "images": outcome.images,
            "hits": packed(outcome.hits),
            "misses": packed_classes(outcome.predictions[~outcome.hits]),
            "sha256": self.sha256,
            **asdict(self.cost),
        }


def run(
    folders: Mapping[str, Path],
    data: Data,
    settings: dict,
    device: torch.device,
    exported: Mapping[str, Path] | None = None,
) -> Measurements:
    """Measure the checkpoints `folders` (label → folder, "baseline" first, then VARIANT/seed-N) on `data`.

    `settings`: the `benchmark` section of a scenario. `exported`: the folders of the stage export by label, where the
    models are measured as they ship, too. Returns what benchmark.json holds, but for the environment.
    """
    reasons = {label: checkpoint.structure(folder).get("unavailable") for label, folder in folders.items()}
    able = {label: folder for label, folder in folders.items() if not reasons[label]}
    tested = _test(able, data, device, settings, exported or {})
    models = {one.label: one.model for one in tested if one.model is not None}
    images = {size: timing_images(data, size, device) for size in _batch_sizes(settings)}
    runs = [_timed(models, images[size], settings, precision, form) for size, precision, form in _timings(settings)]
    speeds = {label: _speed(label, runs) | _demands(model, images, settings) for label, model in models.items()}
    trusted = _trusted(tested)
    shipped, shipped_runs = _deployments(tested, models, images, settings, device)
    rows = {
        one.label: {
            **one.row(),
            **trusted[one.label],
            **(speeds[one.timed_as] if one.timed_as else {}),
            **shipped.get(one.label, {}),
        }
        for one in tested
    }
    rows |= {label: {"status": "unavailable", "reason": reason} for label, reason in reasons.items() if reason}
    measured = {
        "device": resources.device_name(device),
        "threads": min(run.threads or torch.get_num_threads() for run in runs),
        "threads_asked": torch.get_num_threads(),
        "clocks": resources.clocks(device),
        "settings": settings,
        "labels_digest": labels_digest(data.split("test").labels),
        "controls": {"aa": runs[0].aa and asdict(runs[0].aa)},
        "runs": [{key: value for key, value in run.to_json().items() if key != "timings"} for run in runs],
        **({"deployment_runs": shipped_runs} if shipped_runs else {}),
        "rows": {label: rows[label] for label in folders},
    }
    return cast("Measurements", measured)


def _test(
    folders: Mapping[str, Path], data: Data, device: torch.device, settings: dict, exported: Mapping[str, Path]
) -> list[Tested]:
    """Test the models of all `folders`, some at once, in all their forms, and choose those that are to be timed."""
    labels = list(folders)
    tested: list[Tested] = []
    timed = _first_seeds(labels)
    for start in range(0, len(labels), AT_ONCE):
        group = {label: checkpoint.load(folders[label], device, data) for label in labels[start : start + AT_ONCE]}
        outcomes = scoring.evaluate_together(group, scoring.batches_of_test(data, device, len(group)), device)
        corrupted = scoring.hits_when_corrupted(group, data, device) if settings["corruptions"] else {}
        offered = {label: forms.of(exported.get(label), settings) for label in group}
        shipped = deployments.test(group, offered, outcomes, data, device)
        for label, model in group.items():
            structure = _structure(label, folders[label], model) if label in timed else None
            digest = checkpoint.structure(folders[label])["sha256"]
            one = _tested(label, model, outcomes[label], corrupted.get(label), digest, structure, data, tested)
            log(f"{label}: {one.outcome.accuracy_percent:.2f} % of {one.outcome.images} test images")
            tested.append(replace(one, deployed=[form for form in shipped if form.label == label]))
    return tested


def _tested(
    label: str,
    model: nn.Module,
    outcome: Evaluation,
    corrupted: Mapping[Corruption, np.ndarray] | None,
    digest: str,
    structure: str | None,
    data: Data,
    before: Sequence[Tested],
) -> Tested:
    """What is to be known of a model, looked up where one of those `before` it is alike."""
    shapes = tuple((name, tuple(tensor.shape)) for name, tensor in model.state_dict().items())
    alike = next((one.cost for one in before if one.shapes == shapes), None)
    cost = alike or complexity.measure(model, data.input_shape)
    timed_as = structure and next((one.label for one in before if one.structure == structure), label)
    return Tested(
        label, outcome, corrupted, digest, shapes, cost, structure, timed_as, model if timed_as == label else None
    )


def _deployments(
    tested: Sequence[Tested],
    models: Mapping[str, nn.Module],
    images: Mapping[int, Tensor],
    settings: dict,
    device: torch.device,
) -> tuple[dict[str, dict], list[dict]]:
    """What is said of each model's forms, by label, and of the runs in which they were timed.

    Forms of models of equal structure are timed once, too, unless int8 was quantised in another way.
    """
    every = {(one.timed_as, *form.alike): form for one in reversed(tested) for form in one.deployed if one.timed_as}
    speeds = deployments.time(every.values(), models, images, settings, device)
    many = images[settings["throughput_batch_size"]]
    memory = {form.key: deployments.memory(form, models, many, settings, device) for form in every.values()}
    rows: dict[str, dict] = {}
    for one in tested:
        for form in one.deployed:
            timed = every.get((one.timed_as, *form.alike)) if one.timed_as else None
            times = {**speeds.of.get(timed.key, {}), "peak_memory_mib": memory.get(timed.key)} if timed else {}
            rows.setdefault(one.label, {"deployments": []})["deployments"].append({**form.row(), **times})
    return rows, speeds.runs


def _trusted(tested: Sequence[Tested]) -> dict[str, dict]:
    """What is known of each model beyond its first guesses, changes being those against the baseline."""
    found: dict[str, dict] = {}
    judged = trust.judge({one.label: one.outcome for one in tested}, latency.BASELINE)
    reference = next((one.corrupted for one in tested if one.label == latency.BASELINE), None)
    for one in tested:
        found[one.label] = {"trust": judged[one.label]}
        if one.corrupted is not None:
            against = reference if one.label != latency.BASELINE else None
            found[one.label]["corruptions"] = scoring.robustness(one.corrupted, against)
    return found


def timing_images(data: Data, size: int, device: torch.device) -> Tensor:
    """[size, C, H, W] real images of the selection split to time with; repeated where it has fewer."""
    images, _ = next(iter(batches(data, "selection", size, device=device)))
    return images.repeat(-(-size // len(images)), 1, 1, 1)[:size]


def _first_seeds(labels: list[str]) -> list[str]:
    """The baseline, and of each variant the first label."""
    first: dict[str, str] = {}
    for label in labels:
        first.setdefault(label.partition("/")[0], label)
    return list(first.values())


def _structure(label: str, folder: Path, model: nn.Module) -> str:
    """Equal texts for models that differ in the values of their tensors alone; the baseline is like no other."""
    described = checkpoint.structure(folder)
    shapes = {name: [*tensor.shape, str(tensor.dtype)] for name, tensor in model.state_dict().items()}
    built = [described["recipe"]["model"], described["attributes"], shapes, label == latency.BASELINE]
    return json.dumps(built, sort_keys=True)


def _demands(model: nn.Module, images: dict[int, Tensor], settings: dict) -> dict:
    """Memory and energy at the batch size of the throughput."""
    batch = images[settings["throughput_batch_size"]]
    return {
        "peak_memory_mib": resources.peak_memory_mib(model, batch),
        "energy_mj_per_image": resources.energy_mj_per_image(model, batch),
    }


def _batch_sizes(settings: dict) -> set[int]:
    return {settings["batch_size"], settings["throughput_batch_size"]}


def _timings(settings: dict) -> list[tuple[int, str, str | None]]:
    """(batch size, precision, form): the two that the report shows first, then the others that were asked for.

    The form is None for a model that is called as it is, else the argument of `latency.compare` that changes it.
    """
    return [
        (size, precision, form)
        for precision in settings["precisions"]
        for form in (None, *(form for form in ("compile", "cuda_graph") if settings.get(form)))
        for size in dict.fromkeys((settings["batch_size"], settings["throughput_batch_size"]))
    ]


def _timed(
    models: dict[str, nn.Module], images: Tensor, settings: dict, precision: str, form: str | None
) -> latency.Run:
    found = latency.compare(
        models,
        images,
        rounds=settings["rounds"],
        warmup_rounds=settings["warmup_rounds"],
        precision=precision,
        channels_last=settings["channels_last"],
        compile=form == "compile",
        cuda_graph=form == "cuda_graph",
    )
    how = f"{len(images)} images a batch, {precision}{FORMS[form]}"
    if found.aa:
        low, high = found.aa.interval
        log(f"timed {how}: {found.rounds} rounds, A/A {found.aa.ratio:.4f} [{low:.4f}, {high:.4f}]")
    else:
        log(f"not timed, {how}: {found.timings[latency.BASELINE].error}")
    return found


def _speed(label: str, runs: list[latency.Run]) -> dict:
    """`latency` and `throughput`: the first precision, eager. `timings`: what every run says of `label`."""
    first = runs[0]
    many = next((run for run in runs[1:] if _form(run) == _form(first)), first)
    return {
        "latency": _timing(label, first),
        "throughput": _timing(label, many),
        "timings": [_timing(label, run) for run in runs],
    }


def _form(run: latency.Run) -> tuple:
    return run.precision, run.compile, run.cuda_graph


def _timing(label: str, run: latency.Run) -> dict:
    how = {key: getattr(run, key) for key in ("batch_size", "precision", "compile", "cuda_graph", "channels_last")}
    return how | asdict(run.timings[label])
