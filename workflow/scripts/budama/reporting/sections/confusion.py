"""Karıştırılan Sınıflar: what is taken for what, by the original and by the most accurate pruned model."""

from __future__ import annotations

import numpy as np

from budama import methods
from budama.reporting.document import Block, Cell, Column, Figure, Section, Table, TableRow
from budama.reporting.figures.heatmaps import heatmap
from budama.reporting.inline import Inline, data, to_plain
from budama.reporting.row import Baseline, Row
from budama.reporting.view import Results

SHOWN = 5  # pairs of classes of each model

Shown = tuple[Row | Baseline, Inline]  # a row and its name


def sections(results: Results) -> list[Section]:
    """Left out where nobody kept what the models named."""
    shown = [(row, name) for row, name in _shown(results) if row["confused"]]
    if not shown:
        return []
    blocks: list[Block] = [_table(results, shown)]
    for place, (row, name) in enumerate(shown):
        if place in (0, 1) and row["confusion"]:
            blocks.append(
                _matrix(results, row["confusion"], name, ("original", "pruned")[place], axes=len(blocks) == 1)
            )
    return [Section("confusion", results.language.say("confusion.title"), blocks)]


def _shown(results: Results) -> list[Shown]:
    """The original, and of each ratio the most accurate variant that is no control."""
    found: list[Shown] = [(results.baseline, results.original())]
    for ratio in results.ratios:
        rows = [row for row in results.ordered(ratio) if not methods.find(row["method"]).control]
        found += [(row, data(results.with_ratio(row))) for row in rows[:1]]
    return found


def _names(results: Results) -> list[str]:
    return results.dataset["class_names"] or [str(i) for i in range(results.model["classes"] or 0)]


def _table(results: Results, shown: list[Shown]) -> Table:
    say, names = results.language.say, _names(results)
    pairs = [(row["confused"] or [])[:SHOWN] for row, _ in shown]
    rows = []
    for place in range(max(map(len, pairs))):
        cells = [Cell(Inline(str(place + 1)), sort=place + 1)]
        for own in pairs:
            if place >= len(own):
                cells.append(Cell(Inline("-")))
                continue
            one = own[place]
            text = say("confusion.pair", actual=names[one["actual"]], taken_for=names[one["taken_for"]])
            cells.append(Cell(text, say("confusion.share", images=one["images"], of=one["of"]), one["images"]))
        rows.append(TableRow(cells))
    columns = [Column(say("confusion.place"))] + [Column(name, False) for _, name in shown]
    return Table("confusion", say("confusion.table"), columns, rows, [say("confusion.note")])


def _matrix(results: Results, counts: list[list[float]], name: Inline, of: str, axes: bool) -> Figure:
    """`axes`: whether the caption says what rows and columns are, as that of the first does."""
    say, language, names = results.language.say, results.language, _names(results)
    table = np.array(counts)
    images = table.sum(axis=1)
    known = images > 0
    shares = 100 * table[known] / images[known, None]
    places = np.flatnonzero(known).tolist()
    labels = [
        to_plain(say("confusion.actual", name=names[i], images=language.number(float(images[i]), 0))) for i in places
    ]
    heads, axis = [to_plain(data(one)) for one in names], to_plain(say("confusion.axis"))

    def draw():
        return heatmap(labels, heads, shares, axis, language.number, 0, shares=True)

    items = [f"{label}: {language.number(100 * table[i, i] / images[i], 1)}" for label, i in zip(labels, places)]
    title, alternative = say("confusion.figure", name=name), Inline("; ".join(items) + ".")
    return Figure(f"confusion-{of}", title, _caption(results, name, shares, places, axes), alternative, draw)


def _caption(results: Results, name: Inline, shares: np.ndarray, places: list[int], axes: bool) -> Inline:
    """The class of which the greatest share is taken for one other. `shares` has a row for each class of `places`."""
    say, names, wrong = results.language.say, _names(results), shares.copy()
    wrong[np.arange(len(places)), places] = 0
    row, column = divmod(int(wrong.argmax()), wrong.shape[1])
    if not wrong[row, column]:
        return say("confusion.caption", name=name, actual=None, axes=axes)
    pair = {"actual": names[places[row]], "taken_for": names[column]}
    return say("confusion.caption", name=name, share=float(wrong[row, column]), axes=axes, **pair)
