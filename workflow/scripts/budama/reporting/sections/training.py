"""What happened on the way: accuracy from stage to stage, channels layer by layer, fine-tuning epoch by epoch."""

import numpy as np

from budama import methods
from budama.reporting import tables
from budama.reporting.document import Block, Figure, Paragraph, Section
from budama.reporting.figures import plots
from budama.reporting.figures.heatmaps import heatmap
from budama.reporting.figures.plots import Line
from budama.reporting.inline import Inline, data, to_plain
from budama.reporting.row import Fate, Layer, Row, Seed, Whole
from budama.reporting.sections.timing import direction
from budama.reporting.tables import STAGES
from budama.reporting.view import Results

Panels = dict[float | None, list[Line]]  # the lines of each ratio
Cut = list[tuple[Row, list[Layer]]]  # rows whose layers are known
Shares = list[tuple[Row, list[float]]]  # percent of the channels kept in each layer
FLAT = 0.1  # points an epoch may still bring when a curve is called flat
EVEN = 8.0  # percent; layers of few channels cannot give exactly the asked share


def sections(results: Results) -> list[Section]:
    """Those of the three parts for which something was measured."""
    return [*_fate(results), *_layers(results), *_curves(results)]


def _panels(results: Results, lines: Panels) -> list[tuple[str, list[Line]]]:
    """Lines by ratio as titled panels."""
    return [
        (to_plain(results.language.share(ratio)) if results.grid and ratio is not None else "", found)
        for ratio, found in lines.items()
        if found
    ]


# From stage to stage --------------------------------------------------------------------------------------------------


def _fate(results: Results) -> list[Section]:
    say, language = results.language.say, results.language
    rows = [(row, fate) for row in results.rows if (fate := row["fate"])]
    whole = results.unpruned
    stages = [stage for stage in STAGES if any(fate[STAGES[stage]] is not None for _, fate in rows)]
    if len(stages) < 2:
        return []
    lines: Panels = {ratio: [] for ratio in results.ratios}
    items = []
    for row, fate in rows:
        known = [(i, value) for i, stage in enumerate(stages) if (value := fate[STAGES[stage]]) is not None]
        xs, ys = [i for i, _ in known], [value for _, value in known]
        # New weights begin at chance: a line that says nothing of pruning.
        if not methods.find(row["method"]).new_weights or len(rows) == 1:
            lines[row["ratio"]].append(Line(to_plain(results.short(row)), row["method"], xs, ys))
        items.append(say("fate.item", name=results.with_ratio(row), values=" → ".join(language.number(y) for y in ys)))
    if whole and whole["fate"]:
        known = [(i, v) for i, stage in enumerate(stages) if (v := whole["fate"][STAGES[stage]]) is not None]
        line = Line(to_plain(results.short(whole)), whole["method"], [i for i, _ in known], [v for _, v in known])
        for own in lines.values():
            own.append(line)
    names = [to_plain(say(f"names.stages.{stage}")) for stage in stages]
    axis, title = to_plain(say("fate.axis")), say("fate.figure")
    panels = _panels(results, lines)

    def draw():
        return plots.lines(panels, "", axis, language.number, stages=names)

    alternative = Inline("; ".join(items) + ".")
    images = results.dataset["counts"]["selection"]
    intro = say("fate.intro", images=images) if images else say("fate.intro_plain")
    figure = Figure("fate", title, _fate_caption(results, rows), alternative, draw)
    blocks: list[Block] = [Paragraph(intro)]
    if (cycles := results.pruning.get("cycles") or 1) > 1:
        blocks.append(Paragraph(say("fate.cycles", cycles=cycles)))
    blocks += [Paragraph(text) for text in _original_treated(results)]
    return [Section("fate", say("fate.title"), [*blocks, figure, tables.fate(results, stages)])]


def _original_treated(results: Results) -> list[Inline]:
    """What the original gained by all that is done to pruned models, but for the pruning."""
    row = results.unpruned
    fate = row["fate"] if row else None
    if not row or not fate or fate["as_pruned_percent"] is None:
        return []
    steps = {"before": fate["as_pruned_percent"], "name": results.short(row)}
    after = {"reestimated": fate["reestimated_percent"], "trained": fate["finetuned_percent"]}
    if not results.pruning["reestimate_batchnorm"]:
        after["reestimated"] = None
    if not results.finetune["epochs"]:
        after["trained"] = None
    return (
        [results.language.say("fate.original", **steps, **after)] if any(v is not None for v in after.values()) else []
    )


def _fate_caption(results: Results, rows: list[tuple[Row, Fate]]) -> Inline:
    """What pruning left, and what each later stage changed; new weights are left out."""
    say, sentences = results.language.say, []
    rows = [(row, fate) for row, fate in rows if not methods.find(row["method"]).new_weights] or rows
    pruned = [(value, row) for row, fate in rows if (value := fate["as_pruned_percent"]) is not None]
    if pruned:
        low, high = (
            {"name": results.with_ratio(row), "value": value}
            for value, row in (pick(pruned, key=lambda entry: entry[0]) for pick in (min, max))
        )
        sentences.append(say("fate.caption.pruned", low=low, high=high))
    for later in ("reestimated", "compensated", "finetuned"):
        ends = [(_before(fate, later), fate[STAGES[later]]) for _, fate in rows]
        steps = [after - before for before, after in ends if before is not None and after is not None]
        if steps:
            mean = sum(steps) / len(steps)
            kind = "equal" if abs(mean) < 0.05 else direction(mean)
            if later == "finetuned" and (kept := _runs_kept(rows)):
                sentences.append(say("fate.caption.kept", **kept))
                continue
            sentences.append(say(f"fate.caption.{later}.{kind}", change=abs(mean)))
    return Inline(" ".join(sentences))


def _before(one: Fate | Seed, stage: str) -> float | None:
    """Accuracy before a stage: what is not compensated goes on as BatchNorm's re-estimation left it."""
    if stage == "reestimated":
        return one["as_pruned_percent"]
    compensated = one["compensated_percent"] if stage == "finetuned" else None
    return one["reestimated_percent"] if compensated is None else compensated


def _runs_kept(rows: list[tuple[Row, Fate]]) -> dict[str, float] | None:
    """How many fine-tuning runs kept an epoch, of how many, and what these gained on average; None where all did."""
    runs = [one for row, _ in rows for one in row["seeds"] for _ in (one["seed"], *one["same_seeds"])]
    kept = [one for one in runs if one["kept_epoch"] != 0]
    if len(kept) == len(runs):
        return None
    gains = [
        after - before
        for one in kept
        if (after := one["finetuned_percent"]) is not None and (before := _before(one, "finetuned")) is not None
    ]
    return {"kept": len(kept), "runs": len(runs), "change": float(np.mean(gains)) if gains else 0.0}


# Layer by layer -------------------------------------------------------------------------------------------------------


def _layers(results: Results) -> list[Section]:
    blocks = [*_widths(results), *_unpruned(results)]
    return [Section("layers", results.language.say("layers.title"), blocks)] if blocks else []


def _unpruned(results: Results) -> list[Block]:
    """The layers that no channel can be taken from, with the reason; the same for all methods."""
    say = results.language.say
    known = next((row["unpruned_layers"] for row in results.rows if row["unpruned_layers"]), None)
    if not known:
        return []
    layers = [_stays(results, layer) for layer in known]
    return [Paragraph(say("layers.unpruned", layers=layers))]


def _stays(results: Results, layer: Whole) -> Inline:
    reason = results.language.say("layers.reason", reason=layer["reason"], by=layer["by"])
    return results.language.say("layers.stays", name=layer["name"], channels=layer["channels"], reason=reason)


def _widths(results: Results) -> list[Block]:
    say, language = results.language.say, results.language
    rows = [(row, layers) for row in results.rows if (layers := row["layers"])]
    every = [layer for _, layers in rows for layer in layers]
    cut = [layer["name"] for layer in every if layer["after"] < layer["before"]]  # the classifier says nothing
    names = [name for name in dict.fromkeys(layer["name"] for layer in every) if name in cut]
    if not rows or len(names) < 2:
        return []
    shares = [(row, _kept(layers, names)) for row, layers in rows]
    groups: dict[tuple[float | None, tuple[float, ...]], list[Row]] = {}
    for row, kept in shares:  # methods that chose the same widths share a line
        groups.setdefault((row["ratio"], tuple(kept)), []).append(row)
    labels = [_group_label(results, ratio, own) for (ratio, _), own in groups.items()]
    axis, title = to_plain(say("layers.axis")), say("layers.figure")
    shown, columns = np.array([kept for _, kept in groups], dtype=float), [to_plain(name) for name in names]

    def draw():
        return heatmap(labels, columns, shown, axis, language.number, 0)

    alternative = _layers_alternative(results, rows)
    caption = _layers_caption(results, names, shares, identical=len(groups) == len(results.ratios) < len(rows))
    return [Figure("layers", title, caption, alternative, draw, wide=True)]


def _kept(layers: list[Layer], names: list[str]) -> list[float]:
    """The share of channels kept in each layer, in percent; NaN for a layer the row does not list."""
    found = {layer["name"]: 100 * layer["after"] / layer["before"] for layer in layers}
    return [found.get(name, float("nan")) for name in names]


def _group_label(results: Results, ratio: float | None, rows: list[Row]) -> str:
    share = f" ({results.language.share(ratio)})" if results.grid and ratio is not None else ""
    if len(rows) == len([row for row in results.at(ratio) if row["layers"]]) > 1:
        return to_plain(results.language.say("layers.all")) + share
    text = ", ".join(to_plain(data(results.short(row))) for row in rows)
    return (text if len(text) <= 30 else text[:29] + "…") + share


def _layers_caption(results: Results, names: list[str], shares: Shares, identical: bool) -> Inline:
    say = results.language.say
    cells = [(value, name, row) for row, kept in shares for name, value in zip(names, kept) if not np.isnan(value)]
    (low, layer, worst), (high, other, best) = (pick(cells, key=lambda c: c[0]) for pick in (min, max))
    parts = []
    for ratio in results.ratios:
        own = [value for value, _, row in cells if row["ratio"] == ratio]
        if own and max(own) - min(own) <= EVEN:
            shown = ratio if results.grid else None
            parts.append(say("layers.caption.part", ratio=shown, low=min(own), high=max(own)))
    if len(parts) == len({row["ratio"] for row, _ in shares}):
        caption = say("layers.caption.uniform", parts=parts)
    else:
        ends = {"name": results.with_ratio(worst), "other_name": results.with_ratio(best), "low": low, "high": high}
        caption = say("layers.caption.varied", layer=layer, other_layer=other, **ends)
    return Inline(f"{caption} {say('layers.caption.identical')}") if identical else caption


def _layers_alternative(results: Results, rows: Cut) -> Inline:
    """The layer that each method cut most."""
    items = []
    for row, layers in rows:
        layer = min(layers, key=lambda one: one["after"] / one["before"])
        values = {"layer": layer["name"], "before": layer["before"], "after": layer["after"]}
        items.append(results.language.say("layers.item", name=results.with_ratio(row), **values))
    return Inline("; ".join(items) + ".")


# Epoch by epoch -------------------------------------------------------------------------------------------------------


def _curves(results: Results) -> list[Section]:
    say, language = results.language.say, results.language
    lines: Panels = {ratio: [] for ratio in results.ratios}
    rows = []
    for row in results.rows:
        line = _curve(results, row)
        if line and len(line.x) > 1:
            lines[row["ratio"]].append(line)
            rows.append((row, line))
    if not rows:
        return []
    axis, title = to_plain(say("curves.axis")), say("curves.figure")
    value = next((fate["baseline_percent"] for row, _ in rows if (fate := row["fate"])), None)
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


def _curve(results: Results, row: Row) -> Line | None:
    """Mean, lowest and highest selection accuracy over seeds, at the epochs that every seed has."""
    runs = [
        {epoch["epoch"]: accuracy for epoch in curve["epochs"]
         if (accuracy := epoch["selection_accuracy_percent"]) is not None}
        for curve in row["history"] or []
    ]  # fmt: skip
    runs = [run for run in runs if run]
    epochs = sorted(set.intersection(*map(set, runs))) if runs else []
    if not epochs:
        return None
    table = np.array([[run[epoch] for epoch in epochs] for run in runs])
    low, high = (table.min(0).tolist(), table.max(0).tolist()) if len(runs) > 1 else (None, None)
    return Line(to_plain(results.short(row)), row["method"], epochs, table.mean(0).tolist(), low, high)


def _curves_caption(results: Results, rows: list[tuple[Row, Line]]) -> Inline:
    """Are the curves flat at the end?"""
    say = results.language.say
    last = [(line.y[-1] - line.y[-2], results.with_ratio(row)) for row, line in rows]
    rising = [(change, name) for change, name in last if change > FLAT]
    falling = [(change, name) for change, name in last if change < -FLAT]
    sentences = []
    if rising:
        names = [f"{name} ({results.language.signed(change)})" for change, name in sorted(rising, reverse=True)[:4]]
        sentences.append(say("curves.caption.rising", names=names, total=len(rising)))
    else:
        sentences.append(say("curves.caption.flat", threshold=FLAT))
    if falling:
        names = [name for _, name in sorted(falling)[:4]]
        sentences.append(say("curves.caption.falling", names=names, change=min(falling)[0], total=len(falling)))
    if any(line.low for _, line in rows):
        sentences.append(say("curves.band"))
    return Inline(" ".join(sentences))
