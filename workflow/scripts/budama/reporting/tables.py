"""The report's tables, from results."""

from budama.reporting.document import Cell, Column, Table, TableRow
from budama.reporting.inline import Inline, data
from budama.reporting.view import Results

PAIRS_LIMIT = 12  # methods; a wider matrix of p values cannot be read


def comparison(results: Results, ratio: float | None) -> Table:
    """The main table of one ratio: the baseline and every variant, as in the reference report."""
    say, language = results.language.say, results.language
    rows = results.at(ratio)
    parameters = all(row.get("parameters") for row in [results.baseline, *rows])
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

    def cells(row: dict, name: Inline) -> list[Cell]:
        found = [
            Cell(Inline(f"**{name}**"), sort=str(name)),
            _with_interval(results, row),
            _signed(results, results.loss(row) if row is not results.baseline else None),
            _measured(results, row.get("size_mib"), lambda value: results.size(value, False)),
            _change(results, row, "size_mib"),
            _measured(results, row.get("latency_ms"), language.milliseconds),
            _measured(results, row.get("gmacs"), lambda value: results.flops(value, False)),
            _change(results, row, "gmacs"),
        ]
        return found + ([_cell(row["parameters"], language.number(row["parameters"], 0))] if parameters else [])

    table_rows = [TableRow(cells(results.baseline, results.original()), "baseline")]
    for row in rows:
        best = row in first and len(rows) > len(first)
        name = data(results.label(row))
        cells_ = cells(row, name)
        if best:
            cells_[0] = Cell(Inline(f"**{name}** ◆"), sort=str(name))
        table_rows.append(TableRow(cells_, "best" if best else ""))
    for row in results.unavailable:
        if row.get("ratio") == ratio:
            empty = [Cell(Inline("-"))] * (len(titles) - 2)
            table_rows.append(
                TableRow(
                    [Cell(Inline(f"**{data(results.label(row))}**")), Cell(say("comparison.unavailable")), *empty],
                    "unavailable",
                )
            )
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
    for row in results.unavailable:
        if row.get("ratio") == ratio:
            notes.append(say("comparison.notes.unavailable", name=results.label(row), reason=results.reason(row)))
    return notes


def _notes(results: Results) -> list[Inline]:
    """Footnotes that hold for every table of the report: they stand under the last."""
    say, rows = results.language.say, results.rows
    notes = []
    seeds = len(results.content.get("seeds") or [])
    by_seed, by_image = (any(row.get(key) for row in rows) for key in ("accuracy_interval", "accuracy_bootstrap"))
    if by_seed:
        mixed = results.baseline.get("accuracy_bootstrap") and not results.baseline.get("accuracy_interval")
        notes.append(
            say("comparison.notes.interval_mixed" if mixed else "comparison.notes.interval_seeds", seeds=seeds)
        )
    elif by_image:
        notes.append(say("comparison.notes.interval_images"))
    notes.append(say("comparison.notes.change"))
    notes.append(say("comparison.notes.size"))
    notes.append(say("comparison.notes.flops"))
    if not results.timings_comparable():
        notes.append(Inline("† " + say("comparison.notes.latency_not_comparable")))
    elif batch := (results.baseline.get("latency") or {}).get("batch_size"):
        notes.append(say("comparison.notes.latency", batch=batch))
    return notes


def pairs(results: Results, ratio: float | None) -> Table | None:
    """Differences and Holm-corrected p values of every two methods of one ratio, best first."""
    say, language = results.language.say, results.language
    rows = results.ordered(ratio)
    if not 2 < len(rows) <= PAIRS_LIMIT or not any(results.comparison(rows[0], row) for row in rows[1:]):
        return None

    def cell(first: dict, second: dict) -> Cell:
        entry = results.comparison(first, second)
        if first is second or not entry:
            return Cell(Inline("·"))
        difference = data(language.signed(entry["difference_points"]))
        p = entry["p_holm"] if entry.get("p_holm") is not None else entry["p"]
        return Cell(Inline(f"**{difference}**") if entry.get("distinguishable") else difference, say("pairs.p", p=p))

    table_rows = [TableRow([Cell(Inline(f"**{data(results.short(a))}**")), *(cell(a, b) for b in rows)]) for a in rows]
    columns = [Column(say("comparison.columns.method"), False), *(Column(data(results.short(row))) for row in rows)]
    caption = say("pairs.table_at", ratio=ratio) if results.grid else say("pairs.table")
    return Table(f"pairs-{_slug(ratio)}", caption, columns, table_rows)


def latency(results: Results) -> Table:
    """Median, 95th percentile, ratio to the baseline with its interval; throughput and memory where they were
    measured."""
    say, language = results.language.say, results.language
    every = [results.baseline, *results.rows]
    throughput = next((row["throughput"] for row in every if row.get("throughput")), None)
    extras = [key for key in ("peak_memory_mib", "energy_mj_per_image") if any(row.get(key) for row in every)]
    titles = [say("comparison.columns.method"), *(say(f"latency.columns.{key}") for key in ("median", "p95", "ratio"))]
    if throughput:
        titles += [
            say("latency.columns.throughput", batch=throughput.get("batch_size") or "?"),
            say("latency.columns.throughput_ratio"),
        ]
    titles += [say(f"latency.columns.{key}") for key in extras]

    def cells(row: dict, name: Inline) -> list[Cell]:
        measured, rate = row.get("latency") or {}, row.get("throughput") or {}
        found = [Cell(Inline(f"**{name}**"), sort=str(name))]
        for key in ("median_ms", "p95_ms"):
            value = measured.get(key)
            found.append(_cell(value, language.milliseconds(value) if value is not None else None))
        found.append(_ratio(results, measured))
        if throughput:
            value = rate.get("images_per_second")
            found += [
                _cell(value, language.number(value, 0 if value >= 100 else 1) if value is not None else None),
                _ratio(results, rate),
            ]
        for key in extras:
            value = row.get(key)
            found.append(_cell(value, language.number(value, 1) if value is not None else None))
        return found

    rows = [TableRow(cells(results.baseline, results.original()), "baseline")]
    rows += [TableRow(cells(row, data(results.with_ratio(row)))) for row in results.rows if row.get("latency")]
    return Table("latency", say("latency.table"), [Column(title, i > 0) for i, title in enumerate(titles)], rows)


def timings(results: Results) -> Table | None:
    """The time ratio in every setting that was timed (batch, precision, compiled), where there are more than two."""
    say = results.language.say
    rows = [row for row in results.rows if row.get("timings")]
    keys = ("batch_size", "precision", "compile")
    settings = list(dict.fromkeys(tuple(timing.get(key) for key in keys) for row in rows for timing in row["timings"]))
    if len(settings) < 3:
        return None
    head = [Column(say("comparison.columns.method"), False)]
    head += [
        Column(say("latency.how", batch=batch, precision=name, compile=compiled)) for batch, name, compiled in settings
    ]
    found = []
    for row in rows:
        own = {tuple(timing.get(key) for key in keys): timing for timing in row["timings"]}
        name = results.with_ratio(row)
        cells = [
            Cell(Inline(f"**{data(name)}**"), sort=name),
            *(_ratio(results, own.get(how) or {}) for how in settings),
        ]
        found.append(TableRow(cells))
    return Table("timings", say("latency.settings"), head, found)


def onnx(results: Results) -> Table | None:
    """The exported models in ONNX Runtime: time beside PyTorch's on the CPU, and how nearly they agree."""
    say, language = results.language.say, results.language
    rows = [row for row in results.rows if (row.get("onnx") or {}).get("latency")]
    if not rows:
        return None
    found = []
    for row in rows:
        told, name = row["onnx"], results.with_ratio(row)
        times, difference = [told["latency"][key] for key in ("pytorch_ms", "onnx_ms")], told["max_logit_difference"]
        found.append(
            TableRow([
                Cell(Inline(f"**{data(name)}**"), sort=name),
                *(_cell(value, language.milliseconds(value)) for value in times),
                _ratio(results, told["latency"]),
                Cell(data(f"{difference:.1e}".replace(".", language.decimal)), sort=difference),
                Cell(data(f"{told['top1_equal']}/{told['images']}"), sort=told["top1_equal"] / told["images"]),
            ])
        )  # fmt: skip
    keys = ("pytorch", "onnx", "ratio", "difference", "top1")
    columns = [Column(say("comparison.columns.method"), False), *(Column(say(f"latency.onnx.{key}")) for key in keys)]
    batch = rows[0]["onnx"]["latency"]["batch_size"]
    return Table("onnx", say("latency.onnx.table", batch=batch), columns, found)


def fate(results: Results, stages: list[str]) -> Table:
    """Accuracy on the selection images after each stage."""
    say, language = results.language.say, results.language
    rows = []
    for row in results.rows:
        values = [(row.get("fate") or {}).get(f"{stage}_percent") for stage in stages]
        if any(value is not None for value in values):
            cells = [_cell(value, language.number(value) if value is not None else None) for value in values]
            rows.append(
                TableRow([Cell(Inline(f"**{data(results.with_ratio(row))}**"), sort=results.with_ratio(row)), *cells])
            )
    columns = [
        Column(say("comparison.columns.method"), False),
        *(Column(say(f"names.stages.{stage}")) for stage in stages),
    ]
    return Table("fate", say("fate.table"), columns, rows)


def splits(results: Results) -> Table | None:
    """How many images each split has and what it is for."""
    say, language = results.language.say, results.language
    counts = results.dataset.get("counts") or {}
    rows = []
    for split in ("train", "calibration", "selection", "test"):
        if count := counts.get(split):
            name, purpose = (say(f"names.{key}.{split}") for key in ("splits", "split_purposes"))
            rows.append(TableRow([Cell(Inline(f"**{name}**")), _cell(count, language.number(count, 0)), Cell(purpose)]))
    titles = [say(f"conditions.columns.{key}") for key in ("split", "images", "purpose")]
    columns = [Column(titles[0], False), Column(titles[1]), Column(titles[2], False)]
    return Table("splits", say("conditions.splits"), columns, rows) if rows else None


def _slug(ratio: float | None) -> str:
    return "all" if ratio is None else f"{ratio:g}".replace(".", "-")


def _cell(value: float | None, text: str | None) -> Cell:
    return Cell(Inline("-")) if value is None or text is None else Cell(data(text), sort=value)


def _measured(results: Results, value: float | None, show) -> Cell:
    """A quantity that every row should have, or that it was not measured."""
    return Cell(results.language.say("words.not_measured")) if value is None else Cell(data(show(value)), sort=value)


def _signed(results: Results, value: float | None) -> Cell:
    return _cell(value, results.language.signed(value) if value is not None else None)


def _change(results: Results, row: dict, key: str) -> Cell:
    value = None if row is results.baseline else results.change(row, key)
    return _cell(value, results.language.change(value) if value is not None else None)


def _with_interval(results: Results, row: dict) -> Cell:
    language, interval = results.language, results.interval(row)
    detail = data(f"[{language.number(interval[0])}, {language.number(interval[1])}]") if interval else Inline("")
    value = row.get("accuracy_percent")
    return Cell(Inline("-")) if value is None else Cell(data(language.number(value)), detail, value)


def _ratio(results: Results, measured: dict) -> Cell:
    language, value, interval = results.language, measured.get("ratio"), measured.get("ratio_interval")
    if value is None:
        return Cell(Inline("-"))
    detail = data(f"[{language.number(interval[0], 3)}, {language.number(interval[1], 3)}]") if interval else Inline("")
    return Cell(data(language.number(value, 3)), detail, value)
