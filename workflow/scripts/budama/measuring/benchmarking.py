"""Everything that is measured on a scenario's finished models: accuracy by image, cost, and speed.

Accuracy is measured on every model. Speed is measured on the baseline and on each variant's first seed: seeds of a
variant have the same structure, or, where the seed chooses the channels, structures of the same expected cost. Variants
of equal structure run the same operations on the same shapes: one of them is timed for all, so that no noise is taken
for a difference between methods.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from budama.data.batching import batches
from budama.data.dataset import Data
from budama.measuring import complexity, evaluation, latency, resources
from budama.networks import checkpoint
from budama.progress import log, track
from budama.results.hits import labels_digest, packed

if TYPE_CHECKING:
    from budama.results.contracts import Measurements

AT_ONCE = 16  # models that share one pass over the test images: decoding costs more than a small model does
EVALUATION_VALUES = 256 * 3 * 224 * 224  # values in a batch; small images get batches of 1024


@dataclass(frozen=True)
class Tested:
    """A model that was tested on the test images, and what is to be known for timing it.

    `structure`: equal texts for models of equal structure; None where the model's variant is timed by another seed.
    `timed_as`: the label of the model whose times are this one's, its own or that of the first of equal structure; None
    where no times belong to it. `model` is kept where it is the one to time.
    """

    label: str
    hits: np.ndarray  # bool [N]
    sha256: str  # of its tensors
    shapes: tuple  # of its tensors, with their names
    cost: complexity.Complexity
    structure: str | None
    timed_as: str | None
    model: nn.Module | None

    @property
    def accuracy_percent(self) -> float:
        return 100 * int(self.hits.sum()) / len(self.hits)

    def row(self) -> dict:
        """What benchmark.json says of the model, but for its speed."""
        return {
            "status": "ok",
            "reason": None,
            "accuracy_percent": self.accuracy_percent,
            "correct": int(self.hits.sum()),
            "images": len(self.hits),
            "hits": packed(self.hits),
            "sha256": self.sha256,
            **asdict(self.cost),
        }


def run(folders: Mapping[str, Path], data: Data, settings: dict, device: torch.device) -> Measurements:
    """Measure the checkpoints `folders` (label → folder, "baseline" first, then VARIANT/seed-N) on `data`.

    `settings`: the `benchmark` section of a scenario. Returns what benchmark.json holds, but for the environment.
    """
    reasons = {label: checkpoint.structure(folder).get("unavailable") for label, folder in folders.items()}
    tested = _test({label: folder for label, folder in folders.items() if not reasons[label]}, data, device)
    models = {one.label: one.model for one in tested if one.model is not None}
    images = {size: timing_images(data, size, device) for size in _batch_sizes(settings)}
    runs = [
        _timed(models, images[size], settings, precision, compiled) for size, precision, compiled in _timings(settings)
    ]
    speeds = {label: _speed(label, runs) | _demands(model, images, settings) for label, model in models.items()}
    rows = {one.label: {**one.row(), **(speeds[one.timed_as] if one.timed_as else {})} for one in tested}
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
        "rows": {label: rows[label] for label in folders},
    }
    return cast("Measurements", measured)


def _test(folders: Mapping[str, Path], data: Data, device: torch.device) -> list[Tested]:
    """Test the models of all `folders`, some at once, and choose those that are to be timed."""
    labels = list(folders)
    tested: list[Tested] = []
    timed = _first_seeds(labels)
    for start in range(0, len(labels), AT_ONCE):
        group = {label: checkpoint.load(folders[label], device, data) for label in labels[start : start + AT_ONCE]}
        hits = evaluate_together(group, test_batches(data, device, side_by_side(len(group), device)), device)
        for label, model in group.items():
            structure = _structure(label, folders[label], model) if label in timed else None
            digest = checkpoint.structure(folders[label])["sha256"]
            one = _tested(label, model, hits[label], digest, structure, data, tested)
            log(f"{label}: {one.accuracy_percent:.2f} % of {len(one.hits)} test images")
            tested.append(one)
    return tested


def _tested(
    label: str,
    model: nn.Module,
    hits: np.ndarray,
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
    return Tested(label, hits, digest, shapes, cost, structure, timed_as, model if timed_as == label else None)


def evaluate_together(
    models: Mapping[str, nn.Module], test: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> dict[str, np.ndarray]:
    """Hits [N] of each model on the test images, which are read and decoded once for all of them.

    On a CPU as many models as there are threads work side by side: a thread that does a model alone never waits for
    another one, as threads that share a layer of a small model do.
    """
    hits: dict[str, list[np.ndarray]] = {label: [] for label in models}
    threads, at_once = torch.get_num_threads(), side_by_side(len(models), device)
    try:
        with ThreadPoolExecutor(at_once, initializer=torch.set_num_threads, initargs=(threads // at_once,)) as pool:
            for batch in track(test, f"testing {len(models)} models", unit="batches"):
                outcomes = pool.map(partial(evaluation.evaluate, batches=[batch], device=device), models.values())
                for label, outcome in zip(models, outcomes, strict=True):
                    hits[label].append(outcome.hits)
    finally:
        torch.set_num_threads(threads)  # MKL has one number for all threads
    return {label: np.concatenate(parts) for label, parts in hits.items()}


def side_by_side(models: int, device: torch.device) -> int:
    """How many models are evaluated at a time."""
    return min(models, torch.get_num_threads()) if device.type == "cpu" else 1


def test_batches(data: Data, device: torch.device, at_once: int):
    """The test split in batches of a size that memory bears where `at_once` models work on one, 1024 images at most."""
    size = int(np.clip(EVALUATION_VALUES // np.prod(data.input_shape), 1, 1024))
    return batches(data, "test", max(1, size // at_once), device=device)


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


def _timings(settings: dict) -> list[tuple[int, str, bool]]:
    """(batch size, precision, compiled): the two that the report shows first, then the others that were asked for."""
    return [
        (size, precision, compiled)
        for precision in settings["precisions"]
        for compiled in ([False, True] if settings["compile"] else [False])
        for size in dict.fromkeys((settings["batch_size"], settings["throughput_batch_size"]))
    ]


def _timed(models: dict[str, nn.Module], images: Tensor, settings: dict, precision: str, compiled: bool) -> latency.Run:
    found = latency.compare(
        models,
        images,
        rounds=settings["rounds"],
        warmup_rounds=settings["warmup_rounds"],
        precision=precision,
        compile=compiled,
        channels_last=settings["channels_last"],
    )
    how = f"{len(images)} images a batch, {precision}{', compiled' if compiled else ''}"
    if found.aa:
        low, high = found.aa.interval
        log(f"timed {how}: {found.rounds} rounds, A/A {found.aa.ratio:.4f} [{low:.4f}, {high:.4f}]")
    else:
        log(f"not timed, {how}: {found.timings[latency.BASELINE].error}")
    return found


def _speed(label: str, runs: list[latency.Run]) -> dict:
    """`latency` and `throughput`: the first precision, eager. `timings`: what every run says of `label`."""
    first = runs[0]
    many = next((run for run in runs[1:] if (run.precision, run.compile) == (first.precision, first.compile)), first)
    return {
        "latency": _timing(label, first),
        "throughput": _timing(label, many),
        "timings": [_timing(label, run) for run in runs],
    }


def _timing(label: str, run: latency.Run) -> dict:
    how = {key: getattr(run, key) for key in ("batch_size", "precision", "compile", "channels_last")}
    return how | asdict(run.timings[label])
