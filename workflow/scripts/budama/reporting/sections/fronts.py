"""Accuracy against multiply–accumulates and against parameters (or size): who lies on the Pareto front."""

from budama.reporting.document import Figure
from budama.reporting.figures import plots
from budama.reporting.figures.plots import Point
from budama.reporting.inline import Inline, to_plain
from budama.reporting.view import Results


def same_cost(results: Results, rows: list[dict]) -> bool:
    """Whether all rows cost the same, as printed."""
    shown = {(row.get("gmacs") and results.flops(row["gmacs"]), row.get("size_mib") and results.size(row["size_mib"]))
             for row in rows}  # fmt: skip
    return len(shown) == 1 and all(next(iter(shown)))


def figures_of(results: Results) -> list[Figure]:
    """A figure for each cost that was measured for the baseline and at least one method."""
    language = results.language
    flops_scale = 1000 if results.flops_unit == "M" else 1
    size_scale = 1024 if results.size_unit == "KiB" else 1
    costs = [
        ("macs", "gmacs", flops_scale, results.flops_unit, results.flops),
        ("parameters", "parameters", 1e-6, "", lambda value: language.number(value, 0)),
        ("size", "size_mib", size_scale, results.size_unit, results.size),
    ]
    found = []
    for topic, key, scale, unit, show in costs:
        if topic == "size" and any(figure.name == "accuracy-parameters" for figure in found):
            continue  # size is parameters and buffers: the same picture twice
        rows = [row for row in results.rows if row.get(key)]
        if rows and results.baseline.get(key):
            found.append(_figure(results, rows, topic, key, scale, unit, show))
    return found


def _figure(results: Results, rows: list[dict], topic: str, key: str, scale: float, unit: str, show) -> Figure:
    say, language, baseline = results.language.say, results.language, results.baseline
    points = [
        Point(
            to_plain(results.short(row)),
            row["method"],
            row["accuracy_percent"],
            results.interval(row),
            x=row[key] * scale,
        )
        for row in rows
    ]
    name = to_plain(say("names.baseline"))
    origin = Point(name, None, baseline["accuracy_percent"], results.interval(baseline), x=baseline[key] * scale)
    title = say(f"balance.figure.{topic}")
    axes = to_plain(say(f"balance.figure.{topic}_axis", unit=unit)), to_plain(say("balance.figure.accuracy_axis"))
    front = to_plain(say("balance.figure.front"))

    def draw():
        return plots.scatter(points, origin, *axes, language.number, paths=results.grid, front=front)

    items = [
        say("balance.figure.item", name=label, cost=show(row[key]), accuracy=row["accuracy_percent"])
        for label, row in [(name, baseline), *((results.with_ratio(row), row) for row in rows)]
    ]
    alternative = Inline("; ".join(items) + ".")
    return Figure(f"accuracy-{topic}", title, _caption(results, rows, key, show), alternative, draw)


def _caption(results: Results, rows: list[dict], key: str, show) -> Inline:
    say = results.language.say
    if len(rows) > 1 and len({show(row[key]) for row in rows}) == 1:
        first = results.ranking(rows[0].get("ratio"))[0]["rows"]
        return say("balance.figure.caption.same", cost=show(rows[0][key]), names=[results.short(row) for row in first])
    front, rest = [], []
    for row in rows:
        beaten = any(
            (other[key] <= row[key] and other["accuracy_percent"] > row["accuracy_percent"])
            or (other[key] < row[key] and other["accuracy_percent"] >= row["accuracy_percent"])
            for other in [*rows, results.baseline]
        )  # fmt: skip
        (rest if beaten else front).append(results.with_ratio(row))
    sentences = [say("balance.figure.caption.front", names=front)]
    if rest and len(rest) <= 6:
        sentences.append(say("balance.figure.caption.front_rest", names=rest))
    return Inline(" ".join(sentences))
