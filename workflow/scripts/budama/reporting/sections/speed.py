"""Çıkarım Süresi: times against the baseline with intervals, the A/A control, throughput and memory."""

from budama.reporting import tables
from budama.reporting.contract import Widths
from budama.reporting.document import Block, Callout, Figure, Paragraph, Section
from budama.reporting.figures import plots
from budama.reporting.figures.plots import Line, Point
from budama.reporting.inline import Inline, to_plain
from budama.reporting.row import Latency, Row
from budama.reporting.sections import matched
from budama.reporting.sections.timing import near_control
from budama.reporting.view import Results

Timed = list[tuple[Row, Latency]]


def sections(results: Results) -> list[Section]:
    """Left out where nothing was timed, or where the times cannot be compared."""
    say = results.language.say
    rows = [(row, latency) for row in results.rows if (latency := row["latency"])]
    if not rows or not results.timings_comparable():
        return []
    environment = results.content["environment"]
    device = environment.get("gpu") or environment.get("cpu")  # no shape of it is promised
    setting = say("latency.setting", device=device, batch=rows[0][1]["batch_size"])
    if len({(latency["median_ms"], latency["ratio"]) for _, latency in rows}) < len(rows):
        setting = Inline(f"{setting} {say('latency.twins')}")
    control, within = _control(results)
    opening: list[Block] = [Paragraph(Inline(f"{setting} {control}"))] if within else [
        Paragraph(setting), Callout(say("warnings.names.aa"), control)]  # fmt: skip
    blocks: list[Block] = [
        *opening,
        _figure(results, rows),
        *_shape(results, [row for row, _ in rows]),
        tables.latency(results),
    ]
    if asked := matched.table(results):
        blocks.append(asked)
    if every := tables.timings(results):
        blocks.append(every)
    if exported := tables.onnx(results):
        blocks.append(exported)
    if widths := results.content["widths"]:
        blocks.append(_widths(results, widths))
    return [Section("latency", say("latency.title"), blocks)]


def _control(results: Results) -> tuple[Inline, bool]:
    """The A/A control in words, and whether all is well (a control that was not made is no alarm)."""
    say, control = results.language.say, results.control()
    if not control:
        return say("latency.aa.missing"), True
    low, high = control["interval"]
    kind = "outside" if not control["within"] else "within" if low <= 1 <= high else "close"
    return say(f"latency.aa.{kind}", ratio=control["ratio"], low=low, high=high), control["within"]


def _figure(results: Results, rows: Timed) -> Figure:
    say, language = results.language.say, results.language
    groups = []
    for ratio in results.ratios:
        own = [(row, latency["ratio"]) for row, latency in rows if row["ratio"] == ratio]
        points = [
            Point(to_plain(results.short(row)), row["method"], time, results.time_interval(row))
            for row, time in sorted(own, key=lambda entry: entry[1])
        ]
        groups.append((to_plain(language.share(ratio)) if results.grid and ratio is not None else "", points))
    control = results.control()
    band = control["interval"] if control else None
    reference = (1.0, to_plain(say("latency.reference")))
    axis, title = to_plain(say("latency.axis")), say("latency.figure")

    def draw():
        return plots.forest(groups, axis, language.number, reference=reference, band=band)

    items = []
    for row, latency in rows:
        low, high = results.time_interval(row) or (None, None)
        items.append(say("latency.item", name=results.with_ratio(row), ratio=latency["ratio"], low=low, high=high))
    alternative = Inline("; ".join(items) + ".")
    return Figure("latency", title, _caption(results, [row for row, _ in rows], bool(band)), alternative, draw)


def _widths(results: Results, measured: Widths) -> Figure:
    """What `round_to: auto` chose by: a layer's time at every width."""
    say = results.language.say
    widths = sorted((int(width), entry) for width, entry in measured["widths"].items())
    widest = widths[-1][0]
    numbers = [width for width, _ in widths]
    eights = [width for width in numbers if width % 8 == 0]
    ratios = [entry["ratio"] for _, entry in widths]
    ends = [entry["interval"] or (entry["ratio"], entry["ratio"]) for _, entry in widths]
    names = [to_plain(say(f"latency.widths.{key}")) for key in ("measured", "macs", "axis")]
    y_axis = to_plain(say("latency.widths.ratio", widest=widest))

    def draw():
        low, high = ([float(end[side]) for end in ends] for side in (0, 1))
        squares = [(width / widest) ** 2 for width in numbers]
        lines = [Line(names[0], "magnitude", numbers, ratios, low, high), Line(names[1], None, numbers, squares)]
        return plots.lines([("", lines)], names[2], y_axis, results.language.number, marks=eights)

    caption = say("latency.widths.caption", **measured)
    items = [
        say("latency.widths.item", width=width, ratio=entry["ratio"]) for width, entry in widths if width in eights
    ]
    return Figure("widths", say("latency.widths.title"), caption, Inline("; ".join(items) + "."), draw)


def _caption(results: Results, rows: list[Row], band: bool) -> Inline:
    say, sentences = results.language.say, []
    for kind, key in (("fell", "faster"), ("equal", "equal"), ("rose", "slower")):
        own = [row for row in rows if results.timing(row) == kind]
        if own:
            changes = [results.time_change(row) for row in own]
            every = len(own) == len(rows) > 3
            names = [results.with_ratio(row) for row in own]
            values = {"names": names, "every": every, "total": len(own), "low": min(changes), "high": max(changes)}
            sentences.append(say(f"latency.caption.{key}", **values))
    if band:
        sentences += [say("latency.caption.band"), *near_control(results, rows)]
    return Inline(" ".join(sentences))


def _shape(results: Results, rows: list[Row]) -> list[Paragraph]:
    """Does the time follow the operations? Said of the row that lost most operations."""
    counted = [(change, row) for row in rows if (change := results.change(row, "gmacs")) is not None]
    if not counted:
        return []
    flops, row = min(counted, key=lambda entry: entry[0])
    time = results.time_change(row)
    if flops >= -1 or time >= 0:
        return []
    key = "close" if time <= 0.75 * flops else "behind"
    return [
        Paragraph(results.language.say(f"latency.shape.{key}", name=results.with_ratio(row), flops=flops, time=time))
    ]
