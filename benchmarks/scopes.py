"""Which layer how much: one share for all, a global ranking, a ranking among alike layers, or the least predicted loss.

    snakemake --cores 2 results/baselines/digits_resnet/dataset.json
    python benchmarks/scopes.py results/baselines/digits_resnet [--seeds 3] [--ratio 0.5] [--epochs 2] [--limit N]

Every seed trains a baseline of its own by the baseline's file, and prunes it in every scope by every method until half
of the multiply–accumulates are gone; BatchNorm is re-estimated, then the model is fine-tuned by `demo`'s recipe. Scored
on the test images, by which nothing is chosen here. Of each method, `sensitivity` is held against the best of the other
scopes, over seeds and images, corrected over all pairs of its four scopes (`significance.differences`). Prints a
Markdown table before fine-tuning and one after it.
"""

import argparse
import copy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import numpy as np
import torch

from budama import files
from budama.data import batching
from budama.data.dataset import open_data
from budama.measuring.evaluation import evaluate
from budama.networks import models
from budama.pruning import calibration, gram, pruner
from budama.settings import stages
from budama.significance import differences
from budama.training import loop

SCOPES = ("layerwise", "global", "isomorphic", "sensitivity")
WHEN = ("before fine-tuning", "after it")
Hits = dict[tuple[str, str, str], dict[int, np.ndarray]]  # by when, method and scope: a seed's hits [N]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("baseline", type=Path, help="results/baselines/NAME with a dataset.json")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ratio", type=float, default=0.5, help="share of multiply–accumulates to remove")
    parser.add_argument("--methods", nargs="+", default=["magnitude", "wanda", "taylor", "obs"])
    parser.add_argument("--epochs", type=int, default=2, help="of fine-tuning")
    parser.add_argument("--limit", type=int, help="batches an epoch, of fine-tuning; all of them by default")
    parser.add_argument("--baseline-limit", type=int, help="batches an epoch, of the baseline's training")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    hits: Hits = {}
    for seed in range(args.seeds):
        seed_of = Seed(args, seed)
        print(f"seed {seed}: baseline {seed_of.accuracy:.2f} %", file=sys.stderr, flush=True)
        for method in args.methods:
            for scope in SCOPES:
                for when, found in zip(WHEN, seed_of.hits(method, scope)):
                    hits.setdefault((when, method, scope), {})[seed] = found
    images = len(next(iter(next(iter(hits.values())).values())))
    print(
        f"{args.baseline.name}: −{100 * args.ratio:g} % MACs, {args.seeds} seeds, {images} test images, {args.epochs}",
        end="",
    )
    print(f" epochs of fine-tuning{f' of {args.limit} batches' if args.limit else ''}\n")
    for when in WHEN:
        print(f"{when}\n\n{table(when, hits, args.methods)}\n")


class Seed:
    """The baseline that one seed gave, and what is left of it."""

    def __init__(self, args: argparse.Namespace, seed: int) -> None:
        self.args, self.seed = args, seed
        self.manifest = files.read_json(args.baseline / "dataset.json")
        self.data = open_data(self.manifest)
        known = stages.load_baseline(f"config/baselines/{args.baseline.name}.yaml")
        self.model = models.build(known.model, self.data.classes, self.data.input_shape, seed=seed)
        self.trained(self.model, {**known.train, "max_batches": args.baseline_limit})
        self.images = calibration.batches(self.data, known.calibration, torch.device("cpu"))
        threshold = known.calibration["coverage_threshold"]
        self.statistics = calibration.collect(self.model, self.images, threshold=threshold)
        self.test = batching.batches(self.data, "test", known.calibration["batch_size"])
        self.accuracy = evaluate(self.model, self.test).accuracy_percent

    def hits(self, method: str, scope: str) -> tuple[np.ndarray, np.ndarray]:
        """Hits [N] on the test images before and after fine-tuning."""
        settings = {"ratio": self.args.ratio, "scope": scope, "match": "macs", "seed": self.seed}
        shape, classes = self.data.input_shape, self.data.classes
        model = pruner.prune(
            self.model, shape, classes, method, settings, self.statistics,
            moments=lambda copy: gram.moments(copy.model, copy.groups, (images for images, _ in self.images)),
        ).model  # fmt: skip
        calibration.reestimate_batchnorm(model, self.images)
        before = evaluate(model, self.test).hits
        recipe = stages.load_scenario("config/scenarios/demo.yaml").finetune
        self.trained(model, {**recipe, "epochs": self.args.epochs, "max_batches": self.args.limit})
        return before, evaluate(model, self.test).hits

    def trained(self, model: torch.nn.Module, settings: dict) -> None:
        """Train in place."""
        augment = self.manifest["augment"]
        loop.train(model, self.data, copy.deepcopy(settings), seed=self.seed, augment=augment)


def table(when: str, hits: Hits, methods: list[str]) -> str:
    """Mean accuracies over seeds in %, and sensitivity minus the best of the other scopes in points."""
    lines = [
        f"| method | {' | '.join(SCOPES)} | sensitivity − best other (points) | p (Holm) |",
        f"|{'---|' * (len(SCOPES) + 3)}",
    ]
    for method in methods:
        candidates = [
            differences.Candidate(scope, None, 100 * float(np.mean(list(own.values()))), len(own[0]), own)
            for scope in SCOPES
            for own in [hits[when, method, scope]]
        ]
        means = [one.accuracy_percent for one in candidates]
        other = SCOPES[int(np.argmax(means[:-1]))]
        claims = {frozenset((one["a"], one["b"])): one for one in differences.compare(candidates)}
        claim = claims[frozenset((other, SCOPES[-1]))]
        sign = 1 if claim["a"] == SCOPES[-1] else -1
        low, high = sorted(sign * end for end in claim["interval"] or (0.0, 0.0))
        told = f"{sign * claim['difference_points']:+.2f} [{low:+.2f}, {high:+.2f}] ({other})"
        lines.append(f"| {method} | {' | '.join(f'{mean:.2f}' for mean in means)} | {told} | {claim['p_holm']:.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
