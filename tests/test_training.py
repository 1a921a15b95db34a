"""Promises of the training loop, on scikit-learn's real digits and small networks."""

import copy
import math
import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from trainings import EVERYTHING, SETTINGS, Net, assert_same, digits, run, selection

from budama.errors import BudamaError
from budama.training import resume
from budama.training.loop import train
from budama.training.optimisation import tensors

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data():
    return digits()


def test_it_learns(data):
    model, result = run(data, epochs=8)
    assert result.selection_accuracy_percent > 90
    assert result.start_accuracy_percent < 30
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"] / 2
    assert not model.training


@pytest.mark.parametrize("changes", [{}, EVERYTHING, {"optimizer": "adamw", "learning_rate": 0.01}])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(data, changes):
    first = run(data, epochs=2, **changes)
    assert_same(first, run(data, epochs=2, **changes))
    other = run(data, seed=1, epochs=2, **changes)
    assert first[1].history[0]["train_loss"] != other[1].history[0]["train_loss"]


def test_random_numbers_of_the_caller_are_left_alone(data):
    before = torch.get_rng_state()
    run(data, epochs=1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("changes", [{}, EVERYTHING, {**EVERYTHING, "optimizer": "adamw", "learning_rate": 0.01}])
@pytest.mark.parametrize("steps", [3, 12, 25])
def test_interrupted_training_ends_bit_for_bit_as_if_undisturbed(data, tmp_path, changes, steps):
    undisturbed = run(data, **changes)
    with pytest.raises(KeyboardInterrupt):
        run(data, Net(stop_at=steps), progress_dir=tmp_path, **changes)
    assert_same(undisturbed, run(data, progress_dir=tmp_path, **changes))


def test_training_goes_on_from_the_last_finished_epoch(data, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        run(data, Net(stop_at=25), progress_dir=tmp_path)
    capsys.readouterr()
    run(data, progress_dir=tmp_path)
    told = capsys.readouterr().err
    assert "going on after epoch 2/3" in told
    assert "epoch 3/3" in told
    assert "epoch 1/3" not in told


def test_finished_progress_is_not_trained_again(data, tmp_path):
    finished = run(data, progress_dir=tmp_path)
    assert_same(finished, run(data, Net(stop_at=0), progress_dir=tmp_path))


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ({"learning_rate": 0.05}, "settings"),
        ({"seed": 1}, "seed"),
        ({"model": Net(seed=3)}, "weights"),
        ({"distill": 0.5, "teacher": Net(seed=5)}, "settings, teacher"),
        ({"inputs": "another code"}, "inputs"),
    ],
)
def test_progress_of_another_training_is_told_and_left_alone(data, tmp_path, capsys, what, told):
    run(data, epochs=1, max_batches=2, progress_dir=tmp_path)
    model = what.pop("model", None)
    capsys.readouterr()
    changed = run(data, copy.deepcopy(model), epochs=1, max_batches=2, progress_dir=tmp_path, **what)
    assert f"made with other {told}; training starts anew" in capsys.readouterr().err
    assert_same(changed, run(data, copy.deepcopy(model), epochs=1, max_batches=2, **what))


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"not a safetensors file at all"])
def test_a_foreign_file_in_the_progress_is_told_and_left_alone(data, tmp_path, capsys, content):
    (tmp_path / resume.STATE).write_bytes(content)
    (tmp_path / f".{resume.STATE}.0123abcd.part").write_bytes(content)
    run(data, epochs=1, max_batches=1, progress_dir=tmp_path)
    assert "is no progress of ours" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [resume.STATE]


def test_the_best_epoch_is_kept_and_its_weights_are_copies(data):
    model, result = run(data, epochs=6, learning_rate=0.5, schedule="constant", weight_decay=0.0)
    accuracies = [row["selection_accuracy_percent"] for row in result.history]
    losses = [row["selection_loss"] for row in result.history]
    best = max(range(6), key=lambda i: (accuracies[i], -losses[i]))
    assert result.best_epoch == best + 1
    outcome = selection(model, data)
    assert (outcome.accuracy_percent, outcome.loss) == pytest.approx((accuracies[best], losses[best]), rel=1e-6)


class WithAuxiliaryHead(Net):
    """Gives `(logits, aux)` in training, as GoogLeNet does."""

    def forward(self, images):
        logits = super().forward(images)
        return (logits, torch.zeros_like(logits)) if self.training else logits


def test_of_several_outputs_the_first_is_trained(data):
    plain, _ = run(data, epochs=1)
    other, _ = run(data, WithAuxiliaryHead(), epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), other.state_dict().values()))


def test_no_epochs_keep_the_weights_as_they_are(data):
    fresh = Net().eval()
    model, result = run(data, epochs=0)
    for name, tensor in tensors(fresh).items():
        assert torch.equal(tensor, tensors(model)[name])
    assert (result.history, result.best_epoch) == ([], 0)
    assert result.selection_accuracy_percent == selection(fresh, data).accuracy_percent


def test_fine_tuning_that_only_harms_gives_the_starting_weights_back(data):
    trained, _ = run(data, epochs=6)
    start = copy.deepcopy(trained)
    model, result = run(data, trained, epochs=1, learning_rate=5.0, warmup_epochs=0, schedule="constant", max_batches=2)
    assert result.best_epoch == 0
    assert result.history[0]["selection_accuracy_percent"] < result.selection_accuracy_percent
    assert torch.equal(model[0].weight, start[0].weight)


def test_a_loss_that_is_no_number_ends_training_and_keeps_the_last_good_epoch(data, tmp_path):
    class Failing(Net):
        def forward(self, images):
            logits = super().forward(images)
            return logits * math.inf if self.training and self.left < 1000 - 15 else logits

    with pytest.raises(BudamaError, match=r"in epoch 2: the loss is (nan|inf); learning_rate is 0.1, lower it"):
        run(data, Failing(stop_at=1000), progress_dir=tmp_path)
    with resume_file(tmp_path) as file:
        assert all(file.get_tensor(key).isfinite().all() for key in file.keys())  # noqa: SIM118
        assert '"epoch": 1' in file.metadata()["budama"]


def resume_file(folder):
    from safetensors import safe_open

    return safe_open(folder / resume.STATE, framework="pt")


def test_a_last_incomplete_batch_and_a_small_split_are_no_stumbling_block(data):
    for size in (97, 1294, 5000):
        _, result = run(data, epochs=1, batch_size=size)
        assert math.isfinite(result.history[0]["train_loss"])


def test_max_batches_ends_an_epoch_early(data):
    model = Net(stop_at=1000)
    run(data, model, epochs=2, max_batches=3)
    assert model.left == 1000 - 6


class Hungry(nn.Sequential):
    """A network without BatchNorm whose memory ends above `limit` images."""

    def __init__(self, limit, seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            super().__init__(nn.Flatten(), nn.Linear(64, 10))
        self.limit = limit

    def forward(self, images):
        if self.training and len(images) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().forward(images)


def test_too_little_memory_halves_the_batch_and_sums_the_gradients(data, capsys):
    plain = run(data, Hungry(limit=128))
    capsys.readouterr()
    halved = run(data, Hungry(limit=40))
    told = capsys.readouterr().err
    assert told.count("32 images are taken at a time, and gradients summed") == 1
    assert halved[0][1].weight.allclose(plain[0][1].weight, atol=1e-6)
    assert halved[1].history[-1]["train_loss"] == pytest.approx(plain[1].history[-1]["train_loss"], rel=1e-5)


def test_too_little_memory_for_one_image_is_told(data):
    with pytest.raises(BudamaError, match="batch_size is 128: memory does not suffice for one image"):
        run(data, Hungry(limit=0))


def test_an_error_of_the_model_is_not_taken_for_little_memory(data):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(data, nn.Sequential(nn.Flatten(), nn.Linear(7, 10)), epochs=1)


def test_training_does_not_wait_for_the_import_of_a_compiler_that_it_does_not_use():
    code = """if True:
        import sys; from trainings import *
        run(digits(), epochs=1, **EVERYTHING)
        print([name for name in ("torch._dynamo", "torchvision", "sklearn", "scipy") if name in sys.modules])"""
    paths = {**os.environ, "PYTHONPATH": "workflow/scripts:tests", "OMP_NUM_THREADS": "1"}
    told = subprocess.run([sys.executable, "-c", code], env=paths, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]", told.stdout


def test_the_teacher_is_not_changed_and_teaches_in_eval_mode(data):
    teacher, _ = run(data, Net(seed=3), epochs=6)
    before = {name: tensor.clone() for name, tensor in tensors(teacher).items()}
    model, result = run(data, Net(seed=4), teacher=teacher.train(), distill=1.0, epochs=8)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors(teacher).items())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not teacher.training
    agreement = selection(model, data).predictions == selection(teacher, data).predictions
    assert agreement.mean() > 0.85
    assert result.selection_accuracy_percent > 85


def test_distillation_without_a_teacher_is_refused(data):
    with pytest.raises(BudamaError, match=r"distill is 0.5, but there is no teacher"):
        train(Net(), data, {**SETTINGS, "distill": 0.5}, seed=0)


def test_the_averaged_weights_are_the_ones_judged_and_kept(data):
    plain, averaged = run(data, epochs=2), run(data, epochs=2, weight_averaging=0.9)
    assert plain[1].history[0]["train_loss"] == averaged[1].history[0]["train_loss"]
    assert plain[1].history[1]["selection_loss"] != averaged[1].history[1]["selection_loss"]
    kept = averaged[1].history[averaged[1].best_epoch - 1]
    assert selection(averaged[0], data).loss == pytest.approx(kept["selection_loss"], rel=1e-6)


def test_the_trained_model_has_no_hooks_and_no_gradients(data):
    from budama.networks.hooks import check_no_hooks

    model, _ = run(data, epochs=1, **EVERYTHING)
    check_no_hooks(model)
    assert all(not parameter._backward_hooks and parameter.grad is None for parameter in model.parameters())
