"""The report's tables, from results."""

from collections.abc import Callable
from typing import Any, Literal

from budama import methods
from budama.methods import ORIGINAL_FT
from budama.reporting.document import Cell, Column, Table, TableRow
from budama.reporting.inline import Inline, data, to_plain
from budama.reporting.row import Baseline, Latency, Row, Throughput, Timing
from budama.reporting.shipped import OnnxLatency
from budama.reporting.view import Results

Extra = Literal["peak_memory_mib", "energy_mj_per_image"]
EXTRAS: tuple[Extra, ...] = ("peak_memory_mib", "energy_mj_per_image")
SPLITS: tuple[Literal["train", "calibration", "selection", "test"], ...] = ("train", "calibration", "selection", "test")
Stage = Literal[
    "baseline_percent", "as_pruned_percent", "reestimated_percent", "compensated_percent", "finetuned_percent"
]
STAGES: dict[str, Stage] = {
    "baseline": "baseline_percent",
    "as_pruned": "as_pruned_percent",
    "reestimated": "reestimated_percent",
    "compensated": "compensated_percent",
    "finetuned": "finetuned_percent",
}
TIMED: tuple[Literal["batch_size", "precision", "compile", "cuda_graph"], ...] = (
    "batch_size", "precision", "compile", "cuda_graph",
)  # fmt: skip
PAIRS_LIMIT = 12  # methods; a wider matrix of p values cannot be read


def comparison(results: Results, ratio: float | None) -> Table:
    """The main table of one ratio: the baseline and every variant, as in the reference report."""
    say, language = results.language.say, results.language
    rows = results.at(ratio)
    parameters = results.baseline["parameters"] and all(row["parameters"] for row in rows)
    titles = [
        say("comparison.columns.method"),
        say("comparison.columns.accuracy"),
        say("comparison.columns.change"),
        say("comparison.columns.size", unit=results.size_unit),
        say("comparison.columns.size_change"),
        say("comparison.columns.latency"),
        say("comparison.columns.flops", unit=results.flops_unit),
        say("comparison.columns.flops_change"),
    ]
    if not results.timings_comparable():
        titles[5] = Inline(titles[5] + " †")
    if parameters:
        titles.append(say("comparison.columns.parameters"))
    first = results.ranking(ratio)[0]["rows"] if rows else []

    def cells(row: Row | Baseline, name: Inline) -> list[Cell]:
        found = [
            Cell(Inline(f"**{name}**"), sort=str(name)),
            _with_interval(results, row),
            _cell(row["accuracy_change_points"], language.signed),
            _measured(results, row["size_mib"], lambda value: results.size(value, False)),
            _cell(row["size_change_percent"], language.change),
            _measured(results, row["latency_ms"], language.milliseconds),
            _measured(results, row["gmacs"], lambda value: results.flops(value, False)),
            _cell(row["gmacs_change_percent"], language.change),
        ]
        return found + ([_cell(row["parameters"], results.count)] if parameters else [])

    table_rows = [TableRow(cells(results.baseline, results.original()), "baseline")]
    if results.unpruned:
        table_rows.append(TableRow(cells(results.unpruned, data(results.label(results.unpruned))), "baseline"))
    for row in rows:
        best = row in first and len(rows) > len(first)
        name = data(results.label(row))
        cells_ = cells(row, name)
        if best:
            cells_[0] = Cell(Inline(f"**{name}** ◆"), sort=str(name))
        table_rows.append(TableRow(cells_, "best" if best else ""))
    for missing in results.unavailable:
        if missing["ratio"] == ratio:
            name = Inline(f"**{data(results.label(missing))}**")
            empty = [Cell(Inline("-"))] * (len(titles) - 2)
            table_rows.append(TableRow([Cell(name), Cell(say("comparison.unavailable")), *empty], "unavailable"))
    notes = _own_notes(results, ratio) + (_notes(results) if ratio == results.ratios[-1] else [])
    caption = say("comparison.table_at", ratio=ratio) if results.grid else say("comparison.table")
    columns = [Column(title, numeric=i > 0) for i, title in enumerate(titles)]
    return Table(f"comparison-{_slug(ratio)}", caption, columns, table_rows, notes)


def _own_notes(results: Results, ratio: float | None) -> list[Inline]:
    """Footnotes of one ratio's table."""
    say, rows = results.language.say, results.at(ratio)
    first = results.ranking(ratio)[0]["rows"] if rows else []
    notes = []
    if 0 < len(first) < len(rows):
        tested = any(results.comparison(first[0], row) for row in rows if row is not first[0])
        notes.append(say("comparison.notes.best" if tested else "comparison.notes.best_untested"))
    for missing in results.unavailable:
        if missing["ratio"] == ratio:
            reason = results.reason(missing["reason"])
            notes.append(say("comparison.notes.unavailable", name=results.label(missing), reason=reason))
    return notes


def _notes(results: Results) -> list[Inline]:
    """Footnotes that hold for every table of the report: they stand under the last."""
    say, rows = results.language.say, results.rows
    notes = []
    baseline, over = results.baseline, {row["accuracy_interval_over"] for row in rows}
    if over & {"seeds", "images"}:
        notes.append(say(f"comparison.notes.interval_{'seeds' if 'seeds' in over else 'images'}"))
    notes.append(say("comparison.notes.change"))
    trained = bool(results.finetune["epochs"])
    if results.unpruned:
        notes.append(say("comparison.notes.unpruned", name=results.label(results.unpruned), trained=trained))
    elif not results.recorded and rows:
        notes.append(say("comparison.notes.as_it_is", trained=trained, method=ORIGINAL_FT.name))
    if fresh := next((row for row in rows if methods.find(row["method"]).new_weights), None):
        weights, epochs = results.baseline_training()
        values = {
            "name": results.label(fresh),
            "epochs": results.finetune["epochs"],
            "original": not weights and epochs,
        }
        notes.append(say("comparison.notes.new_weights", **values))
    notes.append(say("comparison.notes.size"))
    notes.append(say("comparison.notes.flops"))
    if not results.timings_comparable():
        notes.append(Inline("† " + say("comparison.notes.latency_not_comparable")))
    elif baseline["latency"]:
        notes.append(say("comparison.notes.latency", batch=baseline["latency"]["batch_size"]))
    return notes


def pairs(results: Results, ratio: float | None) -> Table | None:
    """Differences and Holm-corrected p values of every two methods of one ratio, best first."""
    say, language = results.language.say, results.language
    rows = results.ordered(ratio)
    if not 2 < len(rows) <= PAIRS_LIMIT or not any(results.comparison(rows[0], row) for row in rows[1:]):
        return None

    def cell(first: Row, second: Row) -> Cell:
        entry = results.comparison(first, second)
        if first is second or not entry:
            return Cell(Inline("·"))
        difference = data(language.signed(entry["difference_points"]))
        shown = Inline(f"**{difference}**") if entry["distinguishable"] else difference
        return Cell(shown, say("pairs.p", p=entry["p_holm"]))

    table_rows = [TableRow([Cell(Inline(f"**{data(results.short(a))}**")), *(cell(a, b) for b in rows)]) for a in rows]
    columns = [Column(say("comparison.columns.method"), False), *(Column(data(results.short(row))) for row in rows)]
    caption = say("pairs.table_at", ratio=ratio) if results.grid else say("pairs.table")
    return Table(f"pairs-{_slug(ratio)}", caption, columns, table_rows)


def latency(results: Results) -> Table:
    """Median, 95th percentile, ratio to the baseline with its interval; throughput and memory where they were
    measured."""
    say, language = results.language.say, results.language
    every = [results.baseline, *results.rows]
    throughput = next((row["throughput"] for row in every if row["throughput"]), None)
    extras: list[Extra] = [key for key in EXTRAS if any(row[key] for row in every)]
    titles = [say("comparison.columns.method"), *(say(f"latency.columns.{key}") for key in ("median", "p95", "ratio"))]
    if throughput:
        titles.append(say("latency.columns.throughput", batch=throughput["batch_size"]))
        titles.append(say("latency.columns.throughput_ratio"))
    titles += [say(f"latency.columns.{key}") for key in extras]

    def few_decimals(value: float) -> str:
        return language.number(value, 0 if value >= 100 else 1)

    def cells(row: Row | Baseline, name: Inline) -> list[Cell]:
        time, rate = row["latency"], row["throughput"]
        median, p95 = (time["median_ms"], time["p95_ms"]) if time else (None, None)
        found = [Cell(Inline(f"**{name}**"), sort=str(name))]
        found += [_cell(median, language.milliseconds), _cell(p95, language.milliseconds), _ratio(results, time)]
        if throughput:
            found.append(_cell(rate["images_per_second"] if rate else None, few_decimals))
            found.append(_ratio(results, rate))
        return found + [_cell(row[key], lambda value: language.number(value, 1)) for key in extras]

    rows = [TableRow(cells(results.baseline, results.original()), "baseline")]
    rows += [TableRow(cells(row, data(results.with_ratio(row)))) for row in results.rows if row["latency"]]
    notes = [say("latency.notes.paired")]
    if control := results.control():
        low, high = control["interval"]
        notes.append(say("latency.notes.rule", low=low, high=high))
    columns = [Column(title, i > 0) for i, title in enumerate(titles)]
    return Table("latency", say("latency.table"), columns, rows, notes)


def timings(results: Results) -> Table | None:
    """The time ratio in every setting that was timed (batch, precision, form), where there are more than two."""
    say = results.language.say
    found = [
        (results.with_ratio(row), {tuple(one[key] for key in TIMED): one for one in timings})
        for row in results.rows
        if (timings := row["timings"])
    ]
    settings = list(dict.fromkeys(how for _, own in found for how in own))
    if len(settings) < 3:
        return None
    head = [Column(say("comparison.columns.method"), False)]
    head += [Column(say("latency.how", **dict(zip(TIMED, how)))) for how in settings]
    rows = [
        TableRow([Cell(Inline(f"**{data(name)}**"), sort=name), *(_ratio(results, own.get(how)) for how in settings)])
        for name, own in found
    ]
    return Table("timings", say("latency.settings"), head, rows)


def onnx(results: Results) -> Table | None:
    """The exported models in ONNX Runtime: time beside PyTorch's on the CPU, and how nearly they agree."""
    say, language = results.language.say, results.language
    rows: list[Row] = [*([results.unpruned] if results.unpruned else []), *results.rows]
    exported = [(to_plain(results.original()), told)] if (told := results.baseline["onnx"]) else []
    exported += [(results.with_ratio(row), told) for row in rows if (told := row["onnx"])]
    if not exported:
        return None
    found = []
    for name, told in exported:
        time, difference = told["latency"], told["max_logit_difference"]
        found.append(
            TableRow([
                Cell(Inline(f"**{data(name)}**"), sort=name),
                *(_cell(value, language.milliseconds) for value in (time["pytorch_ms"], time["onnx_ms"])),
                _ratio(results, time),
                Cell(data(f"{difference:.1e}".replace(".", language.decimal)), sort=difference),
                Cell(data(f"{told['top1_equal']}/{told['images']}"), sort=told["top1_equal"] / told["images"]),
            ])
        )  # fmt: skip
    keys = ("pytorch", "onnx", "ratio", "difference", "top1")
    columns = [Column(say("comparison.columns.method"), False), *(Column(say(f"latency.onnx.{key}")) for key in keys)]
    batch = exported[0][1]["latency"]["batch_size"]
    return Table("onnx", say("latency.onnx.table", batch=batch), columns, found)


def fate(results: Results, stages: list[str]) -> Table:
    """Accuracy on the selection images after each stage."""
    say, language = results.language.say, results.language
    rows = []
    for row in [*([results.unpruned] if results.unpruned else []), *results.rows]:
        values = [row["fate"][STAGES[stage]] for stage in stages] if row["fate"] else []
        if any(value is not None for value in values):
            name = results.with_ratio(row)
            cells = [_cell(value, language.number) for value in values]
            rows.append(TableRow([Cell(Inline(f"**{data(name)}**"), sort=name), *cells]))
    columns = [
        Column(say("comparison.columns.method"), False),
        *(Column(say(f"names.stages.{stage}")) for stage in stages),
    ]
    return Table("fate", say("fate.table"), columns, rows)


def splits(results: Results) -> Table | None:
    """How many images each split has and what it is for."""
    say, rows = results.language.say, []
    for split in SPLITS:
        if count := results.dataset["counts"][split]:
            name, purpose = (say(f"names.{key}.{split}") for key in ("splits", "split_purposes"))
            rows.append(TableRow([Cell(Inline(f"**{name}**")), _cell(count, results.count), Cell(purpose)]))
    titles = [say(f"conditions.columns.{key}") for key in ("split", "images", "purpose")]
    columns = [Column(titles[0], False), Column(titles[1]), Column(titles[2], False)]
    return Table("splits", say("conditions.splits"), columns, rows) if rows else None


def _slug(ratio: float | None) -> str:
    return "all" if ratio is None else f"{ratio:g}".replace(".", "-")


def _cell(value: float | None, show: Callable[[Any], str]) -> Cell:
    return Cell(Inline("-")) if value is None else Cell(data(show(value)), sort=value)


def _measured(results: Results, value: float | None, show: Callable[[Any], str]) -> Cell:
    """A quantity that every row should have, or that it was not measured."""
    return Cell(results.language.say("words.not_measured")) if value is None else _cell(value, show)


def _with_interval(results: Results, row: Row | Baseline) -> Cell:
    language, interval, value = results.language, results.interval(row), row["accuracy_percent"]
    detail = data(f"[{language.number(interval[0])}, {language.number(interval[1])}]") if interval else Inline("")
    return Cell(data(language.number(value)), detail, value)


def _ratio(results: Results, measured: Latency | Throughput | Timing | OnnxLatency | None) -> Cell:
    if measured is None or measured["ratio"] is None:
        return Cell(Inline("-"))
    language, value, interval = results.language, measured["ratio"], measured["ratio_interval"]
    detail = data(f"[{language.number(interval[0], 3)}, {language.number(interval[1], 3)}]") if interval else Inline("")
    return Cell(data(language.number(value, 3)), detail, value)
