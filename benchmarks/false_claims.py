"""How often is a difference claimed where there is none, and found where there is one?

    python benchmarks/false_claims.py                                   # the table of docs/statistics.md, some minutes
    python benchmarks/false_claims.py --comparisons 200 --images 359 --output claims.json

Simulated comparisons: methods whose models have the same accuracy in the long run (or one of which is better by a true
difference), each trained with several seeds, scored on the same images. A comparison of more than two methods counts as
false as soon as any of its pairs is called different. The rules:

mcnemar        exact McNemar tests, one a seed, joined by twice the median (budama until 2026-11): images alone
satterthwaite  two levels, with Satterthwaite's degrees of freedom (Obuchowski and Rockette 1995; Hillis 2007)
bootstrap      seeds and images resampled, percentiles (hierarchical bootstrap; Saravanan et al. 2020)
two_level      budama's: two levels, the variance between seeds integrated over what its distribution leaves possible

All are corrected over the pairs after Holm, at 5 %. Images: 85 of 100 are right with every model and 3 with none; the
other 12 each method gets right with a probability of its own, drawn evenly between 0.1 and 0.9, so that two models of
one method disagree on 4.7 % of the images, of two methods on 6 %. A training adds a normal deviate of the given spread.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import numpy as np
from scipy import stats
from tqdm import tqdm

from budama.significance import moments, variances
from budama.significance.moments import Moments

ALPHA = 0.05
ALWAYS, CONTESTED = 0.85, 0.12
RESAMPLES = 999
Rule = Callable[[Moments, list[str], list[int], np.random.Generator], list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=1000, help="simulated comparisons a cell of equal methods")
    parser.add_argument("--power-comparisons", type=int, default=300, help="the same of methods that differ")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--images", type=int, nargs="+", default=[359, 10_000, 50_000])
    parser.add_argument("--spreads", type=float, nargs="+", default=[0, 0.1, 0.25, 0.5], help="between seeds, points")
    parser.add_argument("--methods", type=int, nargs="+", default=[2, 5])
    parser.add_argument(
        "--differences", type=float, nargs="*", default=[0.3, 0.5, 1.0], help="true ones, for the power"
    )
    parser.add_argument("--output", type=Path, help="JSON of all cells")
    args = parser.parse_args()
    cells = [
        {"methods": m, "seeds": s, "images": n, "spread_points": spread, "difference_points": difference}
        for difference in [0.0, *args.differences]
        for m in args.methods
        for s in args.seeds
        for n in args.images
        for spread in args.spreads
    ]
    started = time.perf_counter()
    for number, cell in enumerate(tqdm(cells, disable=None)):
        cell["comparisons"] = args.power_comparisons if cell["difference_points"] else args.comparisons
        cell["claims"] = simulated(cell, np.random.default_rng(number))
    show(cells)
    print(f"\n{len(cells)} cells in {time.perf_counter() - started:.0f} s")
    if args.output:
        args.output.write_text(json.dumps(cells, indent=1) + "\n")


def simulated(cell: dict, rng: np.random.Generator) -> dict[str, int]:
    """How many comparisons of a cell end with a claim, by rule: of any pair where all are equal; otherwise, that the
    first method, which is better, differs from the second."""
    methods, seeds = [f"m{i}" for i in range(cell["methods"])], list(range(cell["seeds"]))
    found = dict.fromkeys(RULES, 0)
    for _ in range(cell["comparisons"]):
        drawn = draw(methods, seeds, cell, rng)
        for name, rule in RULES.items():
            claimed = holm(rule(drawn, methods, seeds, rng))
            found[name] += bool(claimed[0] if cell["difference_points"] else claimed.any())
    return found


def holm(p_values: list[float]) -> np.ndarray:
    """Which tests are claimed after Holm (1979): the library's rule without the p values, a hundred times as fast."""
    order = np.argsort(p_values)
    passed = np.array(p_values)[order] < ALPHA / (len(p_values) - np.arange(len(p_values)))
    claimed = np.zeros(len(p_values), bool)
    claimed[order] = np.logical_and.accumulate(passed)
    return claimed


def draw(methods: list[str], seeds: list[int], cell: dict, rng: np.random.Generator) -> Moments:
    """The moments of one simulated study."""
    images = cell["images"]
    always, contested, _ = rng.multinomial(images, [ALWAYS, CONTESTED, 1 - ALWAYS - CONTESTED])
    chances = rng.uniform(0.1, 0.9, size=(len(methods), 1, contested))
    points = rng.normal(0, cell["spread_points"], size=(len(methods), len(seeds), 1))
    points[0] += cell["difference_points"]
    hits = rng.random((len(methods), len(seeds), contested), dtype=np.float32) < chances + points / 100 / CONTESTED
    table = hits.reshape(len(methods) * len(seeds), contested).astype(np.float32)
    models = [(method, seed) for method in methods for seed in seeds]
    return moments.of_counts(models, table @ table.T + always, images)


def two_level(drawn: Moments, methods: list[str], seeds: list[int], rng: np.random.Generator) -> list[float]:
    return [variances.pair(drawn, a, b, seeds, methods).p() for a, b in combinations(methods, 2)]


def satterthwaite(drawn: Moments, methods: list[str], seeds: list[int], rng: np.random.Generator) -> list[float]:
    found = []
    for a, b in combinations(methods, 2):
        tested = variances.pair(drawn, a, b, seeds, methods)
        between = tested.between_seeds
        variance = tested.over_images + max(0.0, between.value - between.explained) / tested.seeds
        part = between.value / tested.seeds
        freedom = between.freedom * (variance / part) ** 2 if part else np.inf
        found.append(float(2 * stats.t.sf(abs(tested.shift) / np.sqrt(variance), freedom)))
    return found


def bootstrap(drawn: Moments, methods: list[str], seeds: list[int], rng: np.random.Generator) -> list[float]:
    """Means of models vary with the images (normally: N is large), then seeds are drawn with replacement, the same for
    all methods: they are crossed."""
    means = rng.multivariate_normal(drawn.means, drawn.covariance / drawn.images, size=RESAMPLES, method="eigh")
    weights = rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=RESAMPLES) / len(seeds)
    of_methods = np.einsum("rms,rs->rm", means.reshape(RESAMPLES, len(methods), len(seeds)), weights)
    found = []
    for a, b in combinations(range(len(methods)), 2):
        above = int((of_methods[:, a] > of_methods[:, b]).sum())
        found.append(min(1.0, 2 * (1 + min(above, RESAMPLES - above)) / (1 + RESAMPLES)))
    return found


def mcnemar(drawn: Moments, methods: list[str], seeds: list[int], rng: np.random.Generator) -> list[float]:
    both = (drawn.covariance * (drawn.images - 1) / drawn.images + np.outer(drawn.means, drawn.means)) * drawn.images
    at = {model: place for place, model in enumerate(drawn.models)}
    places = [[(at[a, seed], at[b, seed]) for seed in seeds] for a, b in combinations(methods, 2)]
    i, j = np.moveaxis(np.array(places), 2, 0)
    only_a, only_b = (np.rint(both[k, k] - both[i, j]) for k in (i, j))
    each = np.minimum(1, 2 * stats.binom.cdf(np.minimum(only_a, only_b), only_a + only_b, 0.5))
    return [min(1.0, float(p)) for p in 2 * np.median(each, axis=1)]


RULES: dict[str, Rule] = {
    "mcnemar": mcnemar,
    "satterthwaite": satterthwaite,
    "bootstrap": bootstrap,
    "two_level": two_level,
}


def show(cells: list[dict]) -> None:
    """A row for each number of methods, seeds and images, a column a spread: claims in percent; then the worst."""
    for difference in dict.fromkeys(cell["difference_points"] for cell in cells):
        own = [cell for cell in cells if cell["difference_points"] == difference]
        print(f"\n{'False claims' if not difference else f'Found: a true difference of {difference:g} points'}, %\n")
        spreads = list(dict.fromkeys(cell["spread_points"] for cell in own))
        print("| methods | seeds | images | rule | " + " | ".join(f"±{spread:g}" for spread in spreads) + " |")
        print("|---" * (4 + len(spreads)) + "|")
        for key in dict.fromkeys((cell["methods"], cell["seeds"], cell["images"]) for cell in own):
            row = [cell for cell in own if (cell["methods"], cell["seeds"], cell["images"]) == key]
            for rule in RULES:
                shares = [100 * cell["claims"][rule] / cell["comparisons"] for cell in row]
                print(f"| {' | '.join(map(str, key))} | {rule} | " + " | ".join(f"{s:.1f}" for s in shares) + " |")
        if not difference:
            for rule in RULES:
                worst = max(own, key=lambda cell: cell["claims"][rule])
                found = stats.binomtest(worst["claims"][rule], worst["comparisons"])
                low, high = found.proportion_ci(method="wilson")
                share = 100 * found.statistic
                print(f"\n{rule}: at most {share:.1f} % [{100 * low:.1f}, {100 * high:.1f}]", end="")
            print()


if __name__ == "__main__":
    main()
