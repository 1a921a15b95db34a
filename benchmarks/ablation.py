"""What each step of the recovery is worth: BatchNorm re-estimation, distillation, iterative pruning.

Prunes a trained baseline with every combination of: BatchNorm re-estimated or not, 1 or 5 steps, fine-tuned with or
without distillation; by several methods and seeds, through the same functions as the workflow's stages. Prints a
Markdown table of accuracies on the selection split (the test split is not looked at): the mean over methods and seeds,
and the 95 % interval of the paired difference to the full recipe.

    snakemake --cores 2 results/baselines/digits_resnet/calibration.safetensors
    python benchmarks/ablation.py results/baselines/digits_resnet [--ratio 0.5] [--epochs 6] [--seeds 3]
"""

import argparse
import copy
import functools
import itertools
import sys
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import torch
from scipy import stats

from budama import files
from budama.data import batching
from budama.data.dataset import open_data
from budama.measuring.evaluation import evaluate
from budama.networks import checkpoint
from budama.pruning import calibration, pruner
from budama.settings import stages
from budama.training import loop

METHODS = ("coverage", "wanda", "magnitude", "taylor")
FULL = (True, 1, True)  # re-estimated, one step, distilled: what the others are compared with


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("baseline", type=Path, help="results/baselines/NAME with a finished baseline and calibration")
    parser.add_argument("--ratio", type=float, default=0.5, help="share of multiply–accumulates to remove")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="batches an epoch; all of them by default")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    runs = Runs(args)
    rows = {case: runs.accuracies(*case) for case in itertools.product((True, False), (1, 5), (True, False))}
    print(table(rows, args, runs.baseline_accuracy))


class Runs:
    """The pruned and fine-tuned models of one baseline."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.manifest = files.read_json(args.baseline / "dataset.json")
        self.data = open_data(self.manifest)
        settings = stages.load_baseline(f"config/baselines/{args.baseline.name}.yaml").calibration
        self.threshold = settings["coverage_threshold"]
        self.calibration = calibration.batches(self.data, settings, torch.device("cpu"))
        self.selection = batching.batches(self.data, "selection", settings["batch_size"])
        self.statistics = calibration.Statistics.load(args.baseline / "calibration.safetensors")
        self.baseline_accuracy = evaluate(self.teacher(), self.selection).accuracy_percent

    def teacher(self) -> torch.nn.Module:
        return checkpoint.load(self.args.baseline / "model")

    def accuracies(self, reestimated: bool, steps: int, distilled: bool) -> list[tuple[float, float]]:
        """Selection accuracy before and after fine-tuning, for every method and seed, in %."""
        found = []
        for method in METHODS:
            model = self.pruned(method, reestimated, steps)
            before = evaluate(model, self.selection).accuracy_percent
            for seed in range(self.args.seeds):
                found.append((before, self.fine_tuned(copy.deepcopy(model), distilled, seed)))
        return found

    @functools.cache  # noqa: B019 - one object, for the whole run
    def pruned(self, method: str, reestimated: bool, steps: int) -> torch.nn.Module:
        settings = {
            **{"method": method, "ratio": self.args.ratio, "scope": "layerwise", "steps": steps, "match": "macs"},
            **{"round_to": None, "ignore": [], "max_ratio": 0.95, "reestimate_batchnorm": reestimated, "seed": 0},
        }
        shape, classes = self.data.input_shape, self.data.classes

        def recalibrate(model: torch.nn.Module) -> calibration.Statistics:
            if reestimated:
                calibration.reestimate_batchnorm(model, self.calibration)
            return calibration.collect(model, self.calibration, threshold=self.threshold)

        result = pruner.prune(self.teacher(), shape, classes, method, settings, self.statistics, recalibrate)
        if reestimated:
            calibration.reestimate_batchnorm(result.model, self.calibration)
        return result.model

    def fine_tuned(self, model: torch.nn.Module, distilled: bool, seed: int) -> float:
        recipe = stages.load_scenario("config/scenarios/demo.yaml").finetune
        settings = {**recipe, "epochs": self.args.epochs, "max_batches": self.args.limit}
        settings["distill"] = 0.5 if distilled else 0.0
        loop.train(
            model, self.data, settings, seed=seed, device=torch.device("cpu"), augment=self.manifest["augment"],
            teacher=self.teacher() if distilled else None,
        )  # fmt: skip
        return evaluate(model, self.selection).accuracy_percent


def table(rows: dict, args: argparse.Namespace, baseline: float) -> str:
    epochs = f"{args.epochs} epochs" + (f" of {args.limit} batches" if args.limit else "")
    lines = [
        f"{args.baseline.name}: −{100 * args.ratio:g} % MACs, {', '.join(METHODS)}, {args.seeds} seeds, {epochs}; "
        f"baseline {baseline:.2f} % on the selection split",
        "",
        "| BatchNorm re-estimated | steps | distillation | before fine-tuning (%) | after (%) | difference (points) |",
        "|---|---|---|---|---|---|",
    ]
    for case, values in rows.items():
        reestimated, steps, distilled = case
        before, after = zip(*values)
        differences = [value - full for value, (_, full) in zip(after, rows[FULL])]
        difference = (
            "—"
            if case == FULL
            else "{:+.2f} [{:+.2f}, {:+.2f}]".format(
                fmean(differences),
                *stats.t.interval(0.95, len(differences) - 1, fmean(differences), stats.sem(differences)),
            )
        )
        cells = [said(reestimated), steps, said(distilled), f"{fmean(before):.2f}", f"{fmean(after):.2f}", difference]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def said(yes: bool) -> str:
    return "yes" if yes else "no"


if __name__ == "__main__":
    main()
