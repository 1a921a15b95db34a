"""What compensation is worth before any training: as pruned, BatchNorm re-estimated, compensated in either way.

Prunes a trained baseline by every method at several ratios, through the same functions as the workflow's stages, and
prints a Markdown table of accuracies on the selection split (the test split is not looked at).

    snakemake --cores 2 results/baselines/digits_resnet/calibration.safetensors
    python benchmarks/compensation.py results/baselines/digits_resnet [--ratios 0.3 0.5 0.7] [--how one_pass sequential]
"""

import argparse
import copy
import sys
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import torch
from opened import Opened

from budama.measuring.evaluation import evaluate
from budama.methods import METHODS
from budama.pruning import calibration, compensation, criteria, gram, pruner, refitting

WAYS = {"one_pass": "one pass", "sequential": "sequential"}
TRIED = [row.name for row in METHODS.values() if not row.new_weights and not row.unpruned]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("baseline", type=Path, help="results/baselines/NAME with a finished baseline")
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.3, 0.5, 0.7], help="shares of channels to remove")
    parser.add_argument("--methods", nargs="+", default=TRIED)
    parser.add_argument("--how", choices=WAYS, nargs="+", default=["one_pass"], help="as pruning.compensate")
    parser.add_argument("--ignore", nargs="*", default=[], help="layers that stay, as in pruning.ignore")
    parser.add_argument(
        "--seeds", type=int, default=3, help="of methods whose choice a seed decides; their mean counts"
    )
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.how = [way for way in WAYS if way in args.how]
    torch.set_num_threads(args.threads)
    runs = Runs(args)
    print(
        f"{args.baseline.name}, {runs.before.images} selection images; original {runs.before.accuracy_percent:.2f} %\n"
    )
    ways = "".join(f" {WAYS[way]} (%) | gain (points) |" for way in args.how)
    print(f"| channels | method | as pruned (%) | re-estimated (%) |{ways} left as they were |")
    print(f"|---|---|---|---|{'---|---|' * len(args.how)}---|")
    for ratio in args.ratios:
        for method in args.methods:
            try:
                plain, renewed, *compensated, left = runs.of(method, ratio)
            except criteria.Unavailable:
                continue
            ways = "".join(f" {one:.1f} | {one - renewed:+.1f} |" for one in compensated)
            print(f"| −{100 * ratio:g} % | {method} | {plain:.1f} | {renewed:.1f} |{ways} {left:g} |", flush=True)


class Runs(Opened):
    """One baseline, its calibration images, and what is left of it."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args.baseline)
        self.args = args

    def of(self, method: str, ratio: float) -> list[float]:
        """Mean accuracies in % as pruned, with BatchNorm re-estimated, and compensated in each way; at last how many
        layers stayed as they were, in sum. What merges is not compensated."""
        seeds = range(self.args.seeds if METHODS[method].seeded else 1)
        *accuracies, left = zip(*(self.once(method, ratio, seed) for seed in seeds))
        return [*map(fmean, accuracies), sum(left)]

    def once(self, method: str, ratio: float, seed: int) -> list[float]:
        left: list[str] = []
        found: dict[str, float] = {}

        def compensate(before, after, gone):
            told = compensation.compensate(before, after, self.images, renewed=True)
            left.extend(told["left"])
            if "sequential" in self.args.how:
                found["one_pass"] = self.renewed(copy.deepcopy(after.model))
                told["refitting"] = refitting.refit(self.model, gone.kept, after, self.images, renewed=True)
                left.extend(told["refitting"]["left"])
            found[self.args.how[-1]] = self.renewed(after.model)
            return told

        settings = {"ratio": ratio, "seed": seed, "ignore": self.args.ignore}
        done = pruner.prune(
            self.model, self.data.input_shape, self.data.classes, method, settings, self.statistics,
            compensate=compensate,
            moments=lambda copy: gram.moments(copy.model, copy.groups, (images for images, _ in self.images)),
        )  # fmt: skip
        cut = done.model if done.uncompensated is None else done.uncompensated
        plain = evaluate(cut, self.selection).accuracy_percent
        renewed = self.renewed(cut)
        return [plain, renewed, *(found.get(way, renewed) for way in self.args.how), len(left)]

    def renewed(self, model: torch.nn.Module) -> float:
        """Accuracy in % after its BatchNorm has been re-estimated."""
        calibration.reestimate_batchnorm(model, self.images)
        return evaluate(model, self.selection).accuracy_percent


if __name__ == "__main__":
    main()
