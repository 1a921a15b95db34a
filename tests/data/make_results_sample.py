"""Writes results_sample.json: invented numbers in the shape of a scenario's results.json. TEST DATA, measured nowhere."""

# ruff: noqa: E501

import json
from pathlib import Path

import numpy as np

METHODS = {"coverage": 0.9, "wanda": 0.45, "magnitude": 0.40, "taylor": 0.41, "random": 2.2, "scratch": 3.0}
RATIOS = [0.1, 0.3]
SEEDS = [0, 1, 2]
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
LAYERS = {"conv1": 16, "layer1.0.conv1": 16, "layer2.0.conv1": 32, "layer2.1.conv1": 32, "layer3.0.conv1": 64}
IMAGES = 10_000
BASE = {"accuracy_percent": 93.52, "parameters": 272_474, "size_mib": 1.05, "gmacs": 0.0411, "latency_ms": 2.31}


def change(value: float, before: float) -> float:
    return round(100 * (value / before - 1), 2)


def row(method: str, ratio: float, loss: float, rng: np.random.Generator) -> dict:
    ratio_latency = 1 - 0.6 * ratio
    drop = loss * (ratio / 0.3) ** 1.3
    finals = [round(BASE["accuracy_percent"] - drop + rng.normal(0, 0.08), 2) for _ in SEEDS]
    mean = float(np.mean(finals))
    half = 4.303 * float(np.std(finals, ddof=1)) / 3**0.5
    seeds, history = [], []
    for seed, final in zip(SEEDS, finals):
        pruned = 10.0 if method == "scratch" else 93.9 - 180 * ratio - 8 * loss
        mended = 10.0 if method == "scratch" else 93.9 - 25 * ratio * (1 + loss)
        curve = [final + 0.4 - 4 * 0.5**e + rng.normal(0, 0.1) for e in range(1, 6)]
        seeds.append({"seed": seed, "accuracy_percent": final, "as_pruned_percent": round(pruned, 2),
                      "reestimated_percent": round(mended, 2), "compensated_percent": None, "finetuned_percent": round(max(curve), 2),
                      "kept_epoch": 1 + int(np.argmax(curve)), "same_seeds": [], "hits": None})  # fmt: skip
        history.append({"seed": seed, "epochs": [
            {"epoch": e, "train_loss": round(0.5 * 0.7**e, 4), "selection_accuracy_percent": round(a, 2)}
            for e, a in enumerate(curve, 1)]})  # fmt: skip
    keep = 1 - ratio
    parameters, size = round(BASE["parameters"] * keep**1.9), round(BASE["size_mib"] * keep**1.9, 3)
    gmacs, latency = round(BASE["gmacs"] * keep**1.8, 4), round(BASE["latency_ms"] * ratio_latency, 3)
    per_class = [round(-drop + rng.normal(0, 0.6), 2) for _ in CLASSES]
    return {
        "variant": f"{method}-{ratio}", "method": method, "ratio": ratio, "status": "ok", "reason": None,
        "accuracy_percent": round(mean, 2), "accuracy_interval": [round(mean - half, 2), round(mean + half, 2)],
        "accuracy_interval_over": "seeds",
        "accuracy_change_points": round(mean - BASE["accuracy_percent"], 2),
        "change_interval": [round(mean - BASE["accuracy_percent"] - 0.3, 2), round(mean - BASE["accuracy_percent"] + 0.3, 2)],
        "retention_percent": round(100 * mean / BASE["accuracy_percent"], 2),
        "seeds": seeds,
        "fate": {"baseline_percent": 93.9} | {
            key: round(float(np.mean([s[key] for s in seeds])), 2)
            for key in ("as_pruned_percent", "reestimated_percent")}
            | {"compensated_percent": None, "finetuned_percent": round(float(np.mean([s["finetuned_percent"] for s in seeds])), 2)},
        "parameters": parameters, "parameters_change_percent": change(parameters, BASE["parameters"]),
        "size_mib": size, "size_change_percent": change(size, BASE["size_mib"]),
        "gmacs": gmacs, "gmacs_change_percent": change(gmacs, BASE["gmacs"]),
        "channels_removed_percent": round(100 * ratio, 1), "ratio_used": ratio,
        "latency_ms": latency,
        "latency": {"batch_size": 1, "median_ms": latency, "p95_ms": round(latency * 1.08, 3), "precision": "float32", "undisturbed_percent": 99.0,
                    "ratio": round(ratio_latency, 4), "ratio_interval": [round(ratio_latency - 0.006, 4), round(ratio_latency + 0.007, 4)]},
        "throughput": {"batch_size": 64, "precision": "float32", "images_per_second": round(900 / keep**1.4, 1), "ratio": round(1 / keep**1.4, 4),
                       "ratio_interval": [round(1 / keep**1.4 - 0.01, 4), round(1 / keep**1.4 + 0.01, 4)]},
        "peak_memory_mib": round(40 * keep, 1),
        "energy_mj_per_image": None, "timings": None, "onnx": None, "deployments": None,
        "layers": [{"name": n, "before": c, "after": round(c * keep)} for n, c in LAYERS.items()], "unpruned_layers": [], "time": None,
        "history": history, "learning_rates": None, "per_class_change_points": per_class,
        "per_class_accuracy_percent": [round(93 + 0.5 * i - 2 + c, 2) for i, c in enumerate(per_class)],
        **confused([93 + 0.5 * i - 2 + c for i, c in enumerate(per_class)]),
        "trust": trust(mean, 1 + drop, round(drop, 2)), "answers": answers(drop),
        "corruptions": corruptions(round(78 - 2 * drop, 2), round(-2 * drop, 2)),
    }  # fmt: skip


def confused(right: list[float]) -> dict:
    """A shirt that is missed is taken for a T-shirt, everything else for the next class. `right`: percent by class."""
    table = [[0.0] * 10 for _ in CLASSES]
    for k, share in enumerate(right):
        hits = round(IMAGES / 10 * min(share, 100) / 100)
        table[k][k] = float(hits)
        table[k][0 if k == 6 else (k + 1) % 10] += IMAGES / 10 - hits
    pairs = [
        {"actual": a, "taken_for": b, "images": n, "of": IMAGES / 10}
        for a, own in enumerate(table)
        for b, n in enumerate(own)
        if a != b and n
    ]
    return {"confusion": table, "confused": sorted(pairs, key=lambda p: -p["images"])[:10],
            "balanced_accuracy_percent": round(sum(table[k][k] for k in range(10)) / IMAGES * 100, 2)}  # fmt: skip


def trust(accuracy: float, surplus: float, change: float | None) -> dict:
    ece = round(abs(surplus) + 0.4, 2)
    bins = [{"images": n, "confidence_percent": c, "accuracy_percent": round(c - surplus * (1 + (100 - c) / 12), 2)}
            for n, c in ((400, 52.0), (600, 71.0), (1500, 86.0), (7500, 98.5))]  # fmt: skip
    claim = change and {
        "change_points": change,
        "p_holm": 0.001 if change > 0.5 else 0.4,
        "distinguishable": change > 0.5,
        "models": len(SEEDS),
    }
    return {"top5_percent": round(99.9 - (100 - accuracy) / 60, 2), "nll": round((100 - accuracy) / 33, 4), "confidence_percent": round(accuracy + surplus, 2),
            "ece_percent": ece, "ece_interval": [round(ece - 0.3, 2), round(ece + 0.3, 2)], "ece_of_seeds": change and [round(ece - 0.1, 2), round(ece + 0.1, 2)],
            "ece_calibrated_percent": 0.6, "ece_calibrated_at_most_percent": 0.9, "reliability": bins, "claim": claim}  # fmt: skip


def answers(drop: float) -> dict:
    to_wrong, to_right = round(1.6 + drop, 2), 1.6
    return {"changed_percent": round(to_wrong + to_right + 0.5, 2), "right_to_wrong_percent": to_wrong, "wrong_to_right_percent": to_right,
            "seeds_disagree_percent": 2.4, "left": [{"class_index": 6, "images": 130.0, "of": 960}, {"class_index": 2, "images": 60.5, "of": 1010}]}  # fmt: skip


def corruptions(mean: float, change: float | None) -> dict:
    kinds = {"gaussian_noise": -4, "gaussian_blur": 2, "brightness": 6, "contrast": -6, "jpeg_compression": 2}
    claim = change and {
        "change_points": change,
        "p_holm": 0.001 if change < -1 else 0.3,
        "distinguishable": change < -1,
        "models": len(SEEDS),
    }
    return {
        "accuracy_percent": {kind: [mean + k + 6, mean + k, mean + k - 6] for kind, k in kinds.items()},
        "mean_percent": mean,
        "claim": claim,
    }


def baseline() -> dict:
    return {
        "variant": "baseline", "method": None, "ratio": None, "status": "ok", "reason": None,
        "accuracy_percent": BASE["accuracy_percent"], "accuracy_interval": [93.03, 94.0], "accuracy_interval_over": "images",
        "accuracy_change_points": None, "change_interval": None, "retention_percent": None,
        "seeds": [{"seed": 0, "accuracy_percent": 93.52, "as_pruned_percent": None, "reestimated_percent": None, "compensated_percent": None, "finetuned_percent": 93.9,
                   "kept_epoch": 29, "same_seeds": [], "hits": None}],
        "fate": None,
        "parameters": BASE["parameters"], "parameters_change_percent": None, "size_mib": BASE["size_mib"], "size_change_percent": None,
        "gmacs": BASE["gmacs"], "gmacs_change_percent": None, "channels_removed_percent": None, "ratio_used": None, "latency_ms": BASE["latency_ms"],
        "latency": {"batch_size": 1, "median_ms": 2.31, "p95_ms": 2.49, "precision": "float32", "undisturbed_percent": 99.0, "ratio": 1.0, "ratio_interval": None},
        "throughput": {"batch_size": 64, "precision": "float32", "images_per_second": 900.0, "ratio": 1.0, "ratio_interval": None},
        "peak_memory_mib": 40.0, "energy_mj_per_image": None, "timings": None, "onnx": None, "deployments": None, "layers": None, "unpruned_layers": None, "time": None,
        "learning_rates": None, "history": [{"seed": 0, "epochs": [{"epoch": e, "train_loss": round(0.9 * 0.6**e, 4), "selection_accuracy_percent": round(93.9 - 20 * 0.5**e, 2)} for e in range(1, 7)]}],
        "per_class_change_points": None, "per_class_accuracy_percent": [round(91 + 0.5 * i, 2) for i in range(10)],
        **confused([91 + 0.5 * i for i in range(10)]),
        "trust": trust(BASE["accuracy_percent"], 1.0, None), "answers": None, "corruptions": corruptions(78.0, None),
    }  # fmt: skip


def unavailable(ratio: float) -> dict:
    empty = dict.fromkeys(baseline())
    return empty | {"variant": f"bn_scale-{ratio}", "method": "bn_scale", "ratio": ratio, "status": "unavailable",
                    "reason": "the model has no BatchNorm layer", "seeds": []}  # fmt: skip


def comparisons(rows: list[dict]) -> list[dict]:
    pairs = []
    for ratio in RATIOS:
        group = sorted((r for r in rows if r["ratio"] == ratio), key=lambda r: -r["accuracy_percent"])
        for i, a in enumerate(group):
            for b in group[i + 1 :]:
                gap = round(a["accuracy_percent"] - b["accuracy_percent"], 2)
                p = float(np.exp(-18 * gap))
                pairs.append({"a": a["variant"], "b": b["variant"], "ratio": ratio, **claim(gap, p, 6)})
    return pairs


def claim(gap: float, p: float, tests: int) -> dict:
    half = 0.3 if tests * p >= 0.05 and abs(gap) < 0.3 else round(abs(gap) / 2, 2)
    return {"difference_points": gap, "interval": [round(gap - half, 2), round(gap + half, 2)], "p": p,
            "p_holm": min(1.0, tests * p), "distinguishable": tests * p < 0.05, "test": "two_level", "of": "methods",
            "seeds": len(SEEDS)}  # fmt: skip


def ranking(rows: list[dict], pairs: list[dict]) -> list[dict]:
    found = {(p["a"], p["b"]): p for p in pairs}
    groups = []
    for ratio in RATIOS:
        rank, current = 1, []
        for row in sorted((r for r in rows if r["ratio"] == ratio), key=lambda r: -r["accuracy_percent"]):
            tie = found.get((current[0]["variants"][0], row["variant"])) if current else None
            if tie and not tie["distinguishable"]:
                current[0]["variants"].append(row["variant"])
                current[0]["tie_p_holm"] = tie["p_holm"]
            else:
                current = [{"rank": rank, "ratio": ratio, "variants": [row["variant"]], "tie_p_holm": None}]
                groups += current
            rank += 1
    return groups


def against_random(own: dict, rows: list[dict]) -> dict:
    random = next(r for r in rows if r["variant"] == f"random-{own['ratio']}")["fate"]["reestimated_percent"]
    gap = round(own["fate"]["reestimated_percent"] - random, 2)
    return {"variant": own["variant"], "stage": "reestimated", "random_percent": random, **claim(gap, 1e-6, 4)}


def main() -> None:
    rng = np.random.default_rng(0)
    rows = [row(method, ratio, loss, rng) for ratio in RATIOS for method, loss in METHODS.items()]
    pairs = comparisons(rows)
    controls = [against_random(r, rows) for r in rows if r["method"] not in ("random", "scratch")]
    originals = [
        {"variant": r["variant"], "ratio": r["ratio"], **claim(r["accuracy_change_points"], 1e-4, 6)} for r in rows
    ]
    result = {
        "scenario": "sample", "title": "Örnek (uydurma sayılar)", "recorded": None,
        "model": {"title": "ResNet20", "source": "budama", "name": "resnet20", "input_shape": [1, 28, 28], "classes": 10},
        "dataset": {"name": "fashion_mnist", "title": "Fashion-MNIST", "protocol": "full",
                    "counts": {"train": 53_957, "calibration": 2_560, "selection": 6_000, "test": IMAGES},
                    "unreadable": 0, "duplicates_dropped": 43, "class_names": CLASSES,
                    "class_images": [1000] * 10, "test_split": None},
        "widths": None,
        "pruning": {"methods": [*METHODS, "bn_scale"], "ratio": RATIOS, "scope": "layerwise", "steps": 1, "cycles": 1, "match": "channels", "round_to": None,
                    "ignore": [], "layers": {}, "max_ratio": 0.95, "reestimate_batchnorm": True, "compensate": "off"},
        "finetune": {"epochs": 5, "batch_size": 128, "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4,
                     "schedule": "cosine", "warmup_epochs": 0.5, "label_smoothing": 0.0, "distill": 0.5, "distill_temperature": 2.0,
                     "weight_averaging": None, "precision": "auto", "max_batches": None},
        "calibration": {"batches": 10, "batch_size": 256, "images": 2_560}, "sensitivity": [], "seeds": SEEDS,
        "baseline": baseline(), "unpruned": None, "against_unpruned": [], "variants": rows + [unavailable(r) for r in RATIOS],
        "ranking": ranking(rows, pairs), "comparisons": pairs, "against_original": originals, "against_random": controls,
        "controls": {"aa": {"ratio": 1.001, "interval": [0.998, 1.004], "within": True}},
        "warnings": [{"code": "duplicates", "dropped": 43},
                     {"code": "unavailable", "variant": "bn_scale-0.1", "reason": "the model has no BatchNorm layer"},
                     {"code": "unavailable", "variant": "bn_scale-0.3", "reason": "the model has no BatchNorm layer"}],
        "environment": {"python": "3.11.2", "torch": "2.14.1", "cpu": "sample CPU", "cores": 2, "threads": 2, "gpu": None, "memory_gib": 23.0},
        "date": "2026-11-24", "configuration": {"scenario": "sample", "note": "invented numbers"},
    }  # fmt: skip
    Path(__file__).with_name("results_sample.json").write_text(
        json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
