"""Sınıf Bazlı Kazanç ve Kayıplar: which classes pay for the pruning."""

from statistics import NormalDist

import numpy as np

from budama import methods
from budama.reporting.document import Figure, Paragraph, Section
from budama.reporting.figures.heatmaps import heatmap
from budama.reporting.inline import Inline, data, to_plain
from budama.reporting.view import Results

SHOWN = 24  # classes in the figure; of more, those that changed most
NAMED = 3  # classes that lost most with one method


def sections(results: Results) -> list[Section]:
    """Left out where no accuracies by class are known."""
    say, language = results.language.say, results.language
    rows = [(row, changes) for row in results.rows if (changes := row["per_class_change_points"])]
    rows = [(row, changes) for row, changes in rows if not methods.find(row["method"]).new_weights] or rows
    if not rows:
        return []
    count = len(rows[0][1])
    names = results.dataset["class_names"] or [str(i) for i in range(count)]
    values = np.array([changes for _, changes in rows], dtype=float)  # None becomes NaN
    judged = [i for i, (row, _) in enumerate(rows) if not methods.find(row["method"]).control] or list(range(len(rows)))
    known = ~np.isnan(values[judged]).all(axis=0)  # a class without test images has no accuracy
    mean = np.full(count, np.nan)
    mean[known] = np.nanmean(values[judged][:, known], axis=0)
    order = np.argsort(mean, kind="stable")[: int(known.sum())]
    if len(order) < 2:
        return []
    alone = _lost_alone(results, values[judged])
    chosen = _shown(order, [column for _, column, _ in alone])
    title, axis = say("classes.figure"), to_plain(say("classes.axis"))
    labels = [to_plain(data(results.with_ratio(row))) for row, _ in rows], [to_plain(data(names[i])) for i in chosen]

    def draw():
        return heatmap(*labels, values[:, chosen], axis, language.number, 1, diverging=True)

    items = [say("classes.item", name=names[i], change=float(mean[i])) for i in chosen]
    alternative = Inline("; ".join(items) + ".")
    losses = [
        say("classes.one", name=names[column], method=results.with_ratio(rows[judged[line]][0]), change=change)
        for line, column, change in alone[:NAMED]
    ]
    caption = _caption(results, names, mean, order, losses, controls=len(judged) < len(rows))
    figure = Figure("classes", title, caption, alternative, draw, wide=True)
    return [Section("classes", say("classes.title"), [*_noise(results, mean), figure])]


def _lost_alone(results: Results, values: np.ndarray) -> list[tuple[int, int, float]]:
    """Of `values` [rows, classes] each class's largest loss in one row, as (row, class, points), largest first.

    A mean over methods may hide them. Only those that chance would not make among so many: beyond the normal bound of
    a class's own test images, at 5 % shared among all cells (Bonferroni).
    """
    if len(values) < 2:
        return []
    count = values.shape[1]
    sizes = results.dataset["class_images"] or [(results.dataset["counts"]["test"] or 0) / count] * count
    z = NormalDist().inv_cdf(1 - 0.025 / int(np.isfinite(values).sum()))
    found = []
    for column in np.flatnonzero(np.isfinite(values).any(axis=0)):
        line = int(np.nanargmin(values[:, column]))
        bound = _half_width(results, sizes[column], z)
        if values[line, column] < -(bound or 0):
            found.append((line, int(column), float(values[line, column])))
    return sorted(found, key=lambda cell: cell[2])


def _shown(order: np.ndarray, alone: list[int]) -> np.ndarray:
    """The classes of the figure: all, or those whose mean changed most and those that lost most in one row."""
    if len(order) <= SHOWN:
        return order
    half = SHOWN // 2
    by_mean = [i for pair in zip(order[:half], order[::-1][:half]) for i in pair]
    kept = set(list(dict.fromkeys([*alone[: half // 2], *by_mean]))[:SHOWN])
    return np.array([i for i in order if i in kept])


def _caption(
    results: Results, names: list[str], mean: np.ndarray, order: np.ndarray, alone: list[Inline], controls: bool
) -> Inline:
    say, count, bound = results.language.say, len(mean), _bound(results, mean)
    worst, best = float(mean[order[0]]), float(mean[order[-1]])
    losers = [names[i] for i in order[: min(3, len(order) - 1)] if mean[i] < 0]
    key = "gains" if not losers else "losses" if best <= 0 else "both"
    if bound and max(abs(worst), abs(best)) <= bound:
        key = "within"
    loss = max((float(mean[i]) for i in order[: len(losers)]), default=worst)
    extremes = {"loser": names[order[0]], "worst": worst, "winner": names[order[-1]], "gain": best}
    text = say(f"classes.caption.{key}", losers=losers, loss=loss, alone=bool(alone), controls=controls, **extremes)
    if alone:
        text = Inline(f"{text} {say('classes.alone', losses=alone)}")
    return Inline(f"{text} {say('classes.shown', total=count, shown=SHOWN)}") if len(order) > SHOWN else text


def _bound(results: Results, mean: np.ndarray) -> float | None:
    """What chance alone may change in a class of average size."""
    return _half_width(results, (results.dataset["counts"]["test"] or 0) / len(mean), 1.96)


def _half_width(results: Results, images: float, z: float) -> float | None:
    """The half width, in points, of one accuracy on a class's `images` (binomial, so on the safe side; Agresti and
    Coull 1998, which is not zero where every image is a hit); None where there is less than an image."""
    if images < 1:
        return None
    share, trials = results.baseline["accuracy_percent"] / 100, images + z**2
    share = (share * images + z**2 / 2) / trials
    return float(100 * z * np.sqrt(share * (1 - share) / trials))


def _noise(results: Results, mean: np.ndarray) -> list[Paragraph]:
    images, bound = results.dataset["counts"]["test"], _bound(results, mean)
    if not images or bound is None:
        return []
    return [Paragraph(results.language.say("classes.noise", images=round(images / len(mean)), bound=bound))]
