"""Bozulmuş Görüntüler: accuracy on test images with noise, blur, brightness, contrast and JPEG compression."""

from __future__ import annotations

import numpy as np

from budama.reporting.document import Block, Cell, Column, Figure, Paragraph, Section, Table, TableRow
from budama.reporting.figures.heatmaps import heatmap
from budama.reporting.inline import Inline, data, to_plain
from budama.reporting.row import Corruptions
from budama.reporting.sections.beyond import Shown, differs, named, shown_rows
from budama.reporting.view import Results

Known = list[tuple[Shown, Inline, Corruptions]]  # rows with their names


def sections(results: Results) -> list[Section]:
    """Left out where it was not asked for."""
    say = results.language.say
    known = [(row, name, found) for row, name in shown_rows(results) if (found := row["corruptions"])]
    if not known:
        return []
    blocks: list[Block] = [Paragraph(say("corruptions.intro")), _table(results, known), _figure(results, known)]
    return [Section("corruptions", say("corruptions.title"), blocks)]


def _table(results: Results, known: Known) -> Table:
    say, number, kinds = results.language.say, results.language.number, list(known[0][2]["accuracy_percent"])
    heads = [say("corruptions.clean"), *(say(f"corruptions.kinds.{kind}") for kind in kinds), say("corruptions.mean")]
    rows = []
    for row, name, found in known:
        means = [float(np.mean(found["accuracy_percent"][kind])) for kind in kinds]
        values = [row["accuracy_percent"] or 0.0, *means, found["mean_percent"]]
        cells = [Cell(data(number(value)), sort=value) for value in values]
        rows.append(TableRow([named(name), *cells], "" if row["method"] else "baseline"))
    columns = [Column(say("comparison.columns.method"), False), *(Column(head) for head in heads)]
    return Table("corruptions", say("corruptions.table"), columns, rows, [say("corruptions.note")])


def _figure(results: Results, known: Known) -> Figure:
    say, language, accuracies = results.language.say, results.language, known[0][2]["accuracy_percent"]
    heads = [
        to_plain(say("corruptions.cell", kind=to_plain(say(f"corruptions.kinds.{kind}")), strength=place + 1))
        for kind, strengths in accuracies.items()
        for place in range(len(strengths))
    ]
    values = np.array([[v for kind in accuracies for v in found["accuracy_percent"][kind]] for _, _, found in known])
    labels, axis = [to_plain(name) for _, name, _ in known], to_plain(say("corruptions.axis"))

    def draw():
        return heatmap(labels, heads, values, axis, language.number, 0)

    items = [
        say("corruptions.item", name=to_plain(name), clean=row["accuracy_percent"], mean=found["mean_percent"])
        for row, name, found in known
    ]
    alternative = Inline("; ".join(items) + ".")
    return Figure("corruptions", say("corruptions.figure"), _claims(results), alternative, draw, wide=True)


def _claims(results: Results) -> Inline:
    """Whose accuracy on corrupted images differs from the original's."""
    say, parts = results.language.say, []
    claimed = [(row, claim) for row in results.rows if (found := row["corruptions"]) and (claim := found["claim"])]
    for key, sign in (("worse", -1), ("better", 1)):
        own = [(row, claim["change_points"]) for row, claim in claimed if differs(claim, sign)]
        if own:
            names, changes = [results.with_ratio(row) for row, _ in own], [change for _, change in own]
            parts.append(say(f"corruptions.{key}", names=names, low=min(changes), high=max(changes)))
    rest = [results.with_ratio(row) for row, claim in claimed if not claim["distinguishable"]]
    if rest:
        parts.append(say("corruptions.alike", names=rest))
    return Inline(" ".join(parts))
