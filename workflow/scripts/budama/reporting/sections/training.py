"""What happened on the way: accuracy from stage to stage, channels layer by layer, fine-tuning epoch by epoch."""

import numpy as np

from budama import methods
from budama.reporting import tables
from budama.reporting.document import Figure, Paragraph, Section
from budama.reporting.figures import plots
from budama.reporting.figures.heatmaps import heatmap
from budama.reporting.figures.plots import Line
from budama.reporting.inline import Inline, data, to_plain
from budama.reporting.sections.timing import direction
from budama.reporting.view import Results

STAGES = ("baseline", "as_pruned", "reestimated", "finetuned")
FLAT = 0.1  # points an epoch may still bring when a curve is called flat
EVEN = 8.0  # percent; layers of few channels cannot give exactly the asked share


def sections(results: Results) -> list[Section]:
    """Those of the three parts for which something was measured."""
    return [*_fate(results), *_layers(results), *_curves(results)]


def _panels(results: Results, lines: dict) -> list[tuple[str, list[Line]]]:
    """Lines by ratio as titled panels."""
    return [
        (to_plain(results.language.share(ratio)) if results.grid and ratio is not None else "", found)
        for ratio, found in lines.items()
        if found
    ]


# From stage to stage --------------------------------------------------------------------------------------------------


def _fate(results: Results) -> list[Section]:
    say, language = results.language.say, results.language
    rows = [row for row in results.rows if row.get("fate")]
    stages = [s for s in STAGES if any((row["fate"].get(f"{s}_percent")) is not None for row in rows)]
    if len(stages) < 2:
        return []
    lines: dict = {ratio: [] for ratio in results.ratios}
    items = []
    for row in rows:
        known = [(i, row["fate"].get(f"{s}_percent")) for i, s in enumerate(stages)]
        known = [(i, value) for i, value in known if value is not None]
        xs, ys = [i for i, _ in known], [value for _, value in known]
        # New weights begin at chance: a line that says nothing of pruning.
        if not methods.find(row["method"]).new_weights or len(rows) == 1:
            lines[row.get("ratio")].append(Line(to_plain(results.short(row)), row["method"], xs, ys))
        items.append(say("fate.item", name=results.with_ratio(row), values=" → ".join(language.number(y) for y in ys)))
    names = [to_plain(say(f"names.stages.{stage}")) for stage in stages]
    axis, title = to_plain(say("fate.axis")), say("fate.figure")
    panels = _panels(results, lines)

    def draw():
        return plots.lines(panels, "", axis, language.number, stages=names)

    alternative = Inline("; ".join(items) + ".")
    images = (results.dataset.get("counts") or {}).get("selection")
    intro = say("fate.intro", images=images) if images else say("fate.intro_plain")
    figure = Figure("fate", title, _fate_caption(results, rows), alternative, draw)
    return [Section("fate", say("fate.title"), [Paragraph(intro), figure, tables.fate(results, stages)])]


def _fate_caption(results: Results, rows: list[dict]) -> Inline:
    """What pruning left, what BatchNorm's re-estimation changed, what fine-tuning changed; new weights are left out."""
    say, sentences = results.language.say, []
    rows = [row for row in rows if not methods.find(row["method"]).new_weights] or rows

    def ends(stage: str) -> list[tuple[float, dict]]:
        return [(row["fate"][stage], row) for row in rows if row["fate"].get(stage) is not None]

    if pruned := ends("as_pruned_percent"):
        (low, worst), (high, best) = (pick(pruned, key=lambda e: e[0]) for pick in (min, max))
        low, high = {"name": results.with_ratio(worst), "value": low}, {"name": results.with_ratio(best), "value": high}
        sentences.append(say("fate.caption.pruned", low=low, high=high))
    for before, after, topic in (
        ("as_pruned_percent", "reestimated_percent", "reestimated"),
        ("reestimated_percent", "finetuned_percent", "finetuned"),
    ):
        steps = [
            row["fate"][after] - (row["fate"].get(before) or row["fate"].get("as_pruned_percent"))
            for row in rows
            if row["fate"].get(after) is not None
            and (row["fate"].get(before) or row["fate"].get("as_pruned_percent")) is not None
        ]
        if steps:
            mean = sum(steps) / len(steps)
            kind = "equal" if abs(mean) < 0.05 else direction(mean)
            sentences.append(say(f"fate.caption.{topic}.{kind}", change=abs(mean)))
    return Inline(" ".join(sentences))


# Layer by layer -------------------------------------------------------------------------------------------------------


def _layers(results: Results) -> list[Section]:
    say, language = results.language.say, results.language
    rows = [row for row in results.rows if row.get("layers")]
    layers = [layer for row in rows for layer in row["layers"] if layer.get("before")]
    cut = [layer["name"] for layer in layers if layer["after"] < layer["before"]]  # the classifier says nothing
    names = [name for name in dict.fromkeys(layer["name"] for layer in layers) if name in cut]
    if not rows or len(names) < 2:
        return []
    shares = {row["variant"]: _kept(row, names) for row in rows}
    groups: dict[tuple, list[dict]] = {}
    for row in rows:  # methods that chose the same widths share a line
        groups.setdefault((row.get("ratio"), tuple(shares[row["variant"]])), []).append(row)
    labels, values = [], []
    for (ratio, kept), own in groups.items():
        labels.append(_group_label(results, ratio, own))
        values.append(kept)
    axis, title = to_plain(say("layers.axis")), say("layers.figure")
    shown, columns = np.array(values, dtype=float), [to_plain(name) for name in names]

    def draw():
        return heatmap(labels, columns, shown, axis, language.number, 0)

    alternative = _layers_alternative(results, rows)
    caption = _layers_caption(results, rows, names, shares, identical=len(groups) == len(results.ratios) < len(rows))
    return [Section("layers", say("layers.title"), [Figure("layers", title, caption, alternative, draw, wide=True)])]


def _kept(row: dict, names: list[str]) -> list[float]:
    """The share of channels kept in each layer, in percent; NaN for a layer the row does not list."""
    found = {layer["name"]: 100 * layer["after"] / layer["before"] for layer in row["layers"] if layer.get("before")}
    return [found.get(name, float("nan")) for name in names]


def _group_label(results: Results, ratio: float | None, rows: list[dict]) -> str:
    share = f" ({results.language.share(ratio)})" if results.grid and ratio is not None else ""
    if len(rows) == len([row for row in results.at(ratio) if row.get("layers")]) > 1:
        return to_plain(results.language.say("layers.all")) + share
    text = ", ".join(to_plain(data(results.short(row))) for row in rows)
    return (text if len(text) <= 30 else text[:29] + "…") + share


def _layers_caption(results: Results, rows: list[dict], names: list[str], shares: dict, identical: bool) -> Inline:
    say = results.language.say
    cells = [
        (value, name, row) for row in rows for name, value in zip(names, shares[row["variant"]]) if not np.isnan(value)
    ]
    (low, layer, worst), (high, other, best) = (pick(cells, key=lambda c: c[0]) for pick in (min, max))
    parts = []
    for ratio in results.ratios:
        own = [value for value, _, row in cells if row.get("ratio") == ratio]
        if own and max(own) - min(own) <= EVEN:
            shown = ratio if results.grid else None
            parts.append(say("layers.caption.part", ratio=shown, low=min(own), high=max(own)))
    if len(parts) == len({row.get("ratio") for row in rows}):
        caption = say("layers.caption.uniform", parts=parts)
    else:
        where = {"layer": layer, "name": results.with_ratio(worst), "low": low}
        where |= {"other_layer": other, "other_name": results.with_ratio(best), "high": high}
        caption = say("layers.caption.varied", **where)
    return Inline(f"{caption} {say('layers.caption.identical')}") if identical else caption


def _layers_alternative(results: Results, rows: list[dict]) -> Inline:
    """The layer that each method cut most."""
    items = []
    for row in rows:
        layer = min((la for la in row["layers"] if la.get("before")), key=lambda la: la["after"] / la["before"])
        values = {"layer": layer["name"], "before": layer["before"], "after": layer["after"]}
        items.append(results.language.say("layers.item", name=results.with_ratio(row), **values))
    return Inline("; ".join(items) + ".")


# Epoch by epoch -------------------------------------------------------------------------------------------------------


def _curves(results: Results) -> list[Section]:
    say, language = results.language.say, results.language
    lines: dict = {ratio: [] for ratio in results.ratios}
    rows = []
    for row in results.rows:
        line = _curve(results, row)
        if line and len(line.x) > 1:
            lines[row.get("ratio")].append(line)
            rows.append((row, line))
    if not rows:
        return []
    axis, title = to_plain(say("curves.axis")), say("curves.figure")
    value = next((r["fate"].get("baseline_percent") for r, _ in rows if r.get("fate")), None)
    reference = (value, to_plain(say("names.baseline"))) if value is not None else None
    panels, epoch = _panels(results, lines), to_plain(say("curves.epoch"))

    def draw():
        return plots.lines(panels, epoch, axis, language.number, reference=reference)

    items = [
        say("curves.item", name=results.with_ratio(row), first=line.y[0], last=line.y[-1], epochs=len(line.x))
        for row, line in rows
    ]
    alternative = Inline("; ".join(items) + ".")
    caption = _curves_caption(results, rows)
    return [Section("curves", say("curves.title"), [Figure("curves", title, caption, alternative, draw)])]


def _curve(results: Results, row: dict) -> Line | None:
    """Mean, lowest and highest selection accuracy over seeds, at the epochs that every seed has."""
    runs = [
        {e["epoch"]: e["selection_accuracy_percent"] for e in run.get("epochs") or []
         if e.get("selection_accuracy_percent") is not None}
        for run in row.get("history") or []
    ]  # fmt: skip
    runs = [run for run in runs if run]
    if not runs:
        return None
    epochs = sorted(set.intersection(*(set(run) for run in runs)))
    table = np.array([[run[epoch] for epoch in epochs] for run in runs])
    if not epochs:
        return None
    low, high = (table.min(0).tolist(), table.max(0).tolist()) if len(runs) > 1 else (None, None)
    return Line(to_plain(results.short(row)), row["method"], epochs, table.mean(0).tolist(), low, high)


def _curves_caption(results: Results, rows: list[tuple[dict, Line]]) -> Inline:
    """Are the curves flat at the end?"""
    say = results.language.say
    last = [(line.y[-1] - line.y[-2], results.with_ratio(row)) for row, line in rows]
    rising = [(change, name) for change, name in last if change > FLAT]
    falling = [(change, name) for change, name in last if change < -FLAT]
    sentences = []
    if rising:
        names = [name for _, name in sorted(rising, reverse=True)[:4]]
        sentences.append(say("curves.caption.rising", names=names, change=max(rising)[0], total=len(rising)))
    else:
        sentences.append(say("curves.caption.flat", threshold=FLAT))
    if falling:
        names = [name for _, name in sorted(falling)[:4]]
        sentences.append(say("curves.caption.falling", names=names, change=min(falling)[0], total=len(falling)))
    if any(line.low for _, line in rows):
        sentences.append(say("curves.band"))
    return Inline(" ".join(sentences))
