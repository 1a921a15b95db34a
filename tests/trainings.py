"""Trainings of a small network on scikit-learn's real digits."""

import torch
from torch import nn

from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.measuring.evaluation import evaluate
from budama.settings import stages
from budama.training.loop import batches, train
from budama.training.optimisation import tensors

SETTINGS = {
    "epochs": 3, "batch_size": 128, "optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4,
    "schedule": "cosine", "warmup_epochs": 0.5, "label_smoothing": 0.0, "distill": 0.0, "distill_temperature": 2.0,
    "weight_averaging": None, "precision": "float32", "max_batches": None,
}  # fmt: skip
EVERYTHING = {"weight_averaging": 0.9, "distill": 0.5, "label_smoothing": 0.1, "precision": "bfloat16"}


def digits():
    """The images of the baseline `digits_resnet`, opened."""
    settings = stages.load_baseline("config/baselines/digits_resnet.yaml").data
    return open_data(build_manifest({"data": settings, "seed": 0}, threads=1))


class Net(nn.Sequential):
    """Convolutions, BatchNorm and dropout; `stop_at` counts forward passes in training until it is interrupted."""

    def __init__(self, seed=0, stop_at=None):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            super().__init__(
                nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.1),
                nn.Conv2d(8, 16, 3, 2, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True),
                nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
            )  # fmt: skip
        self.left = stop_at

    def forward(self, images):
        if self.training and self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        return super().forward(images)


def run(data, model=None, *, seed=0, teacher=None, progress_dir=None, inputs="", **changes):
    model = Net() if model is None else model
    settings = {**SETTINGS, **changes}
    if settings["distill"] and teacher is None:
        teacher = Net(seed=7)
    result = train(
        model, data, settings, seed=seed, augment="light", teacher=teacher, progress_dir=progress_dir, inputs=inputs
    )
    return model, result


def without_seconds(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


def assert_same(first, second):
    """Two (model, result) are equal bit for bit, apart from times."""
    assert without_seconds(first[1].history) == without_seconds(second[1].history)
    assert first[1].best_epoch == second[1].best_epoch
    for name, tensor in tensors(first[0]).items():
        assert torch.equal(tensor, tensors(second[0])[name]), name


def selection(model, data):
    return evaluate(model, batches(data, "selection", 128))
