"""Sınıf Bazlı Kazanç ve Kayıplar: which classes pay for the pruning."""

import numpy as np

from budama.reporting import figures, plots
from budama.reporting.document import Figure, Paragraph, Section
from budama.reporting.inline import Inline, data, to_plain
from budama.reporting.results import Results

SHOWN = 24  # classes in the figure; of more, those that changed most


def sections(results: Results) -> list[Section]:
    """Left out where no accuracies by class are known."""
    say, language = results.language.say, results.language
    rows = [row for row in results.rows if row.get("per_class_change_points")]
    if not rows:
        return []
    count = len(rows[0]["per_class_change_points"])
    names = results.dataset.get("class_names") or []
    names = [str(names[i]) if i < len(names) else str(i) for i in range(count)]
    values = np.array([[np.nan if v is None else v for v in row["per_class_change_points"]] for row in rows], dtype=float)
    mean = np.nanmean(values, axis=0)
    order = np.argsort(mean, kind="stable")
    half = SHOWN // 2
    chosen = order if count <= SHOWN else np.concatenate([order[:half], order[-half:]])
    title, axis = say("classes.figure"), to_plain(say("classes.axis"))
    drawing = plots.heatmap(
        [to_plain(data(results.with_ratio(row))) for row in rows],
        [to_plain(data(names[i])) for i in chosen],
        values[:, chosen],
        axis,
        lambda value: language.number(value, 1),
        diverging=True,
    )
    items = [say("classes.item", name=names[i], change=float(mean[i])) for i in chosen]
    alternative = Inline("; ".join(items) + ".")
    svg = figures.save(drawing, to_plain(title), to_plain(alternative))
    figure = Figure("classes", title, _caption(results, names, mean, order, count), alternative, svg)
    return [Section("classes", say("classes.title"), [*_noise(results, mean), figure])]


def _caption(results: Results, names: list[str], mean: np.ndarray, order: np.ndarray, count: int) -> Inline:
    say = results.language.say
    worst, best = float(mean[order[0]]), float(mean[order[-1]])
    losers = [names[i] for i in order[: min(3, count - 1)] if mean[i] < 0]
    key = "gains" if not losers else "losses" if best <= 0 else "both"
    bound = max((float(mean[i]) for i in order[: len(losers)]), default=worst)
    text = say(f"classes.caption.{key}", losers=losers, loss=bound, winner=names[order[-1]], gain=best)
    return Inline(f"{text} {say('classes.shown', total=count, shown=SHOWN)}") if count > SHOWN else text


def _noise(results: Results, mean: np.ndarray) -> list[Paragraph]:
    """What chance alone may change: the 95 % half width of one accuracy on a class's images (binomial, so on the safe side)."""
    images, share = (results.dataset.get("counts") or {}).get("test"), results.baseline["accuracy_percent"] / 100
    if not images or images < len(mean):
        return []
    per_class = images / len(mean)
    bound = 196 * np.sqrt(share * (1 - share) / per_class)
    within = bool(np.nanmax(np.abs(mean)) <= bound)
    return [Paragraph(results.language.say("classes.noise", images=round(per_class), bound=float(bound), within=within))]
