"""A trained baseline as the workflow left it, opened for a benchmark."""

from pathlib import Path

import torch

from budama import files
from budama.data import batching
from budama.data.dataset import open_data
from budama.measuring.evaluation import evaluate
from budama.networks import checkpoint
from budama.pruning import calibration
from budama.settings import stages


class Opened:
    """The data, calibration images and selection images of `results/baselines/NAME`, its model, what calibration knows
    of that, and how the selection images were scored (`before`)."""

    def __init__(self, folder: Path) -> None:
        self.data = open_data(files.read_json(folder / "dataset.json"))
        settings = stages.load_baseline(f"config/baselines/{folder.name}.yaml").calibration
        self.images = calibration.batches(self.data, settings, torch.device("cpu"))
        self.selection = batching.batches(self.data, "selection", settings["batch_size"])
        self.model = checkpoint.load(folder / "model")
        self.statistics = calibration.collect(self.model, self.images, threshold=settings["coverage_threshold"])
        self.before = evaluate(self.model, self.selection)
