"""The numbers of a report come from here: every image's outcome, in float32, the same at every call."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from budama.measuring.evaluation import evaluate
from budama.measuring.precision import resolve

IMAGES = torch.randn(50, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(50) % 10


def in_batches(size):
    return list(zip(IMAGES.split(size), LABELS.split(size), strict=True))


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(288, 10)]
        return nn.Sequential(*layers).train()


def test_hits_predictions_and_loss_are_those_of_a_plain_forward_pass(model):
    outcome = evaluate(model, in_batches(16))
    with torch.no_grad():
        logits = model.eval()(IMAGES)
    assert np.array_equal(outcome.predictions, logits.argmax(1).numpy())
    assert np.array_equal(outcome.hits, (logits.argmax(1) == LABELS).numpy())
    assert outcome.accuracy_percent == 100 * outcome.hits.mean()
    assert outcome.loss == pytest.approx(nn.functional.cross_entropy(logits, LABELS).item(), rel=1e-5)
    assert (outcome.hits.dtype, outcome.predictions.dtype) == (np.bool_, np.int64)
    assert (outcome.images, outcome.correct) == (50, outcome.hits.sum())


def test_the_same_batches_give_the_same_bits(model):
    first, second = evaluate(model, in_batches(16)), evaluate(model, in_batches(16))
    assert first.loss == second.loss
    assert np.array_equal(first.predictions, second.predictions)


def test_the_size_of_the_batches_changes_no_outcome(model):
    assert np.array_equal(evaluate(model, in_batches(7)).predictions, evaluate(model, in_batches(50)).predictions)


def test_the_model_gets_its_modes_back_and_keeps_its_statistics(model):
    model[1].eval()
    before = model[1].running_mean.clone()
    evaluate(model, in_batches(16))
    assert [module.training for module in (model, model[0], model[1], model[3])] == [True, True, False, True]
    assert torch.equal(before, model[1].running_mean)
    assert all(parameter.grad is None and not parameter.is_inference() for parameter in model.parameters())


def test_a_share_without_images_is_skipped(model):
    empty = (IMAGES[:0], LABELS[:0])
    assert evaluate(model, [*in_batches(25), empty]).images == 50
    nothing = evaluate(model, [])
    assert nothing.images == 0
    assert math.isnan(nothing.accuracy_percent)


def test_bfloat16_is_close_and_is_not_the_default(model):
    exact, rounded = evaluate(model, in_batches(50)), evaluate(model, in_batches(50), precision="bfloat16")
    assert rounded.loss == pytest.approx(exact.loss, rel=0.02)
    assert rounded.loss != exact.loss


def test_auto_precision_is_bfloat16_only_where_the_processor_has_it():
    flags = {"avx512_bf16", "amx_bf16", "bf16"} & set(Path("/proc/cpuinfo").read_text().split())
    assert resolve("auto", "cpu") == ("bfloat16" if flags else "float32")
    assert resolve("float32", "cpu") == "float32"
