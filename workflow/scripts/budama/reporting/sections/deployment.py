"""Dağıtım: every variant in every runtime and precision that it can ship in, and which of them to take."""

from __future__ import annotations

from dataclasses import dataclass

from budama.methods import METHODS
from budama.reporting.document import Block, Bullets, Cell, Column, Figure, Paragraph, Section, Table, TableRow
from budama.reporting.figures import plots
from budama.reporting.figures.plots import Point
from budama.reporting.inline import Inline, data, to_plain
from budama.reporting.row import Baseline, Row
from budama.reporting.shipped import Deployment, Interval
from budama.reporting.view import Results

WITHIN_POINTS = 1.0  # of the original's accuracy, for the wishes
Z = 1.96


@dataclass(frozen=True)
class Shipped:
    """A form of a row, and what it is called."""

    row: Row | Baseline
    form: Deployment
    name: str  # of the row
    where: str  # runtime and precision

    @property
    def whole(self) -> str:
        return f"{self.name} ({self.where})"


def sections(results: Results, latency_limit_ms: float | None = None) -> list[Section]:
    """Left out where no model has another form than float32 in PyTorch."""
    say = results.language.say
    every = _every(results)
    if all(len(row["deployments"] or []) < 2 for row in (results.baseline, *results.rows)):
        return []
    timed = results.timings_comparable()
    batch = results.baseline["latency"]["batch_size"] if results.baseline["latency"] else None
    told = {"images": results.dataset["counts"]["test"], "batch": batch if timed else None}
    told["files"] = any(one.form["runtime"] != "pytorch" for one in every)
    blocks: list[Block] = [Paragraph(say(f"deployment.{'recorded' if results.recorded else 'intro'}", **told))]
    if not timed:
        blocks.append(Paragraph(say("deployment.unsynchronised")))
    blocks.append(_table(results, every))
    if timed and (figure := _figure(results, every)):
        blocks.append(figure)
    if sentences := [*_lost(results, every), *(_speed(results, every) if timed else [])]:
        blocks.append(Bullets(sentences))
    if wishes := _wishes(results, every, latency_limit_ms if timed else None, timed):
        blocks += [Paragraph(say("deployment.wishes.title", points=WITHIN_POINTS)), Bullets(wishes)]
    return [Section("deployment", say("deployment.title"), blocks)]


def _every(results: Results) -> list[Shipped]:
    say = results.language.say
    rows: list[tuple[Row | Baseline, str]] = [(results.baseline, to_plain(results.original()))]
    unpruned = [results.unpruned] if results.unpruned else []
    rows += [(row, str(results.with_ratio(row))) for row in [*unpruned, *results.rows]]
    return [
        Shipped(row, form, name, f"{say('deployment.runtimes.' + form['runtime'])} {form['precision']}")
        for row, name in rows
        for form in row["deployments"] or []
    ]


def _table(results: Results, every: list[Shipped]) -> Table:
    say, language = results.language.say, results.language
    unit = results.size_unit
    keys = ("form", "size", "accuracy", "loss", "latency", "pytorch", "runtime", "images", "memory")
    milliseconds = (lambda value: language.number(value, 3)) if results.recorded else language.milliseconds
    shown: list[list[Cell]] = []
    for one in every:
        form, claim = one.form, one.form["against_float32"]
        name = Cell(Inline(f"**{data(one.name)}**"), sort=one.name)
        if form["status"] == "unavailable":
            reason = Cell(Inline("-"), data(results.reason(form["reason"] or "")))
            shown.append([name, Cell(data(one.where)), reason, *(Cell(Inline("-")) for _ in keys[2:])])
            continue
        loss = (
            data(language.signed(claim["change_points"]) + ("*" if claim["distinguishable"] else "")) if claim else None
        )
        error = form["error_points"]
        margin = data(f"± {language.number(Z * error)}") if error else Inline("")
        shown.append([
            name,
            Cell(data(one.where), sort=one.where),
            _cell(form["size_mib"], lambda value: results.size(value, False), form["size_ratio"], language),
            Cell(data(language.number(form["accuracy_percent"] or 0)), margin, form["accuracy_percent"]),
            Cell(loss, sort=claim["change_points"]) if loss and claim else Cell(Inline("-")),
            _cell(form["latency_ms"], milliseconds),
            _ratio(results, form["latency_ratio"], form["latency_ratio_interval"]),
            _ratio(results, form["runtime_ratio"], form["runtime_ratio_interval"]),
            _cell(form["images_per_second"], lambda value: language.number(value, 0)),
            _cell(form["peak_memory_mib"], lambda value: language.number(value, 1), form["memory_ratio"], language),
        ])  # fmt: skip
    titles = [say("comparison.columns.method"), *(say(f"deployment.columns.{key}", unit=unit) for key in keys)]
    columns = [Column(titles[0], False), Column(titles[1], False), *(Column(title) for title in titles[2:])]
    full = [i for i in range(len(columns)) if i < 2 or any(str(cells[i].text) != "-" for cells in shown)]
    rows = [TableRow([cells[i] for i in full]) for cells in shown]
    return Table("deployment", say("deployment.table"), [columns[i] for i in full], rows, [say("deployment.note")])


def _cell(value: float | None, show, ratio: float | None = None, language=None) -> Cell:
    if value is None:
        return Cell(Inline("-"))
    return Cell(data(show(value)), data(f"× {language.number(ratio)}") if ratio is not None else Inline(""), value)


def _ratio(results: Results, ratio: float | None, interval: Interval | None) -> Cell:
    if ratio is None:
        return Cell(Inline("-"))
    number = results.language.number
    detail = data(f"[{number(interval[0], 3)}, {number(interval[1], 3)}]") if interval else Inline("")
    return Cell(data(number(ratio, 3)), detail, ratio)


def _figure(results: Results, every: list[Shipped]) -> Figure | None:
    """Accuracy against measured latency, over all forms."""
    say, language = results.language.say, results.language
    able = [one for one in every if one.form["latency_ms"] and one.form["accuracy_percent"] is not None]
    origin = next((one for one in able if one.row is results.baseline and one.where == every[0].where), None)
    if origin is None or len(able) < 2:
        return None

    def point(one: Shipped) -> Point:
        accuracy, error = one.form["accuracy_percent"] or 0.0, one.form["error_points"] or 0.0
        interval = max(0.0, accuracy - Z * error), min(100.0, accuracy + Z * error)
        method = one.row["method"] or "original_ft"
        label = f"{one.name} {one.form['precision']}"
        return Point(label, method, accuracy, interval if error else None, x=one.form["latency_ms"] or 0.0)

    points = [point(one) for one in able if one is not origin]
    start = Point(to_plain(results.original()), None, point(origin).value, point(origin).interval, x=point(origin).x)
    axes = to_plain(say("deployment.figure.axis")), to_plain(say("balance.figure.accuracy_axis"))
    front = to_plain(say("balance.figure.front"))

    def draw():
        return plots.scatter(points, start, *axes, language.number, paths=False, front=front)

    items = [
        say("deployment.figure.item", name=one.whole, ms=one.form["latency_ms"], accuracy=one.form["accuracy_percent"])
        for one in able
    ]
    best = _undominated(able)
    caption = say("deployment.figure.caption", names=[one.whole for one in best[:6]], more=max(0, len(best) - 6))
    return Figure("deployment", say("deployment.figure.title"), caption, Inline("; ".join(items) + "."), draw)


def _undominated(able: list[Shipped]) -> list[Shipped]:
    """Those that none is both quicker and more accurate than, the quickest first."""
    best: list[Shipped] = []
    for one in sorted(able, key=lambda one: (one.form["latency_ms"] or 0, -(one.form["accuracy_percent"] or 0))):
        if not best or (one.form["accuracy_percent"] or 0) > (best[-1].form["accuracy_percent"] or 0):
            best.append(one)
    return best


def _lost(results: Results, every: list[Shipped]) -> list[Inline]:
    """What converting cost in accuracy, where it is known to have, and what could not be made."""
    say = results.language.say
    worse = [
        (one, claim)
        for one in every
        if (claim := one.form["against_float32"]) and claim["distinguishable"] and claim["change_points"] < 0
    ]
    tested = [one for one in every if one.form["against_float32"]]
    found = [say("deployment.lost", name=one.whole, points=-claim["change_points"]) for one, claim in worse]
    if tested and not worse:
        found.append(say("deployment.none_lost", count=len(tested)))
    for reason in dict.fromkeys(one.form["reason"] for one in every if one.form["status"] == "unavailable"):
        own = [one.whole for one in every if one.form["status"] == "unavailable" and one.form["reason"] == reason]
        found.append(say("deployment.unavailable", names=own, reason=results.reason(reason or "")))
    return found


def _speed(results: Results, every: list[Shipped]) -> list[Inline]:
    """Whether a form is slower than the same model in float32 in the same runtime: by intervals that do not meet."""
    say, found = results.language.say, []
    whole = {(one.name, one.form["runtime"]): one.form for one in every if one.form["precision"] == "float32"}
    kinds = dict.fromkeys((one.form["runtime"], one.form["precision"]) for one in every)
    for runtime, precision in kinds:
        own = [one for one in every if (one.form["runtime"], one.form["precision"]) == (runtime, precision)]
        slower, faster, compared = [], [], 0
        for one in own:
            mine, theirs = (
                one.form["runtime_ratio_interval"],
                whole.get((one.name, runtime), one.form)["runtime_ratio_interval"],
            )
            if precision == "float32" or not mine or not theirs:
                continue
            compared += 1
            slower += [one.name] if mine[0] > theirs[1] else []
            faster += [one.name] if mine[1] < theirs[0] else []
        if compared:
            where = f"{say(f'deployment.runtimes.{runtime}')} {precision}"
            rest = compared - len(slower) - len(faster)
            found.append(say("deployment.speed", where=where, slower=slower, faster=faster, rest=rest))
    return found


def _wishes(results: Results, every: list[Shipped], limit: float | None, timed: bool) -> list[Inline]:
    """The fastest and the smallest within WITHIN_POINTS of the original, and the most accurate below a latency; what
    cannot be told apart from each is named with it. Controls are recommended as little as elsewhere."""
    say = results.language.say
    able = [one for one in every if one.form["accuracy_percent"] is not None and not _is_control(one)]
    near = [one for one in able if (one.form["change_points"] or 0.0) >= -WITHIN_POINTS]
    found = []
    if timed and (quick := [one for one in near if one.form["latency_ratio"] is not None]):
        best = min(quick, key=lambda one: one.form["latency_ratio"] or 0.0)
        reach = (best.form["latency_ratio_interval"] or [0, best.form["latency_ratio"] or 0])[1]
        ties = [one.whole for one in quick if one is not best and _low(one) <= reach]
        values = {"name": best.whole, "ties": ties, "ms": best.form["latency_ms"], "ratio": best.form["latency_ratio"]}
        found.append(say("deployment.wishes.fastest", **values, change=best.form["change_points"]))
    if small := [one for one in near if one.form["size_mib"] is not None]:
        least = min(small, key=lambda one: one.form["size_mib"] or 0.0)
        size = results.size(least.form["size_mib"] or 0.0)
        ties = [one.whole for one in small if one is not least and results.size(one.form["size_mib"] or 0.0) == size]
        values = {"name": least.whole, "ties": ties, "size": size, "change": least.form["change_points"]}
        found.append(say("deployment.wishes.smallest", **values))
    if limit is not None:
        below = [one for one in able if one.form["latency_ms"] is not None and one.form["latency_ms"] <= limit]
        if not below:
            return [*found, say("deployment.wishes.none_below", limit=limit)]
        top = max(below, key=lambda one: one.form["accuracy_percent"] or 0.0)
        ties = [one.whole for one in below if one is not top and _as_accurate(one, top)]
        values = {"name": top.whole, "ties": ties, "accuracy": top.form["accuracy_percent"], "limit": limit}
        found.append(say("deployment.wishes.accurate", **values))
    return found


def _is_control(one: Shipped) -> bool:
    method = one.row["method"]
    return method is not None and METHODS[method].control


def _low(one: Shipped) -> float:
    interval = one.form["latency_ratio_interval"]
    return interval[0] if interval else one.form["latency_ratio"] or 0.0


def _as_accurate(one: Shipped, top: Shipped) -> bool:
    """Whether two accuracies differ by less than chance explains in images taken anew for each: ties are generous."""
    error = ((one.form["error_points"] or 0.0) ** 2 + (top.form["error_points"] or 0.0) ** 2) ** 0.5
    return (top.form["accuracy_percent"] or 0.0) - (one.form["accuracy_percent"] or 0.0) <= Z * error
