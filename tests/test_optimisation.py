"""Optimizers, learning rates, losses and averages, each held against its definition."""

import numpy as np
import pytest
import torch
from trainings import SETTINGS, Net

from budama.training.optimisation import Optimizer, WeightAverage, learning_rate, loss_sum, tensors

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_learning_rate_warms_up_and_falls():
    settings = {**SETTINGS, "epochs": 10, "learning_rate": 1.0, "warmup_epochs": 2}

    def rates(**changes):
        return [learning_rate({**settings, **changes}, step, 10) for step in range(100)]

    cosine, step = rates(), rates(schedule="step")
    assert np.all(np.diff(cosine[:21]) > 0)
    assert cosine[20] == 1.0
    assert np.all(np.diff(cosine[20:]) < 0)
    assert 0 < cosine[-1] < 0.001
    assert cosine[60] == pytest.approx(0.5)
    assert (step[59], step[60], step[79], step[80]) == pytest.approx((1, 0.1, 0.1, 0.01))
    assert set(rates(schedule="constant")[20:]) == {1.0}
    assert rates(warmup_epochs=0)[0] == 1.0
    assert rates(warmup_epochs=0.5)[5] == 1.0
    assert all(0 < rate <= 1 for rate in rates(warmup_epochs=50))


def test_biases_and_normalisation_are_not_decayed():
    optimizer = Optimizer(Net(), SETTINGS)
    assert optimizer.groups[SETTINGS["weight_decay"]] == ["0.weight", "4.weight", "9.weight"]
    assert len(optimizer.groups[0.0]) == 7


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_optimizers_are_those_of_torch(kind, momentum):
    ours, theirs = (Net().to(memory_format=torch.channels_last) for _ in range(2))
    optimizer = Optimizer(ours, {**SETTINGS, "optimizer": kind, "momentum": momentum, "weight_decay": 0.1})
    decayed, plain = ([p for p in theirs.parameters() if (p.ndim > 1) == wanted] for wanted in (True, False))
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    if kind == "sgd":
        reference = torch.optim.SGD(groups, lr=0.1, momentum=momentum, nesterov=momentum > 0, fused=True)
    else:
        reference = torch.optim.AdamW(groups, lr=0.1, fused=True)
    generator = torch.Generator().manual_seed(0)
    for rate in (0.1, 0.05, 0.01):
        for first, second in zip(ours.parameters(), theirs.parameters(), strict=True):
            first.grad = torch.empty_like(first).normal_(generator=generator)
            second.grad = first.grad.clone()
        for group in reference.param_groups:
            group["lr"] = rate
        optimizer.step(rate)
        reference.step()
    for first, second in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(first, second)


def softmax(values):
    exponentials = np.exp(values - values.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def test_the_distillation_loss_is_that_of_hinton_2015():
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(2, 6, 10, generator=generator).unbind()
    labels = torch.arange(6)
    settings = {**SETTINGS, "distill": 0.7, "distill_temperature": 3.0, "label_smoothing": 0.1}
    ours, theirs = softmax(logits.double().numpy() / 3), softmax(teacher.double().numpy() / 3)
    soft = (theirs * np.log(theirs / ours)).sum()
    target = 0.9 * np.eye(10)[:6] + 0.1 / 10
    hard = -(target * np.log(softmax(logits.double().numpy()))).sum()
    expected = 0.3 * hard + 0.7 * 9 * soft
    assert loss_sum(logits, labels, settings, teacher).item() == pytest.approx(expected, rel=1e-5)
    assert loss_sum(logits, labels, {**settings, "distill": 0.0}).item() == pytest.approx(hard, rel=1e-5)


def test_full_distillation_does_not_look_at_the_labels():
    logits, teacher = torch.randn(2, 6, 10, generator=torch.Generator().manual_seed(0)).unbind()
    settings = {**SETTINGS, "distill": 1.0}
    assert loss_sum(logits, torch.zeros(6).long(), settings, teacher) == loss_sum(
        logits, torch.arange(6), settings, teacher
    )
    assert loss_sum(teacher, torch.arange(6), settings, teacher).item() == pytest.approx(0, abs=1e-5)


def test_the_average_is_the_moving_average_of_weights_and_batchnorm_statistics():
    model = Net()
    average = WeightAverage(model, 0.9)
    expected = {name: tensor.double().clone() for name, tensor in tensors(model).items()}
    for step in range(30):
        with torch.no_grad():
            for tensor in tensors(model).values():
                tensor.add_(1 if tensor.dtype == torch.int64 else torch.randn(tensor.shape))
        average.update(step)
        share = min(0.9, (1 + step + 1) / (10 + step + 1))
        for name, tensor in tensors(model).items():
            whole = tensor.dtype == torch.int64
            expected[name] = tensor.double() if whole else share * expected[name] + (1 - share) * tensor.double()
    for name, tensor in tensors(average.model).items():
        assert tensor.double().allclose(expected[name], atol=1e-5), name
