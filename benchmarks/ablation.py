"""What each step of the recovery is worth: BatchNorm re-estimation, distillation, iterative pruning.

Prunes a trained baseline with every combination of: BatchNorm re-estimated or not, 1 or 5 steps, fine-tuned with or
without distillation; by several methods and seeds, through the same functions as the workflow's stages. Prints a
Markdown table of accuracies on the selection split (the test split is not looked at): the mean over methods and seeds,
and the 95 % interval of the paired difference to the full recipe.

    snakemake --cores 2 results/baselines/digits_resnet/calibration.safetensors
    python benchmarks/ablation.py results/baselines/digits_resnet [--ratio 0.5] [--epochs 6] [--seeds 3]

With --cycles 2 3, another table: the full recipe in one turn of pruning and training against several, of equal epochs
in sum, at 30, 50 and 70 % fewer MACs. A seed counts once there, as the mean over the methods.
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
RATIOS = (0.3, 0.5, 0.7)  # of the MACs, for --cycles
FULL = (True, 1, True)  # re-estimated, one step, distilled: what the others are compared with


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("baseline", type=Path, help="results/baselines/NAME with a finished baseline and calibration")
    parser.add_argument("--ratio", type=float, default=0.5, help="share of multiply–accumulates to remove")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cycles", type=int, nargs="+", help="numbers of turns to compare with one")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--limit", type=int, help="batches an epoch; all of them by default")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    runs = Runs(args)
    if args.cycles:
        print(cycles_table(runs, args))
        return
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
        for method in self.args.methods:
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

    def in_turns(self, method: str, ratio: float, turns: int, seed: int) -> float:
        """Selection accuracy in % after so many turns of pruning and distilled fine-tuning, as the stages do them."""
        whole = model = self.teacher()
        statistics, kept, accuracy = self.statistics, None, 0.0
        for turn in range(1, turns + 1):
            settings = {
                **{"ratio": ratio, "scope": "layerwise", "steps": 1, "match": "macs", "round_to": None, "ignore": []},
                **{"max_ratio": 0.95, "seed": seed, "turn": turn, "turns": turns},
            }
            done = pruner.prune(
                model, self.data.input_shape, self.data.classes, method, settings, statistics,
                whole=whole if turn > 1 else None, kept=kept,
            )  # fmt: skip
            model, kept = done.model, done.kept
            calibration.reestimate_batchnorm(model, self.calibration)
            each = self.args.epochs // turns
            own = each if turn < turns else self.args.epochs - each * (turns - 1)
            accuracy = self.fine_tuned(model, True, seed, own)
            if turn < turns:
                statistics = calibration.collect(model, self.calibration, threshold=self.threshold)
        return accuracy

    def fine_tuned(self, model: torch.nn.Module, distilled: bool, seed: int, epochs: int | None = None) -> float:
        recipe = stages.load_scenario("config/scenarios/demo.yaml").finetune
        settings = {**recipe, "epochs": epochs or self.args.epochs, "max_batches": self.args.limit}
        settings["distill"] = 0.5 if distilled else 0.0
        loop.train(
            model, self.data, settings, seed=seed, device=torch.device("cpu"), augment=self.manifest["augment"],
            teacher=self.teacher() if distilled else None,
        )  # fmt: skip
        return evaluate(model, self.selection).accuracy_percent


def table(rows: dict, args: argparse.Namespace, baseline: float) -> str:
    epochs = f"{args.epochs} epochs" + (f" of {args.limit} batches" if args.limit else "")
    lines = [
        f"{args.baseline.name}: −{100 * args.ratio:g} % MACs, {', '.join(args.methods)}, {args.seeds} seeds, {epochs}; "
        f"baseline {baseline:.2f} % on the selection split",
        "",
        "| BatchNorm re-estimated | steps | distillation | before fine-tuning (%) | after (%) | difference (points) |",
        "|---|---|---|---|---|---|",
    ]
    for case, values in rows.items():
        reestimated, steps, distilled = case
        before, after = zip(*values)
        differences = [value - full for value, (_, full) in zip(after, rows[FULL])]
        difference = "—" if case == FULL else interval(differences)
        cells = [said(reestimated), steps, said(distilled), f"{fmean(before):.2f}", f"{fmean(after):.2f}", difference]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def cycles_table(runs: Runs, args: argparse.Namespace) -> str:
    """One turn against several: means over methods and seeds, and the interval of the difference over the seeds."""
    lines = [
        f"{args.baseline.name}: {', '.join(args.methods)}, {args.seeds} seeds, {args.epochs} epochs in sum; "
        f"baseline {runs.baseline_accuracy:.2f} % on the selection split",
        "",
        "| MACs (%) | turns | after (%) | difference to one turn (points) |",
        "|---|---|---|---|",
    ]
    for ratio in RATIOS:
        one: list[float] = []
        for turns in (1, *args.cycles):
            after = [
                fmean(runs.in_turns(method, ratio, turns, seed) for method in args.methods)
                for seed in range(args.seeds)
            ]
            one = one or after
            said_difference = interval([value - first for value, first in zip(after, one)]) if turns > 1 else "—"
            lines.append(f"| −{100 * ratio:g} | {turns} | {fmean(after):.2f} | {said_difference} |")
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def interval(differences: list[float]) -> str:
    """Mean and 95 % interval (Student) of paired differences."""
    low, high = stats.t.interval(0.95, len(differences) - 1, fmean(differences), stats.sem(differences))
    return f"{fmean(differences):+.2f} [{low:+.2f}, {high:+.2f}]"


def said(yes: bool) -> str:
    return "yes" if yes else "no"


if __name__ == "__main__":
    main()
