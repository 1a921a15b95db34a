"""Everything that is measured on a scenario's finished models: accuracy by image, cost, and speed.

Accuracy is measured on every model. Speed is measured on the baseline and on each variant's first seed: seeds of a
variant have the same structure, or, where the seed chooses the channels, structures of the same expected cost. Variants
of equal structure run the same operations on the same shapes: one of them is timed for all, so that no noise is taken
for a difference between methods.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from budama.data.batching import batches
from budama.data.dataset import Data
from budama.measuring import complexity, evaluation, latency, resources
from budama.networks import checkpoint
from budama.progress import log, track

AT_ONCE = 16  # models that share one pass over the test images: decoding costs more than a small model does
EVALUATION_VALUES = 256 * 3 * 224 * 224  # values in a batch; small images get batches of 1024


def run(folders: Mapping[str, Path], data: Data, settings: dict, device: torch.device) -> dict:
    """Measure the checkpoints `folders` (label → folder, "baseline" first, then VARIANT/seed-N) on `data`.

    `settings`: the `benchmark` section of a scenario. Returns what benchmark.json holds, but for the environment.
    """
    reasons = {label: checkpoint.structure(folder).get("unavailable") for label, folder in folders.items()}
    rows = {label: {"status": "unavailable", "reason": reason} for label, reason in reasons.items() if reason}
    available = [label for label, reason in reasons.items() if not reason]
    timed = _first_seeds(available)
    stands_in: dict[str, str] = {}  # for a label, the label of equal structure that is timed
    models: dict[str, nn.Module] = {}
    costs: dict[tuple, complexity.Complexity] = {}
    first: dict[str, str] = {}  # the first label of each structure
    for start in range(0, len(available), AT_ONCE):
        group = {label: checkpoint.load(folders[label], device, data) for label in available[start : start + AT_ONCE]}
        outcomes = evaluate_together(group, test_batches(data, device, side_by_side(len(group), device)), device)
        for label, model in group.items():
            rows[label] = {"status": "ok", "reason": None, **_accuracy(outcomes[label]), **_cost(model, data, costs)}
            log(f"{label}: {rows[label]['accuracy_percent']:.2f} % of {rows[label]['images']} test images")
            if label in timed:
                stands_in[label] = first.setdefault(_structure(label, folders[label], model), label)
        models |= {label: model for label, model in group.items() if stands_in.get(label) == label}
    images = {size: timing_images(data, size, device) for size in _batch_sizes(settings)}
    runs = [_timed(models, images[size], settings, *how) for size, *how in _timings(settings)]
    speeds = {label: _speed(label, runs) | _demands(model, images, settings) for label, model in models.items()}
    for label, other in stands_in.items():
        rows[label] |= speeds[other]
    labels = data.split("test").labels.astype("<i8")
    return {
        "device": resources.device_name(device),
        "threads": min(run.threads or torch.get_num_threads() for run in runs),
        "threads_asked": torch.get_num_threads(),
        "clocks": resources.clocks(device),
        "settings": settings,
        "labels_digest": hashlib.sha256(labels.tobytes()).hexdigest(),
        "controls": {"aa": runs[0].aa and asdict(runs[0].aa)},
        "runs": [{key: value for key, value in run.to_json().items() if key != "timings"} for run in runs],
        "rows": {label: rows[label] for label in folders},
    }


def evaluate_together(
    models: Mapping[str, nn.Module], test: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> dict[str, np.ndarray]:
    """Hits [N] of each model on the test images, which are read and decoded once for all of them.

    On a CPU as many models as there are threads work side by side: a thread that does a model alone never waits for
    another one, as threads that share a layer of a small model do.
    """
    hits: dict[str, list[np.ndarray]] = {label: [] for label in models}
    threads, at_once = torch.get_num_threads(), side_by_side(len(models), device)
    own_threads = {"initializer": torch.set_num_threads, "initargs": (threads // at_once,)}
    try:
        with ThreadPoolExecutor(at_once, **own_threads) as pool:
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


def packed(hits: np.ndarray) -> str:
    """[N] booleans, one bit an image, in base64 (`numpy.packbits`)."""
    return base64.b64encode(np.packbits(hits).tobytes()).decode()


def _first_seeds(labels: list[str]) -> list[str]:
    """The baseline, and of each variant the first label."""
    first: dict[str, str] = {}
    for label in labels:
        first.setdefault(label.partition("/")[0], label)
    return list(first.values())


def _accuracy(hits: np.ndarray) -> dict:
    correct = int(hits.sum())
    return {
        "accuracy_percent": 100 * correct / len(hits),
        "correct": correct,
        "images": len(hits),
        "hits": packed(hits),
    }


def _cost(model: nn.Module, data: Data, known: dict[tuple, complexity.Complexity]) -> dict:
    """Parameters, size and operations; models of equal tensor shapes are measured once."""
    shape = tuple((name, tuple(tensor.shape)) for name, tensor in model.state_dict().items())
    if shape not in known:
        known[shape] = complexity.measure(model, data.input_shape)
    return asdict(known[shape])


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
