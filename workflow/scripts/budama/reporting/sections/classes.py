"""Sınıf Bazlı Kazanç ve Kayıplar: which classes pay for the pruning."""

import numpy as np

from budama import methods
from budama.reporting.document import Figure, Paragraph, Section
from budama.reporting.figures.heatmaps import heatmap
from budama.reporting.inline import Inline, data, to_plain
from budama.reporting.view import Results

SHOWN = 24  # classes in the figure; of more, those that changed most


def sections(results: Results) -> list[Section]:
    """Left out where no accuracies by class are known."""
    say, language = results.language.say, results.language
    rows = [(row, changes) for row in results.rows if (changes := row["per_class_change_points"])]
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
    half = SHOWN // 2
    chosen = order if len(order) <= SHOWN else np.concatenate([order[:half], order[-half:]])
    title, axis = say("classes.figure"), to_plain(say("classes.axis"))
    labels = [to_plain(data(results.with_ratio(row))) for row, _ in rows], [to_plain(data(names[i])) for i in chosen]

    def draw():
        return heatmap(*labels, values[:, chosen], axis, language.number, 1, diverging=True)

    items = [say("classes.item", name=names[i], change=float(mean[i])) for i in chosen]
    alternative = Inline("; ".join(items) + ".")
    figure = Figure("classes", title, _caption(results, names, mean, order), alternative, draw, wide=True)
    return [Section("classes", say("classes.title"), [*_noise(results, mean), figure])]


def _caption(results: Results, names: list[str], mean: np.ndarray, order: np.ndarray) -> Inline:
    say, count, bound = results.language.say, len(mean), _bound(results, mean)
    worst, best = float(mean[order[0]]), float(mean[order[-1]])
    losers = [names[i] for i in order[: min(3, len(order) - 1)] if mean[i] < 0]
    key = "gains" if not losers else "losses" if best <= 0 else "both"
    if bound and max(abs(worst), abs(best)) <= bound:
        key = "within"
    loss = max((float(mean[i]) for i in order[: len(losers)]), default=worst)
    extremes = {"loser": names[order[0]], "worst": worst, "winner": names[order[-1]], "gain": best}
    text = say(f"classes.caption.{key}", losers=losers, loss=loss, **extremes)
    return Inline(f"{text} {say('classes.shown', total=count, shown=SHOWN)}") if len(order) > SHOWN else text


def _bound(results: Results, mean: np.ndarray) -> float | None:
    """What chance alone may change: the 95 % half width of one accuracy on a class's images (binomial, so on the safe
    side; Agresti and Coull 1998, which is not zero where every image is a hit)."""
    images, share = results.dataset["counts"]["test"], results.baseline["accuracy_percent"] / 100
    if not images or images < len(mean):
        return None
    trials = images / len(mean)
    share, trials = (share * trials + 2) / (trials + 4), trials + 4
    return float(196 * np.sqrt(share * (1 - share) / trials))


def _noise(results: Results, mean: np.ndarray) -> list[Paragraph]:
    images, bound = results.dataset["counts"]["test"], _bound(results, mean)
    if not images or bound is None:
        return []
    return [Paragraph(results.language.say("classes.noise", images=round(images / len(mean)), bound=bound))]
