"""The comparison: the main table of every ratio, the accuracies as a figure, every pair with its p value."""

from budama.reporting import tables
from budama.reporting.document import Figure, Paragraph, Section
from budama.reporting.figures import plots
from budama.reporting.figures.plots import Point
from budama.reporting.inline import Inline, to_plain
from budama.reporting.row import Row
from budama.reporting.view import Results


def sections(results: Results) -> list[Section]:
    """Karşılaştırmalı Sonuçlar, with a part for every ratio of a grid."""
    say = results.language.say
    figure = [accuracy(results)] if results.rows else []
    if not results.grid:
        table = tables.comparison(results, results.ratios[0])
        return [Section("comparison", say("comparison.title"), [table, *figure])]
    parts = [
        Section(
            f"at-{ratio:g}".replace(".", "-"), say("comparison.at", ratio=ratio), [tables.comparison(results, ratio)], 3
        )
        for ratio in results.ratios
        if ratio is not None
    ]
    return [Section("comparison", say("comparison.title"), figure), *parts]


def pairs(results: Results) -> list[Section]:
    """İkili Karşılaştırmalar, where there are enough methods for a matrix and few enough for a page."""
    say = results.language.say
    found = [table for ratio in results.ratios if (table := tables.pairs(results, ratio))]
    if not found:
        return []
    return [Section("pairs", say("pairs.title"), [Paragraph(say("pairs.intro", models=results.of_models)), *found])]


def accuracy(results: Results) -> Figure:
    """Accuracy of every method with its interval, beside the baseline's."""
    say, language = results.language.say, results.language
    groups = []
    for ratio in results.ratios:
        points = [
            Point(
                to_plain(results.short(row)), row["method"], row["accuracy_percent"], results.interval(row), _seeds(row)
            )
            for row in results.ordered(ratio)
        ]
        heading = to_plain(language.share(ratio)) if results.grid and ratio is not None else ""
        groups.append((heading, points))
    reference = (results.baseline["accuracy_percent"], to_plain(say("names.baseline")))
    axis = to_plain(say("comparison.figure.axis"))

    def draw():
        return plots.forest(groups, axis, language.number, reference=reference)

    title, alternative = say("comparison.figure.title"), _alternative(results)
    return Figure("accuracy", title, _caption(results), alternative, draw)


def _caption(results: Results) -> Inline:
    say = results.language.say
    sentences = [_leader(results, ratio) for ratio in results.ratios if results.at(ratio)]
    sentences.append(say("comparison.figure.caption.reference", value=results.baseline["accuracy_percent"]))
    if any(results.interval(row) for row in results.rows):
        several = any(len(_seeds(row)) > 1 for row in results.rows)
        sentences.append(say("comparison.figure.caption.bars", seeds=several))
    else:
        sentences.append(say("comparison.figure.caption.no_bars"))
    return Inline(" ".join(sentences))


def _leader(results: Results, ratio: float | None) -> Inline:
    """Who is ahead at this ratio, and whether it can be told apart."""
    say, groups = results.language.say, results.ranking(ratio)
    shown = ratio if results.grid else None
    first = groups[0]["rows"]
    if len(first) > 1:
        values = [row["accuracy_percent"] for row in first]
        gap, names = max(values) - min(values), [results.short(row) for row in first]
        return say("comparison.figure.caption.tie", ratio=shown, names=names, gap=gap, pairwise=results.pairwise(first))
    if len(groups) == 1:
        value = first[0]["accuracy_percent"]
        return say("comparison.figure.caption.only", ratio=shown, first=results.short(first[0]), value=value)
    second = groups[1]["rows"][0]
    gap = first[0]["accuracy_percent"] - second["accuracy_percent"]
    key = "clear" if results.distinguishable(first[0], second) else "untested"
    ahead, behind = results.short(first[0]), results.short(second)
    return say(f"comparison.figure.caption.{key}", ratio=shown, gap=gap, first=ahead, second=behind)


def _alternative(results: Results) -> Inline:
    say = results.language.say
    items = []
    for row in results.rows:
        low, high = results.interval(row) or (None, None)
        values = {"value": row["accuracy_percent"], "low": low, "high": high}
        items.append(say("comparison.figure.item", name=results.with_ratio(row), **values))
    return Inline("; ".join(items) + ".")


def _seeds(row: Row) -> list[float]:
    return [seed["accuracy_percent"] for seed in row["seeds"]]
