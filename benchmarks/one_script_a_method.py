"""A scenario of four methods against one script a method.

    python benchmarks/one_script_a_method.py [--pairs 3] [--steps 200]

Rival: what one writes for one method and copies for the next. Each script loads Fashion-MNIST through torchvision and a
DataLoader, evaluates the baseline, calibrates for its own method, prunes 30 % of the channels of every group with
Torch-Pruning, fine-tunes in float32 as torchvision's references do, evaluates, and times the model. The four run one
after the other, each with all cores. budama runs the same four as a scenario, from the same trained baseline (a
ResNet-14, not timed), with as many calibration images, fine-tuning steps and test images. In its time are also what the
scripts do not make: disjoint splits by content, re-estimated BatchNorm, three accuracies, paired latencies, the report.

Whole commands are timed, imports included; a pair is one of each, in alternating order.
"""

import argparse
import gzip
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "workflow/scripts"), str(ROOT / "tests/workflow")]

METHODS = ("coverage", "wanda", "magnitude", "taylor")
RATIO, BATCH, CALIBRATION = 0.3, 128, 20
BASELINE = {
    "baseline": "fashion",
    "model": {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 14, "width": 16}},
    "data": {"name": "fashion_mnist", "augment": "light"},
    "calibration": {"batches": CALIBRATION, "batch_size": BATCH},
    "train": {"epochs": 1, "learning_rate": 0.1},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200, help="of fine-tuning, 128 images each (default: 200)")
    parser.add_argument("--script", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.script:
        script(args.script, args.folder, args.steps)
        return
    ratios, ours, theirs = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(Path(folder, "prepared"), args.steps)
        for pair in range(args.pairs):
            for side in ("budama", "scripts") if pair % 2 else ("scripts", "budama"):
                if side == "budama":
                    ours.append(scenario(prepared, Path(folder, f"run{pair}")))
                else:
                    theirs.append(scripts(prepared, args.steps))
            ratios.append(ours[-1] / theirs[-1])
            shown = f"budama {ours[-1]:.0f} s, four scripts {theirs[-1]:.0f} s, ratio {ratios[-1]:.2f}"
            print(f"pair {pair + 1}: {shown}", flush=True)
    print(
        f"ratio {statistics.median(ratios):.2f} (median of {args.pairs}, {min(ratios):.2f} to {max(ratios):.2f}); "
        f"budama {statistics.median(ours):.0f} s, four scripts {statistics.median(theirs):.0f} s"
    )


def prepare(folder: Path, steps: int) -> Path:
    """A working folder with a trained baseline, and the images where torchvision looks for them."""
    import chain

    from budama.locations import DEBIAN_FASHION_MNIST

    chain.lay_out(folder)
    chain.write(folder, "baselines/fashion.yaml", BASELINE)
    chain.write(folder, "scenarios/four.yaml", {
        "scenario": "four", "baseline": "fashion", "pruning": {"methods": list(METHODS), "ratio": RATIO},
        "finetune": {"epochs": 1, "batch_size": BATCH, "learning_rate": 0.02, "max_batches": steps}, "seeds": [0],
        "benchmark": {"rounds": 10},
    })  # fmt: skip
    chain.write(folder, "config.yaml", {"scenarios": ["four"]})
    done = chain.run(folder, "results/baselines/fashion/model")
    if done.returncode:
        sys.exit(done.stderr)
    raw = folder / "torchvision/FashionMNIST/raw"
    raw.mkdir(parents=True)
    for packed in DEBIAN_FASHION_MNIST.glob("*.gz"):
        (raw / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


def scenario(prepared: Path, folder: Path) -> float:
    """Seconds that budama takes."""
    import chain

    chain.copy(prepared, folder)
    started = time.perf_counter()
    done = chain.run(folder)
    seconds = time.perf_counter() - started
    if done.returncode or not (folder / "reports/four/ozet_rapor.pdf").exists():
        sys.exit(done.stderr)
    return seconds


def scripts(prepared: Path, steps: int) -> float:
    """Seconds that a script for each method takes, one after the other."""
    started = time.perf_counter()
    for method in METHODS:
        command = [sys.executable, __file__, "--script", method, "--folder", prepared, "--steps", str(steps)]
        subprocess.run(command, check=True)
    return time.perf_counter() - started


def script(method: str, folder: Path, steps: int) -> None:
    """The rival: one method from the baseline to its figures, as an ordinary PyTorch script."""
    import torch
    import torch_pruning as tp
    from torch.nn import functional
    from torch.utils.data import DataLoader, Subset
    from torchvision import transforms
    from torchvision.datasets import FashionMNIST

    from budama import checkpoint

    tensors = [transforms.ToTensor(), transforms.Normalize((0.286,), (0.353,))]
    augmented = transforms.Compose([transforms.RandomCrop(28, padding=3), transforms.RandomHorizontalFlip(), *tensors])
    train = FashionMNIST(folder / "torchvision", train=True, transform=augmented)
    plain = FashionMNIST(folder / "torchvision", train=True, transform=transforms.Compose(tensors))
    test = FashionMNIST(folder / "torchvision", train=False, transform=transforms.Compose(tensors))
    calibration = DataLoader(Subset(plain, range(CALIBRATION * BATCH)), BATCH)
    model = checkpoint.load(folder / "results/baselines/fashion/model")

    @torch.inference_mode()
    def evaluate() -> float:
        model.eval()
        return sum((model(x).argmax(1) == y).sum().item() for x, y in DataLoader(test, 256)) / len(test)

    def importance():
        """The method's score; activations are watched by hooks, which are then removed."""
        model.eval()
        if method == "magnitude":
            return tp.importance.GroupMagnitudeImportance()
        if method == "taylor":
            for x, y in calibration:
                functional.cross_entropy(model(x), y).backward()
            return tp.importance.GroupTaylorImportance()
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

        def score(group, **_):
            layer, idxs = group[0].dep.target.module, group[0].idxs
            norm = seen[layer].clone()[idxs].sqrt()
            return norm * layer.weight.flatten(1).abs().sum(1)[idxs] if method == "wanda" else norm

        return score

    before = evaluate()
    pruner = tp.pruner.MetaPruner(
        model, torch.zeros(1, 1, 28, 28), importance(), pruning_ratio=RATIO, ignored_layers=[model.fc]
    )
    pruner.step()
    pruned = evaluate()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4, nesterov=True)
    model.train()
    for step, (x, y) in enumerate(DataLoader(train, BATCH, shuffle=True, drop_last=True, num_workers=2)):
        if step == steps:
            break
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
    after = evaluate()
    image, times = torch.zeros(1, 1, 28, 28), []
    with torch.inference_mode():
        for _ in range(200):
            started = time.perf_counter()
            model(image)
            times.append(time.perf_counter() - started)
    shown = f"{100 * before:.2f} → {100 * pruned:.2f} → {100 * after:.2f} %"
    print(f"  {method}: {shown}, {1000 * statistics.median(times):.2f} ms", flush=True)


if __name__ == "__main__":
    main()
