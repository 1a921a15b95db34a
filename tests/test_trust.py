"""Calibration error, likelihood and the five best guesses: those of a plain loop, and what is planted is found."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from budama.measuring import trust
from budama.measuring.evaluation import Evaluation, evaluate
from budama.significance.hits import packed_classes, unpacked_classes

CLASSES = 12


def outcomes_of(logits: torch.Tensor, labels: torch.Tensor) -> Evaluation:
    parts = zip(logits.split(97), labels.split(97))
    return evaluate(nn.Flatten(), [(part[:, :, None, None], own) for part, own in parts])


def drawn(images: int, sharpness: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [images, CLASSES], and labels drawn with exactly the probabilities that the logits give."""
    random = torch.Generator().manual_seed(seed)
    logits = sharpness * torch.randn(images, CLASSES, generator=random)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=random)[:, 0]


def plain(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Image by image, in float64, as the papers define them."""
    nll, five, bins = 0.0, 0, [[0, 0.0, 0] for _ in range(15)]
    for row, label in zip(logits.double().tolist(), labels.tolist()):
        exponentials = [math.exp(value - max(row)) for value in row]
        probabilities = [value / sum(exponentials) for value in exponentials]
        nll -= math.log(probabilities[label])
        five += label in sorted(range(len(row)), key=lambda k: -row[k])[:5]
        confidence, predicted = max(probabilities), max(range(len(row)), key=row.__getitem__)
        own = bins[next(m for m in range(15) if confidence <= (m + 1) / 15)]
        own[0], own[1], own[2] = own[0] + 1, own[1] + confidence, own[2] + (predicted == label)
    images = len(labels)
    ece = sum(n / images * abs(right / n - sure / n) for n, sure, right in bins if n)
    return {"nll": nll / images, "top5_percent": 100 * five / images, "ece_percent": 100 * ece}


@pytest.mark.parametrize("sharpness", [0.5, 2.0, 6.0])
def test_all_are_those_of_a_plain_loop_in_float64(sharpness):
    logits, labels = drawn(500, sharpness)
    found = trust.judge({"baseline": outcomes_of(logits, labels)}, "baseline")["baseline"]
    for key, value in plain(logits, labels).items():
        assert found[key] == pytest.approx(value, abs=1e-9), key
    assert sum(one["images"] for one in found["reliability"]) == 500


def test_of_a_network_they_are_those_of_its_logits():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, CLASSES)).eval()
    images, labels = torch.randn(200, 3, 8, 8), torch.arange(200) % CLASSES
    with torch.no_grad():
        logits = model(images)
    found = trust.judge({"m": evaluate(model, list(zip(images.split(64), labels.split(64))))}, "m")["m"]
    assert found["nll"] == pytest.approx(plain(logits, labels)["nll"], rel=1e-5)
    assert found["ece_percent"] == pytest.approx(plain(logits, labels)["ece_percent"], rel=1e-4)


def test_with_fewer_than_ten_classes_there_is_no_top5():
    logits, labels = drawn(50, 1.0)
    one = outcomes_of(logits[:, :9], labels.clamp(max=8))
    assert one.top5 is None
    assert trust.judge({"m": one}, "m")["m"]["top5_percent"] is None


def test_five_guesses_of_a_model_that_says_nothing_are_right_by_chance():
    logits, labels = torch.zeros(1200, CLASSES), torch.arange(1200) % CLASSES
    assert outcomes_of(logits, labels).top5.mean() == pytest.approx(5 / CLASSES)


def test_a_planted_overconfident_model_is_found_and_a_calibrated_one_is_not():
    logits, labels = drawn(4000, 2.0)
    found = trust.judge(
        {"baseline": outcomes_of(logits, labels), "sharp": outcomes_of(5 * logits, labels)}, "baseline"
    )  # temperature 1/5: the same predictions, far too sure
    calm, sharp = found["baseline"], found["sharp"]
    assert calm["ece_percent"] < calm["ece_calibrated_at_most_percent"]
    assert calm["ece_calibrated_percent"] == pytest.approx(calm["ece_percent"], abs=1.2)
    true_gap = sharp["confidence_percent"] - 100 * float((logits.argmax(1) == labels).double().mean())
    assert sharp["ece_percent"] == pytest.approx(true_gap, abs=0.5)
    assert sharp["ece_percent"] > 3 * sharp["ece_calibrated_at_most_percent"]
    low, high = sharp["ece_interval"]
    assert low < sharp["ece_percent"] < high
    assert high - low < 5
    assert sharp["ece_change_points"] > 10 * sharp["ece_change_error_points"]
    assert calm["ece_change_points"] is None


def test_a_calibrated_model_is_called_miscalibrated_in_about_five_of_a_hundred_cases():
    above = 0
    for seed in range(100):
        logits, labels = drawn(300, 1.5, seed)
        one = outcomes_of(logits, labels)
        bound = np.quantile(trust._drawn(one.confidences), 0.95)
        above += trust.ece(one.confidences, one.hits) > bound
    assert above <= 11  # binomial(100, 0.05) is above 11 in 0.4 % of all cases; the seeds are fixed


def test_the_interval_holds_the_true_error_of_a_planted_model():
    logits, labels = drawn(200_000, 2.0)
    true = trust.ece(*_of(outcomes_of(2 * logits, labels)))
    inside = 0
    for start in range(0, 100_000, 1000):
        part = slice(start, start + 1000)
        low, high = trust.judge({"m": outcomes_of(2 * logits[part], labels[part])}, "m")["m"]["ece_interval"]
        inside += low <= 100 * true <= high
    assert inside >= 89


def _of(one: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    return one.confidences, one.hits


def test_a_model_of_nan_has_no_such_numbers_and_stops_nothing():
    logits, labels = drawn(100, 1.0)
    broken = outcomes_of(torch.full_like(logits, torch.nan), labels)
    found = trust.judge({"baseline": outcomes_of(logits, labels), "broken": broken}, "baseline")
    assert found["broken"]["ece_percent"] is None
    assert found["broken"]["nll"] is None
    assert found["baseline"]["ece_percent"] is not None


def test_classes_survive_their_packing():
    classes = np.array([0, 999, 3, 70_000])
    assert (unpacked_classes(packed_classes(classes)) == classes).all()
    assert len(unpacked_classes(packed_classes(classes[:0]))) == 0
    assert len(packed_classes(np.random.default_rng(0).integers(0, 1000, 12_000))) < 40_000
