"""Which of several learning rates is kept, and what is said of the others."""

import pytest

from budama import files
from budama.errors import BudamaError
from budama.training import choice


def outcome(accuracy, loss):
    return {"status": "ok", "selection_accuracy_percent": accuracy, "selection_loss": loss, "train_seconds": 1.0}


@pytest.mark.parametrize(
    ("outcomes", "chosen"),
    [
        ({0.01: (90.0, 0.5), 0.1: (91.0, 0.9)}, 0.1),  # accuracy before loss
        ({0.01: (90.0, 0.5), 0.1: (90.0, 0.4)}, 0.1),  # then loss
        ({0.1: (90.0, 0.5), 0.01: (90.0, 0.5)}, 0.01),  # then the smaller rate
        ({0.01: (90.0, None), 0.1: (90.0, 9.0)}, 0.1),  # no loss is the worst
    ],
)
def test_the_best_rate_is_that_of_the_highest_accuracy_then_the_lowest_loss_then_the_smallest(outcomes, chosen):
    assert choice.best({rate: outcome(*figures) for rate, figures in outcomes.items()}) == chosen


@pytest.fixture
def runs(tmp_path):
    """Three runs, of which the last diverged."""
    found = {}
    for rate, content in ((0.01, outcome(90.0, 0.5)), (0.1, outcome(92.0, 0.4)), (9.0, None)):
        found[rate] = tmp_path / str(rate)
        files.write_text(found[rate] / "model/model.safetensors", f"weights of {rate}")
        files.write_text(found[rate] / "history.csv", f"history of {rate}")
        diverged = {"status": "diverged", "seed": 0, "reason": f"the loss is nan; learning_rate is {rate}"}
        files.write_json(found[rate] / "metrics.json", content or diverged)
    return found


def keep(runs, out):
    choice.keep_best(runs, out / "model", out / "metrics.json", out / "history.csv")


def test_the_best_run_is_copied_whole_and_all_are_told(runs, tmp_path):
    keep(runs, tmp_path / "out")
    assert (tmp_path / "out/model/model.safetensors").read_text() == "weights of 0.1"
    assert (tmp_path / "out/history.csv").read_text() == "history of 0.1"
    told = [
        {"learning_rate": rate, "selection_accuracy_percent": accuracy, "selection_loss": loss, "train_seconds": took}
        for rate, accuracy, loss, took in ((0.01, 90.0, 0.5, 1.0), (0.1, 92.0, 0.4, 1.0), (9.0, None, None, None))
    ]
    assert files.read_json(tmp_path / "out/metrics.json") == {
        **outcome(92.0, 0.4), "learning_rate": 0.1, "learning_rates": told,
    }  # fmt: skip


def test_where_every_rate_diverges_one_line_says_so(runs, tmp_path):
    with pytest.raises(BudamaError, match=r"with every finetune\.learning_rate: the loss is nan; learning_rate is 9"):
        keep({9.0: runs[9.0]}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_method_that_cannot_serve_the_model_is_unavailable_still(runs, tmp_path):
    content = {"status": "unavailable", "seed": 0, "reason": "no BatchNorm"}
    for folder in runs.values():
        files.write_json(folder / "metrics.json", content)
    keep(runs, tmp_path / "out")
    assert files.read_json(tmp_path / "out/metrics.json") == content


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--tried has no 0.01; it must name a folder for each of 0.01, 0.1, or --rate one to train"),
        (["0.01=a"], "--tried has no 0.1; it must name a folder for each of 0.01, 0.1, or --rate one to train"),
        (["0.5=a"], "--tried has 0.5=a; it must be RATE=DIR, once for each of 0.01, 0.1"),
        (["high=a"], "--tried has high=a; it must be RATE=DIR, once for each of 0.01, 0.1"),
        (["0.1=a", "1e-1=b"], "--tried has 1e-1=b; it must be RATE=DIR, once for each of 0.01, 0.1"),
        (["0.1="], "--tried has 0.1=; it must be RATE=DIR, once for each of 0.01, 0.1"),
    ],
)
def test_arguments_that_name_the_runs_wrongly_are_a_line(arguments, told):
    with pytest.raises(BudamaError) as caught:
        choice.named(arguments, [0.01, 0.1])
    assert caught.value.lines == [told]
