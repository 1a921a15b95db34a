"""Does the loss predicted for a layer tell which layers are sensitive? Spearman's correlation with what is measured.

    snakemake --cores 2 results/baselines/digits_vit/calibration.safetensors
    python benchmarks/layer_sensitivity.py results/baselines/digits_vit [--shares 0.25 0.5 0.75] [--ignore LAYER ...]

One group of channels after the other is pruned alone, by each of the shares, and the model scored on the selection
split. There are two predictions, both from what the layers read in one calibration pass, and each is held against what
it speaks of: the sensitivity curve of calibration.json (what the readers miss once all others make up for it), against
channels taken by `obs` with `compensate: one_pass`; and `scope: sensitivity`'s (what the readers miss as it is),
against channels taken by `magnitude`. BatchNorm is re-estimated in both. The measured loss is by how much the cross
entropy rises. Correlations are over the layers at each share, with 95 % intervals (Fisher's z, with the variance that
Bonett and Wright 2000 give for ranks), and over all layers and shares.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import numpy as np
import torch
from opened import Opened
from scipy import stats

from budama.measuring.evaluation import evaluate
from budama.networks import checkpoint
from budama.pruning import calibration, compensation, curves, gram, pruner, selection, sensitivity
from budama.pruning.working_copy import Original, WorkingCopy

METHODS = {"curve": "obs", "scope": "magnitude"}  # of each prediction: which channels go


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("baseline", type=Path, help="results/baselines/NAME with a finished baseline")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 0.75], help="of a group's channels")
    parser.add_argument("--ignore", nargs="*", default=[], help="layers that stay, as in pruning.ignore")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    layers = Layers(args)
    print(f"{args.baseline.name}, {layers.before.images} selection images, {layers.before.accuracy_percent:.2f} %\n")
    print("| layer | share | curve: predicted | loss rises by | scope: predicted | loss rises by |")
    print("|---|---|---|---|---|---|")
    rows = []
    for name in layers.groups:
        for share in args.shares:
            found = [layers.of(name, share, kind) for kind in METHODS]
            rows.append((share, *found))
            print(f"| {name} | {100 * share:g} % | {' | '.join(f'{p:.4f} | {m:+.4f}' for p, m in found)} |", flush=True)
    print()
    for place, kind in enumerate(METHODS, 1):
        for share in [*args.shares, None]:
            pairs = [row[place] for row in rows if share in (row[0], None)]
            over = "all shares" if share is None else f"{100 * share:g} %"
            print(f"{kind}, {over}: {_correlation(pairs)}")


class Layers(Opened):
    """A baseline, its groups of channels, and what is predicted and measured of each."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args.baseline)
        self.args = args
        shape, classes = self.data.input_shape, self.data.classes
        found = curves.measure(self.model, shape, classes, self.images, self.statistics)
        self.curves = {curve["name"]: curve for curve in found["curves"]}
        whole = WorkingCopy(
            checkpoint.load(args.baseline / "model").eval(), Original.of(self.model, shape, classes, args.ignore)
        )
        self.moments = gram.moments(whole.model, whole.groups, (images for images, _ in self.images))
        self.every = [group for group in whole.groups if selection.shrinks(group)]
        self.groups = {group.name: group for group in self.every if group.name in self.curves}

    def of(self, name: str, share: float, kind: str) -> tuple[float, float]:
        """The predicted and the measured loss of a group that loses a share of its channels alone."""
        others = [group.name for group in self.every if group.name != name]
        settings = {"ratio": share, "seed": 0, "ignore": [*self.args.ignore, *others], "max_ratio": 1.0}

        def compensate(before, after, gone):
            return compensation.compensate(before, after, self.images, renewed=True)

        done = pruner.prune(
            self.model, self.data.input_shape, self.data.classes, METHODS[kind], settings, self.statistics,
            compensate=compensate if kind == "curve" else None,
            moments=lambda copy: gram.moments(copy.model, copy.groups, (images for images, _ in self.images)),
        )  # fmt: skip
        calibration.reestimate_batchnorm(done.model, self.images)
        return self._predicted(name, done, kind), evaluate(done.model, self.selection).loss - self.before.loss

    def _predicted(self, name: str, done: pruner.Pruned, kind: str) -> float:
        group = self.groups[name]
        made = next(member for member in group.members if member.name == name and member.role == "out")
        stays = torch.isin(made.idxs, torch.tensor(done.kept[name]))
        if kind == "curve":
            curve, left = self.curves[name], len(set(made.roots[stays].tolist()))
            return float(np.interp(left, curve["widths"][::-1], curve["lost"][::-1]))
        gone = torch.unique(made.roots[~stays])
        return float(sensitivity.missed(group, self.moments)[gone][:, gone].sum())


def _correlation(pairs: list[tuple[float, float]]) -> str:
    predicted, measured = zip(*pairs)
    rho = float(stats.spearmanr(predicted, measured).statistic)
    half = 1.96 * np.sqrt((1 + rho**2 / 2) / (len(pairs) - 3))
    low, high = np.tanh(np.arctanh(np.clip(rho, -0.9999, 0.9999)) + np.array([-half, half]))
    return f"{rho:.2f} [{low:.2f}, {high:.2f}], {len(pairs)} points"


if __name__ == "__main__":
    main()
