"""The preview as a page: what a scenario will give, layer by layer, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from budama.reporting.document import Block, Callout, Cell, Column, Document, Paragraph, Section, Table, TableRow
from budama.reporting.inline import Inline, data
from budama.reporting.language import Language
from budama.reporting.row import Whole

SMALL = 0.1  # of a unit: below, the smaller unit


class Figures(TypedDict):
    """What a model costs."""

    parameters: int
    size_mib: float
    gmacs: float


class PreviewedLayer(TypedDict):
    """A layer's output channels and cost before and after; None for the cost of one that is not counted by itself."""

    name: str
    before: int
    after: int
    gmacs_before: float | None
    gmacs_after: float | None
    parameters_before: int | None
    parameters_after: int | None


class After(Figures):
    """The model after pruning at a ratio. `estimate`: methods choose other widths, or time is what will decide."""

    ratio: float
    estimate: bool
    ratio_used: float
    channels_removed_percent: float
    parameters_change_percent: float
    size_change_percent: float
    gmacs_change_percent: float
    layers: list[PreviewedLayer]
    own_ratios: dict[str, float]


class Preview(TypedDict):
    """preview.json."""

    model: str
    input_shape: list[int]
    classes: int
    classes_known: bool
    scope: str
    match: str
    criterion: str | None
    before: Figures
    after: list[After]
    unpruned_layers: list[Whole]


def document(preview: Preview, name: str, language: Language) -> Document:
    """The page; `name` is what reports call the scenario."""
    say = language.say
    shape = " × ".join(map(str, preview["input_shape"]))
    facts = [data(preview["model"]), data(shape)]
    facts.append(say("preview.classes" if preview["classes_known"] else "preview.unknown", classes=preview["classes"]))
    sections = [Section("layers", say("preview.layers.title"), [_layers(preview, language)])]
    if preview["unpruned_layers"]:
        sections.append(Section("whole", say("preview.whole.title"), _whole(preview, language)))
    return Document(
        language=language.code,
        title=say("preview.title", name=name),
        subtitle=Inline(""),
        facts=facts,
        summary=_summary(preview, language),
        sections=sections,
        footer=say("preview.footer"),
    )


def _summary(preview: Preview, language: Language) -> list[Block]:
    say, match = language.say, preview["match"]
    ratios = [after["ratio"] for after in preview["after"]]
    what = say("preview.what", ratios=ratios, match=say(f"names.matches.{match}"), scope=preview["scope"])
    blocks: list[Block] = [Paragraph(what), _totals(preview, language)]
    if any(after["estimate"] for after in preview["after"]):
        blocks.append(Callout(say("preview.estimate.title"), say(f"preview.estimate.{_why(preview)}")))
    return blocks


def _why(preview: Preview) -> str:
    """Why the figures are an estimate."""
    if preview["match"] == "latency":
        return "time"
    if not preview["classes_known"]:
        return "classes"
    return "scope" if preview["criterion"] else "rounding"


def _totals(preview: Preview, language: Language) -> Table:
    """What the model costs before, and after each ratio."""
    say, before = language.say, preview["before"]
    size, macs = _size_unit(before["size_mib"]), _macs_unit(before["gmacs"])
    columns = [Column(say("preview.totals.model"), False), Column(say("preview.totals.channels"))]
    columns += [Column(say("comparison.columns.parameters")), Column(say("comparison.columns.size", unit=size[0]))]
    columns += [Column(say("comparison.columns.flops", unit=macs[0]))]

    def costs(figures: Figures, changes: Sequence[float | None]) -> list[Cell]:
        shown = (
            (language.number(figures["parameters"], 0), figures["parameters"]),
            (language.number(figures["size_mib"] * size[1]), figures["size_mib"]),
            (language.number(figures["gmacs"] * macs[1]), figures["gmacs"]),
        )
        return [
            Cell(data(text), data("" if change is None else language.change(change)), value)
            for (text, value), change in zip(shown, changes)
        ]

    rows = [TableRow([Cell(say("preview.totals.before")), Cell(data("-")), *costs(before, [None] * 3)], "baseline")]
    for after in preview["after"]:
        changes = [after["parameters_change_percent"], after["size_change_percent"], after["gmacs_change_percent"]]
        gone = after["channels_removed_percent"]
        cells = [Cell(Inline(f"**{data(language.share(after['ratio']))}**"), sort=after["ratio"])]
        rows.append(TableRow([*cells, Cell(data(language.change(-gone)), sort=gone), *costs(after, changes)]))
    return Table("totals", say("preview.totals.title"), columns, rows)


def _layers(preview: Preview, language: Language) -> Table:
    """Every convolution and linear layer: width, operations and its share of the model's, before and after each
    ratio."""
    say, every = language.say, preview["after"]
    unit, factor = _macs_unit(max((layer["gmacs_before"] or 0 for layer in every[0]["layers"]), default=0))
    columns = [Column(say(f"preview.layers.{key}"), key != "name") for key in ("name", "channels")]
    columns += [Column(say("preview.layers.macs", unit=unit)), Column(say("preview.layers.share"))]
    for after in every:
        at = {"ratio": after["ratio"], "unit": unit}
        columns += [Column(say("preview.layers.channels_at", **at)), Column(say("preview.layers.macs_at", **at))]
    total = preview["before"]["gmacs"]
    rows = []
    for index, layer in enumerate(every[0]["layers"]):
        cells = [
            Cell(data(layer["name"]), sort=layer["name"]),
            Cell(data(language.number(layer["before"], 0)), sort=layer["before"]),
        ]
        share = None if layer["gmacs_before"] is None else 100 * layer["gmacs_before"] / total
        cells += [_macs(layer["gmacs_before"], factor, language)]
        cells += [_missing() if share is None else Cell(data(language.percent(share)), sort=share)]
        for after in every:
            own = after["layers"][index]
            kept = own["after"]
            change = data(language.change(100 * (kept / own["before"] - 1))) if kept < own["before"] else Inline("")
            cells += [Cell(data(language.number(kept, 0)), change, kept), _macs(own["gmacs_after"], factor, language)]
        rows.append(TableRow(cells))
    notes = [say("preview.layers.note")]
    for after in every:
        if after["own_ratios"]:
            asked = [data(f"{name} {language.share(ratio)}") for name, ratio in after["own_ratios"].items()]
            return Table(
                "layers", say("preview.layers.table"), columns, rows, [*notes, say("preview.layers.own", layers=asked)]
            )
    return Table("layers", say("preview.layers.table"), columns, rows, notes)


def _macs(gmacs: float | None, factor: float, language: Language) -> Cell:
    return _missing() if gmacs is None else Cell(data(language.number(gmacs * factor)), sort=gmacs)


def _missing() -> Cell:
    return Cell(data("-"))


def _whole(preview: Preview, language: Language) -> list[Block]:
    """The layers that no channel can be taken from, each with what stands in the way."""
    say = language.say
    costs = {layer["name"]: layer["gmacs_before"] for layer in preview["after"][0]["layers"]}
    total = preview["before"]["gmacs"]
    columns = [
        Column(say(f"preview.whole.{key}"), key in ("channels", "share"))
        for key in ("name", "channels", "share", "why")
    ]
    rows = []
    for layer in preview["unpruned_layers"]:
        gmacs = costs.get(layer["name"])
        share = None if gmacs is None else 100 * gmacs / total
        rows.append(
            TableRow([
                Cell(data(layer["name"]), sort=layer["name"]),
                Cell(data(language.number(layer["channels"], 0)), sort=layer["channels"]),
                _missing() if share is None else Cell(data(language.percent(share)), sort=share),
                Cell(say("layers.reason", reason=layer["reason"], by=layer["by"]), sort=layer["reason"]),
            ])
        )  # fmt: skip
    return [Table("whole", say("preview.whole.table"), columns, rows)]


def _macs_unit(gmacs: float) -> tuple[str, float]:
    """The largest unit of which there is a tenth or more, and how many of it are one G."""
    return ("G", 1.0) if gmacs >= SMALL else ("M", 1e3) if gmacs >= SMALL / 1e3 else ("k", 1e6)


def _size_unit(mib: float) -> tuple[str, float]:
    return ("MiB", 1.0) if mib >= SMALL else ("KiB", 1024.0)
