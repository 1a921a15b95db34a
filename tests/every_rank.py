"""What test_stages_training.py starts by torchrun: every worker prunes and trains, and writes what it has.

python every_rank.py DATASET BASELINE OUT SETTINGS
"""

import json
import sys
from pathlib import Path

import torch

from budama import files
from budama.data.dataset import open_data
from budama.networks import checkpoint
from budama.pruning import calibration, pruner
from budama.training import distributed, loop, resume
from budama.training.optimisation import tensors

PRUNING = {"ratio": 0.3, "scope": "global", "match": "macs", "steps": 1, "max_ratio": 0.9}
IMAGES = {"batches": 2, "batch_size": 64}


def prune_and_train(
    dataset: Path, baseline: Path, settings: dict, device: torch.device
) -> tuple[dict, torch.nn.Module]:
    """What this worker has: digests of all tensors after pruning and after training, the channels, and the history."""
    data, model = open_data(files.read_json(dataset)), checkpoint.load(baseline)
    statistics = calibration.collect(model, calibration.batches(data, IMAGES), threshold=0.25)
    pruned = pruner.prune(model, data.input_shape, data.classes, "wanda", PRUNING, statistics)
    calibration.reestimate_batchnorm(pruned.model, calibration.batches(data, IMAGES))
    before = resume.digest(tensors(pruned.model))
    result = loop.train(pruned.model, data, settings, seed=0, device=device, augment="light")
    history = [{key: value for key, value in row.items() if key != "seconds"} for row in result.history]
    has = {"kept": pruned.kept, "pruned": before, "trained": resume.digest(tensors(pruned.model)), "history": history}
    return has, pruned.model


if __name__ == "__main__":
    with distributed.job(torch.device("cpu")) as worker:
        has, _ = prune_and_train(sys.argv[1], sys.argv[2], json.loads(sys.argv[4]), worker)
        files.write_json(Path(sys.argv[3]) / f"{distributed.rank()}.json", has)
