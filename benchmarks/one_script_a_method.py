"""A scenario of four methods against one script a method.

    python benchmarks/one_script_a_method.py [--pairs 5] [--epochs 2]

Rival: what one writes for one method and copies for the next. Each script loads Fashion-MNIST through torchvision and a
DataLoader, evaluates the baseline, calibrates for its own method, prunes 30 % of the channels of every group with
Torch-Pruning, evaluates, fine-tunes in float32 as torchvision's references do, with an evaluation after each epoch, and
times the baseline and the pruned model, at 1 and at 64 images, as the median of 200 passes. The four run one after the
other, each with all cores. budama runs the same four as a scenario, from the same trained baseline (a ResNet-14, whose
training is not timed; it leaves compiled kernels and bytecode), with as many calibration images, test images and steps
of fine-tuning: an epoch is 54,000 images, and two of them are what config/scenarios/fashion_mnist.yaml has.

With two epochs, the scripts evaluate 4 × 10,000 images a method; budama 5 × 6,000 of the selection split (as pruned,
with BatchNorm re-estimated, before fine-tuning and after each epoch) and 10,000 test images, and the baseline's once.
budama's time holds also what the scripts do not make: disjoint splits by content, re-estimated BatchNorm, paired
latencies beside an A/A control, intervals and tests, the report in three forms.

Whole commands are timed, imports included; a pair is one of each, in alternating order. Below each pair stand the
seconds of what either side does: of the scripts one after the other, of budama's jobs by stage, two at a time.
"""

import argparse
import gzip
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "workflow/scripts"), str(ROOT / "tests/workflow")]

import timeline  # noqa: E402 (beside this file)

METHODS = ("coverage", "wanda", "magnitude", "taylor")
BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}  # is kept, as for a user
RATIO, BATCH, CALIBRATION, STEPS = 0.3, 128, 20, 421
BASELINE = {
    "baseline": "fashion",
    "model": {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 14, "width": 16}},
    "data": {"name": "fashion_mnist", "augment": "light"},
    "calibration": {"batches": CALIBRATION, "batch_size": BATCH},
    "train": {"epochs": 1, "learning_rate": 0.1},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2, help="of fine-tuning (default: 2)")
    parser.add_argument("--script", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.script:
        script(args.script, args.folder, args.epochs)
        return
    ratios, ours, theirs = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(Path(folder, "prepared"), args.epochs)
        for pair in range(args.pairs):
            for side in ("budama", "scripts") if pair % 2 else ("scripts", "budama"):
                if side == "budama":
                    seconds, ours_parts = scenario(prepared, Path(folder, f"run{pair}"))
                    ours.append(seconds)
                else:
                    seconds, their_parts = scripts(prepared, args.epochs)
                    theirs.append(seconds)
            ratios.append(ours[-1] / theirs[-1])
            shown = f"budama {ours[-1]:.0f} s, four scripts {theirs[-1]:.0f} s, ratio {ratios[-1]:.2f}"
            print(
                f"pair {pair + 1}: {shown}\n  scripts: {listed(their_parts)}\n  budama: {listed(ours_parts)}",
                flush=True,
            )
    print(
        f"ratio {statistics.median(ratios):.2f} (median of {args.pairs}, {min(ratios):.2f} to {max(ratios):.2f}); "
        f"budama {statistics.median(ours):.0f} s, four scripts {statistics.median(theirs):.0f} s"
    )


def prepare(folder: Path, epochs: int) -> Path:
    """A working folder with a trained baseline, and the images where torchvision looks for them."""
    import chain

    from budama.data.catalogue import DEBIAN_FASHION_MNIST

    chain.lay_out(folder)
    chain.write(folder, "baselines/fashion.yaml", BASELINE)
    chain.write(folder, "scenarios/four.yaml", {
        "scenario": "four", "baseline": "fashion", "pruning": {"methods": list(METHODS), "ratio": RATIO},
        "finetune": {"epochs": epochs, "batch_size": BATCH, "learning_rate": 0.02, "max_batches": STEPS}, "seeds": [0],
        "benchmark": {"rounds": 10},
    })  # fmt: skip
    chain.write(folder, "config.yaml", {"scenarios": ["four"]})
    done = chain.run(folder, "results/baselines/fashion/model", **BYTECODE)
    if done.returncode:
        sys.exit(done.stderr)
    raw = folder / "torchvision/FashionMNIST/raw"
    raw.mkdir(parents=True)
    for packed in DEBIAN_FASHION_MNIST.glob("*.gz"):
        (raw / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


def scenario(prepared: Path, folder: Path) -> tuple[float, dict[str, float]]:
    """Seconds that budama takes, and those of its stages."""
    import chain

    shutil.copytree(prepared, folder, symlinks=True)
    environment, began, started = timeline.recorded(folder) | BYTECODE, time.time(), time.perf_counter()
    done = chain.run(folder, **environment)
    seconds = time.perf_counter() - started
    if done.returncode or not (folder / "reports/four/ozet_rapor.pdf").exists():
        sys.exit(done.stderr)
    parts = {}
    for job in timeline.jobs(folder, began):
        parts[job.rule] = parts.get(job.rule, 0) + job.end - job.start
    return seconds, parts


def scripts(prepared: Path, epochs: int) -> tuple[float, dict[str, float]]:
    """Seconds that a script for each method takes, one after the other, and those of their parts."""
    started, parts = time.perf_counter(), {}
    for method in METHODS:
        command = [sys.executable, __file__, "--script", method, "--folder", prepared, "--epochs", str(epochs)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        *said, laps = done.stdout.splitlines()
        print("\n".join(said), flush=True)
        for part, seconds in json.loads(laps).items():
            parts[part] = parts.get(part, 0) + seconds
    seconds = time.perf_counter() - started
    return seconds, parts | {"start and end": seconds - sum(parts.values())}


def listed(parts: dict[str, float]) -> str:
    return ", ".join(f"{part} {seconds:.1f} s" for part, seconds in parts.items())


class Laps:
    """Seconds of each part; a part lasts from the end of the one before."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.began = time.perf_counter()

    def end(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0) + now - self.began
        self.began = now


def script(method: str, folder: Path, epochs: int) -> None:
    """The rival: one method from the baseline to its figures, as an ordinary PyTorch script."""
    laps = Laps()

    import torch
    import torch_pruning as tp
    import torchvision  # noqa: F401 (for `load_images`, and timed here)

    from budama.networks import checkpoint

    laps.end("imports")
    train, calibration, test = load_images(folder)
    baseline, model = (checkpoint.load(folder / "results/baselines/fashion/model") for _ in range(2))
    laps.end("loading")
    before = evaluate(model, test)
    laps.end("evaluation")
    scores = importance(method, model, calibration)
    laps.end("calibration")
    pruner = tp.pruner.MetaPruner(
        model, torch.zeros(1, 1, 28, 28), scores, pruning_ratio=RATIO, ignored_layers=[model.fc]
    )
    pruner.step()
    laps.end("pruning")
    pruned = evaluate(model, test)
    laps.end("evaluation")
    after = finetune(model, train, test, epochs, laps)
    milliseconds = [
        timed(which.eval(), torch.zeros(count, 1, 28, 28)) for count in (1, 64) for which in (baseline, model)
    ]
    laps.end("timing")
    accuracies = f"{100 * before:.2f} → {100 * pruned:.2f} → {100 * after:.2f} %"
    times = "1 image {:.2f} → {:.2f} ms, 64 images {:.2f} → {:.2f} ms".format(*milliseconds)
    print(f"  {method}: {accuracies}, {times}\n{json.dumps(laps.seconds)}", flush=True)


def load_images(folder: Path):
    """Augmented images to train on, a loader of those to calibrate with, and images to test on."""
    from torch.utils.data import DataLoader, Subset
    from torchvision import transforms
    from torchvision.datasets import FashionMNIST

    tensors = [transforms.ToTensor(), transforms.Normalize((0.286,), (0.353,))]
    augmented = transforms.Compose([transforms.RandomCrop(28, padding=3), transforms.RandomHorizontalFlip(), *tensors])
    train = FashionMNIST(folder / "torchvision", train=True, transform=augmented)
    plain = FashionMNIST(folder / "torchvision", train=True, transform=transforms.Compose(tensors))
    test = FashionMNIST(folder / "torchvision", train=False, transform=transforms.Compose(tensors))
    return train, DataLoader(Subset(plain, range(CALIBRATION * BATCH)), BATCH), test


def evaluate(model, test) -> float:
    import torch
    from torch.utils.data import DataLoader

    model.eval()
    with torch.inference_mode():
        return sum((model(x).argmax(1) == y).sum().item() for x, y in DataLoader(test, 256)) / len(test)


def importance(method: str, model, calibration):
    """The method's score."""
    import torch_pruning as tp
    from torch.nn import functional

    model.eval()
    if method == "magnitude":
        return tp.importance.GroupMagnitudeImportance()
    if method == "taylor":
        for x, y in calibration:
            functional.cross_entropy(model(x), y).backward()
        return tp.importance.GroupTaylorImportance()
    seen = activations(method, model, calibration)

    def score(group, **_):
        layer, idxs = group[0].dep.target.module, group[0].idxs
        norm = seen[layer].clone()[idxs].sqrt()
        return norm * layer.weight.flatten(1).abs().sum(1)[idxs] if method == "wanda" else norm

    return score


def activations(method: str, model, calibration) -> dict:
    """What coverage or wanda sums of each channel, by layer; watched by hooks, which are then removed."""
    import torch

    seen = {}

    def watch(layer, inputs, output):
        active = output.relu()
        value = (active > 0.25 * active.amax((1, 2, 3), True)).float() if method == "coverage" else active.square()
        seen[layer] = seen.get(layer, 0) + value.sum((0, 2, 3))

    convolutions = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)]
    hooks = [layer.register_forward_hook(watch) for layer in convolutions]
    with torch.inference_mode():
        for x, _ in calibration:
            model(x)
    for hook in hooks:
        hook.remove()
    return seen


def finetune(model, train, test, epochs: int, laps: Laps) -> float:
    """Fine-tunes the model, with an evaluation after each epoch; the last one's accuracy."""
    import torch
    from torch.nn import functional
    from torch.utils.data import DataLoader, Subset

    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4, nesterov=True)
    loader = DataLoader(Subset(train, range(STEPS * BATCH)), BATCH, shuffle=True, num_workers=2)
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
        laps.end("fine-tuning")
        after = evaluate(model, test)
        laps.end("evaluation")
    return after


def timed(model, images) -> float:
    """Milliseconds of a forward pass, the median of 200."""
    import torch

    times = []
    with torch.inference_mode():
        for _ in range(200):
            started = time.perf_counter()
            model(images)
            times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


if __name__ == "__main__":
    main()
