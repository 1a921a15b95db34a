"""What the stages of a scenario wrote, here invented, so that every number can be checked."""

import hashlib

import numpy as np
import pandas as pd

from budama.results.measured import Measured
from budama.significance.hits import labels_digest, packed

METHODS = ["magnitude", "wanda", "random", "bn_scale"]
SEEDS = [0, 1, 2]
TEST, SELECTION, CLASSES = 2000, 600, 4
SHARE = {"baseline": 0.95, "magnitude": 0.94, "wanda": 0.939, "random": 0.90}


def drawn(name: str, count: int, share: float) -> np.ndarray:
    """Hits of which all models share the hard images, as real models do."""
    common = np.random.default_rng(9).random(count)
    own = np.random.default_rng(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)).random(count)
    return (common < share - 0.02) | ((common < share + 0.02) & (own < 0.5))


def answers_of_test() -> np.ndarray:
    return np.arange(TEST) % CLASSES


def timing(median: float, ratio: float, interval, size: int = 1) -> dict:
    return {
        "batch_size": size, "precision": "float32", "compile": False, "cuda_graph": False, "channels_last": True,
        "median_ms": median, "p95_ms": 1.1 * median, "ratio": ratio, "ratio_interval": interval,
        "images_per_second": 1000 * size / median, "undisturbed_percent": 99.0, "round_ms": [median] * 3, "error": None,
    }  # fmt: skip


def benchmark_row(label: str) -> dict:
    method = label.partition("/")[0]
    if method == "bn_scale":
        return {"status": "unavailable", "reason": "the model has no BatchNorm layer"}
    hits = drawn(label, TEST, SHARE[method])
    row = {
        "status": "ok", "reason": None, "accuracy_percent": 100 * hits.mean(), "correct": int(hits.sum()),
        "images": TEST, "hits": packed(hits), "sha256": label,
        "parameters": 800, "size_mib": 0.8, "gmacs": 0.4, "layers": [],
    }  # fmt: skip
    if method == "baseline":
        row |= {"parameters": 1000, "size_mib": 1.0, "gmacs": 0.5}
    if method == "baseline" or label.endswith("seed-0"):
        ratio, interval = (1.0, None) if method == "baseline" else (0.8, (0.79, 0.81))
        one, many = timing(2 * ratio, ratio, interval), timing(20 * ratio, ratio, interval, 64)
        row |= {"latency": one, "throughput": many, "timings": [one, many], "peak_memory_mib": 3.0,
                "energy_mj_per_image": None}  # fmt: skip
    return row


def pruning_of(label: str) -> dict:
    method, _, seed = label.partition("/seed-")
    if method == "bn_scale":
        return {"status": "unavailable", "reason": "the model has no BatchNorm layer", "method": method}
    mended = drawn(f"{method}{seed if method == 'random' else ''} selection", SELECTION, SHARE[method] - 0.1)
    return {
        "status": "ok", "method": method, "calibration_images": 128, "ratio_used": 0.31,
        "achieved": {"channels_percent": 30.0, "macs_percent": 20.0, "parameters_percent": 20.0},
        "selection_accuracy_percent": {"as_pruned": 40.0, "reestimated": 100 * mended.mean()},
        "selection_hits": {"reestimated": packed(mended)}, "selection_images": SELECTION,
        "layers": [{"name": "conv1", "before": 10, "after": 7}],
    }  # fmt: skip


def measured(**changes) -> Measured:
    names = [f"{method}/seed-{seed}" for method in METHODS for seed in SEEDS]
    answers = answers_of_test()
    epochs = [
        {"epoch": "1", "learning_rate": "0.1", "train_loss": "1.5", "selection_loss": "1.0",
         "selection_accuracy_percent": "90.5", "seconds": "2.0"},
        {"epoch": "2", "learning_rate": "0.1", "train_loss": "nan", "selection_loss": "1.0",
         "selection_accuracy_percent": "91.5", "seconds": "2.0"},
    ]  # fmt: skip
    table = pd.DataFrame(epochs, dtype=float).astype({"epoch": int})
    parts = {
        "settings": {
            "scenario": "invented", "title": None, "baseline": "ResNet20",
            "model": {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 20}, "weights": None},
            "data": {"name": "digits"}, "pruning": {"methods": METHODS, "ratio": 0.3}, "finetune": {"epochs": 2},
            "calibration": {"batches": 2, "batch_size": 64}, "seeds": SEEDS, "recorded": None,
            "variants": [{"name": method, "method": method, "ratio": 0.3} for method in METHODS],
        },
        "dataset": {
            "name": "digits", "title": "Digits", "protocol": "full", "classes": CLASSES, "class_names": list("abcd"),
            "input_shape": [1, 8, 8], "unreadable": [], "duplicates": {"dropped": 0},
            "counts": {"train": 5000, "selection": SELECTION, "test": TEST},
            "splits": {"test": {"labels": answers.tolist(), "digests": [f"{i:016x}" for i in range(TEST)]}},
            "warnings": [{"code": "few_images", "images": TEST}],
        },
        "benchmark": {
            "environment": {"date": "2026-11-24", "cpu": "a CPU"}, "threads": 2, "threads_asked": 2,
            "clocks": {"cpu_mhz": 2600}, "settings": {"batch_size": 1}, "labels_digest": labels_digest(answers),
            "controls": {"aa": {"ratio": 1.001, "interval": [0.998, 1.003], "within": True}},
            "rows": {label: benchmark_row(label) for label in ["baseline", *names]},
        },
        "baseline_metrics": {"seed": 0, "epochs": 2, "best_epoch": 2, "selection_accuracy_percent": 95.5},
        "baseline_history": table,
        "pruning": {label: pruning_of(label) for label in names},
        "metrics": {label: {"status": "ok", "best_epoch": 2, "selection_accuracy_percent": 94.0} for label in names},
        "histories": dict.fromkeys(names, table),
        "exports": {label: {"status": "ok", "formats": {"onnx": {"images": 64, "top1_equal": 64}}} for label in names},
    }  # fmt: skip
    return Measured(**(parts | changes))
