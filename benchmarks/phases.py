"""Where a training's time goes: start-up, waiting for images, forward and backward pass, weights, evaluation.

    python benchmarks/phases.py [digits] [fashion_mnist] [resnet50] [--threads 2]

`digits` and `fashion_mnist` are the baselines of the scenarios `demo` and `fashion_mnist`; `resnet50` is ResNet-50 at
224 on generated JPEGs of ImageNet's typical size (500 × 375, about 110 kB), in its first epoch, which decodes them, and
in its second, which has them from the cache. budama's own loop is timed: each phase is the time inside the call that
does it. Waiting is what the loop waits for a batch: decoding goes on beside the computation, on threads of its own.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import decoding
import torch

from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.jobs import allocator
from budama.measuring import evaluation
from budama.networks import models
from budama.settings import stages
from budama.training import loop, steps

BASELINES = Path(__file__).parents[1] / "config" / "baselines"
PHASES = ("start-up", "waiting for images", "forward", "backward", "weights", "evaluation", "rest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)} (default: all)")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    allocator.prepare()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.threads} threads, {evaluation.resolve('auto', 'cpu')}; seconds")
    print(f"| training | {' | '.join(PHASES)} | images/s without start-up |")
    print(f"|---|{'---:|' * (len(PHASES) + 1)}")
    begin = start_up()
    for case in args.cases or CASES:
        for name, seconds, images in CASES[case]():
            shown = [begin, *(seconds[phase] for phase in PHASES[1:])]
            rate = images / sum(shown[1:])
            print(f"| {name} | {' | '.join(f'{value:.2f}' for value in shown)} | {rate:.0f} |", flush=True)


def start_up() -> float:
    """Seconds in which a process has what a training stage imports."""
    path = os.pathsep.join([str(Path(loop.__file__).parents[1]), os.getenv("PYTHONPATH", "")])
    started = time.perf_counter()
    code = "import budama.networks.checkpoint, budama.training.loop, budama.data.dataset"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})
    return time.perf_counter() - started


def digits():
    return of_baseline("digits_resnet", epochs=5)


def fashion_mnist():
    return of_baseline("fashion_mnist_resnet", epochs=1, max_batches=150)


def of_baseline(name: str, **changes):
    baseline = stages.load_baseline(BASELINES / f"{name}.yaml")
    data = open_data(build_manifest({"data": baseline.data, "seed": 0}, threads=2))
    model = models.build(baseline.model, data.classes, data.input_shape)
    yield name, *timed(model, data, {**baseline.train, **changes})


def resnet50():
    settings = {**stages.load_baseline(BASELINES / "resnet50_imagenet.yaml").train, "epochs": 1, "batch_size": 32}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # the cache lies in the working directory
        decoding.generate(Path("images"), 256)
        data = open_data(build_manifest({"data": {**decoding.SETTINGS, "root": "images"}, "seed": 0}, threads=2))
        model = models.build({"source": "torchvision", "name": "resnet50", "weights": None}, 2, data.input_shape)
        for epoch in ("first epoch", "second epoch"):
            yield f"ResNet-50, {epoch}", *timed(model, data, settings)


def timed(model, data, settings: dict) -> tuple[Counter, int]:
    """Seconds by phase of one call of `training.train`, and the images that it trained on."""
    seconds, trained = Counter(), Counter()

    def clocked(phase, function):
        def call(*args, **kwargs):
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                seconds[phase] += time.perf_counter() - started

        return call

    class Stepper(steps.Stepper):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            self.trained.forward = clocked("forward", self.trained.forward)
            self.optimizer.step = clocked("weights", self.optimizer.step)

        def step(self, images, labels, *rest):
            trained["images"] += len(images)
            return clocked("step", super().step)(images, labels, *rest)

    def track(batches, *_, **__):
        source = iter(batches)
        following = clocked("waiting for images", lambda: next(source, None))
        return iter(following, None)

    changed = {
        "Stepper": Stepper,
        "track": track,
        "evaluate": clocked("evaluation", loop.evaluate),
        "log": print_not,
    }
    kept = {name: getattr(loop, name) for name in changed}
    try:
        vars(loop).update(changed)
        clocked("whole", loop.train)(model, data, settings, seed=0, augment="auto")
    finally:
        vars(loop).update(kept)
    seconds["backward"] = seconds["step"] - seconds["forward"] - seconds["weights"]
    seconds["rest"] = seconds["whole"] - seconds["step"] - seconds["waiting for images"] - seconds["evaluation"]
    return seconds, trained["images"]


def print_not(*_) -> None:
    """Log lines would tear the table apart."""


CASES = {"digits": digits, "fashion_mnist": fashion_mnist, "resnet50": resnet50}

if __name__ == "__main__":
    main()
