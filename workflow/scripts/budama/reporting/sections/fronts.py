"""Accuracy against multiply–accumulates and against parameters (or size): who lies on the Pareto front."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from budama.reporting import board, entries
from budama.reporting.document import Explorer, Figure
from budama.reporting.figures import plots
from budama.reporting.figures.plots import Point
from budama.reporting.inline import Inline, to_plain
from budama.reporting.row import Row
from budama.reporting.view import Cost, Results

Costs = list[tuple[Row, float]]  # rows of which a cost was measured, and that
Show = Callable[[Any], str]


def same_cost(results: Results, rows: list[Row]) -> bool:
    """Whether all rows cost the same, as printed."""
    costs = [(row["gmacs"], row["size_mib"]) for row in rows]
    shown = {(results.flops(gmacs), results.size(size)) for gmacs, size in costs if gmacs and size}
    return len(shown) == 1 and all(gmacs and size for gmacs, size in costs)


def figures_of(results: Results) -> list[Figure]:
    """A figure for each cost that was measured for the baseline and at least one method."""
    language = results.language
    parameters = to_plain(language.say("words.parameters"))
    flops_scale = 1000 if results.flops_unit == "M" else 1
    size_scale = 1024 if results.size_unit == "KiB" else 1
    costs: list[tuple[str, Cost, float, str, Show]] = [
        ("macs", "gmacs", flops_scale, results.flops_unit, results.flops),
        ("parameters", "parameters", 1e-6, "", lambda value: f"{language.number(value, 0)} {parameters}"),
        ("size", "size_mib", size_scale, results.size_unit, results.size),
    ]
    found: list[Figure] = []
    for topic, key, scale, unit, show in costs:
        if topic == "size" and any(figure.name == "accuracy-parameters" for figure in found):
            continue  # size is parameters and buffers: the same picture twice
        rows = [(row, cost) for row in results.rows if (cost := row[key])]
        if rows and (before := results.baseline[key]):
            figure = _figure(results, rows, before, topic, scale, unit, show, again=bool(found))
            if found and figure.caption == found[0].caption:
                figure = replace(figure, caption=language.say("balance.figure.caption.again_front"))
            found.append(figure)
    return found


def explorer(results: Results, others: list[Results]) -> list[Explorer]:
    """The figure of those that ran here and, beside them, of the scenarios compared with on the same model and data."""
    say, found = results.language.say, [results]
    own = entries.of_results(results)
    for other in others:
        rows = entries.of_results(other)
        if rows[0]["group"] == own[0]["group"]:
            found.append(other)
            own += rows
    content = board.board(own, found, {}, results.language)
    return [Explorer(say("board.figure"), say("board.explore"), content)] if len(own) > 2 else []


def _figure(
    results: Results, rows: Costs, before: float, topic: str, scale: float, unit: str, show: Show, again: bool
) -> Figure:
    say, language, baseline = results.language.say, results.language, results.baseline
    points = [
        Point(
            to_plain(results.short(row)),
            row["method"],
            row["accuracy_percent"],
            results.interval(row),
            x=cost * scale,
        )
        for row, cost in rows
    ]
    name = to_plain(say("names.baseline"))
    origin = Point(name, None, baseline["accuracy_percent"], results.interval(baseline), x=before * scale)
    title = say(f"balance.figure.{topic}")
    axes = to_plain(say(f"balance.figure.{topic}_axis", unit=unit)), to_plain(say("balance.figure.accuracy_axis"))
    front = to_plain(say("balance.figure.front"))

    def draw():
        return plots.scatter(points, origin, *axes, language.number, paths=results.grid, front=front)

    told = [(name, before, baseline["accuracy_percent"])]
    told += [(results.with_ratio(row), cost, row["accuracy_percent"]) for row, cost in rows]
    items = [
        say("balance.figure.item", name=label, cost=show(cost), accuracy=accuracy) for label, cost, accuracy in told
    ]
    alternative = Inline("; ".join(items) + ".")
    if again and _same(rows, show):
        caption = say("balance.figure.caption.again", cost=show(rows[0][1]))
    else:
        caption = _caption(results, rows, before, show)
    return Figure(f"accuracy-{topic}", title, caption, alternative, draw)


def _same(rows: Costs, show: Show) -> bool:
    """Whether several rows cost the same, as printed."""
    return len(rows) > 1 and len({show(cost) for _, cost in rows}) == 1


def _caption(results: Results, rows: Costs, before: float, show: Show) -> Inline:
    say = results.language.say
    if _same(rows, show):
        return say("balance.figure.caption.same", cost=show(rows[0][1]))
    every = [*((cost, row["accuracy_percent"]) for row, cost in rows), (before, results.baseline["accuracy_percent"])]
    front: list[str] = []
    rest: list[str] = []
    for row, cost in rows:
        accuracy = row["accuracy_percent"]
        beaten = any(
            (other <= cost and better > accuracy) or (other < cost and better >= accuracy) for other, better in every
        )
        (rest if beaten else front).append(results.with_ratio(row))
    sentences = [say("balance.figure.caption.front", names=front)]
    if rest and len(rest) <= 6:
        sentences.append(say("balance.figure.caption.front_rest", names=rest))
    return Inline(" ".join(sentences))
