"""Several learning rates: what each variant would have reached with each, and what choosing did to the ranking."""

from __future__ import annotations

from budama.reporting.document import Block, Bullets, Cell, Column, Paragraph, Section, Table, TableRow
from budama.reporting.inline import Inline, data
from budama.reporting.row import Rate, Row
from budama.reporting.view import Results

Tried = list[tuple[Row, list[Rate]]]


def sections(results: Results) -> list[Section]:
    """One where several rates were tried."""
    tried: Tried = [(row, rates) for row in results.rows if (rates := row.get("learning_rates"))]
    if not tried:
        return []
    say, count = results.language.say, max(len(rates) for _, rates in tried)
    blocks: list[Block] = [Paragraph(say("rates.intro", rates=count)), _table(results, tried)]
    lines = []
    for ratio in results.ratios:
        lines += _rankings(results, [(row, rates) for row, rates in tried if row["ratio"] == ratio], ratio)
    lines += _ends(results, tried)
    return [Section("rates", say("rates.title"), [*blocks, *([Bullets(lines)] if lines else [])])]


def shown(results: Results, rate: float) -> str:
    """A learning rate, however small."""
    return f"{rate:g}".replace(".", results.language.decimal)


def _table(results: Results, tried: Tried) -> Table:
    say, language = results.language.say, results.language
    every = sorted({one["learning_rate"] for _, rates in tried for one in rates})
    rows = []
    for row, rates in tried:
        found = {one["learning_rate"]: one for one in rates}
        cells = [_cell(results, found.get(rate), len(row["seeds"])) for rate in every]
        name, chosen = results.with_ratio(row), _chosen(row)
        last = Cell(Inline("-")) if chosen is None else Cell(data(language.number(chosen)), sort=chosen)
        rows.append(TableRow([Cell(Inline(f"**{data(name)}**"), sort=name), *cells, last]))
    columns = [Column(say("comparison.columns.method"), False), *(Column(data(shown(results, rate))) for rate in every)]
    return Table("rates", say("rates.table"), [*columns, Column(say("rates.chosen"))], rows, [say("rates.note")])


def _cell(results: Results, one: Rate | None, seeds: int) -> Cell:
    if one is None:
        return Cell(Inline("-"))
    accuracy, chosen = one["selection_accuracy_percent"], len(one["chosen_by_seeds"])
    if accuracy is None:
        return Cell(results.language.say("rates.diverged"))
    text = data(results.language.number(accuracy))
    detail = data(f"{chosen}/{seeds}") if chosen and seeds > 1 else Inline("")
    return Cell(Inline(f"**{text}**") if chosen else text, detail, accuracy)


def _rankings(results: Results, tried: Tried, ratio: float | None) -> list[Inline]:
    """Of one ratio: the order of the variants with each rate for all, where it is another than after choosing."""
    if len(tried) < 2 or any(_chosen(row) is None for row, _ in tried):
        return []
    say = results.language.say
    told = {"ratio": ratio if results.grid else None}
    after = _order([(results.short(row), _chosen(row)) for row, _ in tried])
    lines = []
    for rate in sorted({one["learning_rate"] for _, rates in tried for one in rates}):
        with_it = [
            (results.short(row), one["selection_accuracy_percent"])
            for row, rates in tried
            for one in rates
            if one["learning_rate"] == rate
        ]
        if len(with_it) == len(tried) and all(accuracy is not None for _, accuracy in with_it):
            order = _order(with_it)
            if order != after:
                lines.append(say("rates.order", rate=shown(results, rate), order=_words(order), **told))
    if not lines:
        return [say("rates.same", order=_words(after), **told)]
    return [say("rates.after", order=_words(after), **told), *lines]


def _order(accuracies: list[tuple[str, float | None]]) -> list[list[str]]:
    """Names by accuracy, highest first; those of equal accuracy (to a millionth of a point) together."""
    groups: dict[float, list[str]] = {}
    for name, accuracy in accuracies:
        groups.setdefault(round(accuracy or 0.0, 6), []).append(name)
    return [groups[accuracy] for accuracy in sorted(groups, reverse=True)]


def _words(order: list[list[str]]) -> Inline:
    return Inline(" > ".join(" = ".join(data(name) for name in names) for names in order))


def _ends(results: Results, tried: Tried) -> list[Inline]:
    """Where the best rate is the lowest or the highest of those tried, a better one may lie beyond."""
    names = [
        results.with_ratio(row) for row, rates in tried if rates[0]["chosen_by_seeds"] or rates[-1]["chosen_by_seeds"]
    ]
    return [results.language.say("rates.ends", names=names, total=len(tried))] if names else []


def _chosen(row: Row) -> float | None:
    """Accuracy on the selection split with what was chosen."""
    return row["fate"]["finetuned_percent"] if row["fate"] else None
