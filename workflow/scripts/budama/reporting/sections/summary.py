"""Kısaca: what to choose for accuracy, speed and size, and how sure one can be. A paragraph, and the same as tiles."""

from typing import Any

from budama.reporting.document import Block, Cell, Column, Paragraph, Table, TableRow, Tile, Tiles
from budama.reporting.inline import Inline, data
from budama.reporting.row import Row
from budama.reporting.sections.observations import tie
from budama.reporting.sections.timing import fastest
from budama.reporting.view import Results


def blocks(results: Results) -> list[Block]:
    """The tiles, then the paragraph; in a grid a paragraph for every ratio."""
    if not results.rows:
        return []
    opening, sure = _what(results), _sure(results)
    if not results.grid:
        ratio = results.ratios[0]
        sentences = [opening, *_answers(results, ratio), sure]
        return [Tiles(_tiles(results, ratio)), Paragraph(Inline(" ".join(sentences)))]
    paragraphs = [Paragraph(Inline(f"{opening} {sure}"))]
    for ratio in results.ratios:
        if results.at(ratio):
            label = results.language.say("summary.at", ratio=ratio)
            paragraphs.append(Paragraph(Inline(" ".join([f"**{label}**", *_answers(results, ratio)]))))
    return [paragraphs[0], _choices(results), *paragraphs[1:]]


def _choices(results: Results) -> Table:
    """The tiles of every ratio as a table."""
    say, tiles = results.language.say, {r: _tiles(results, r)[:3] for r in results.ratios if results.at(r)}
    head = [Column(say("configuration.labels.ratio"), False)]
    head += [Column(tile.label, False) for tile in next(iter(tiles.values()))]
    rows = [
        TableRow(
            [Cell(Inline(f"**{results.language.share(r or 0)}**")), *(Cell(tile.value, tile.detail) for tile in own)]
        )
        for r, own in tiles.items()
    ]
    return Table("choices", say("summary.table"), head, rows)


def _what(results: Results) -> Inline:
    say, scope = results.language.say, results.pruning["scope"]
    return say(
        "summary.what",
        model=results.model["title"],
        dataset=results.dataset["title"],
        ratios=[ratio for ratio in results.ratios if ratio is not None],
        scope=say(f"names.scopes.{scope}") if scope else "",
        match=say(f"names.matches.{results.pruning['match'] or 'channels'}"),
        methods=len({row["method"] for row in results.rows}),
    )


def _answers(results: Results, ratio: float | None) -> list[Inline]:
    rows = results.at(ratio)
    return [_accuracy(results, ratio), *_loss(results, ratio), _speed(results, rows), _size(results, rows)]


def _facts(results: Results, row: Row) -> dict[str, Any]:
    return {
        "name": results.short(row),
        "accuracy": row["accuracy_percent"],
        "retention": row["retention_percent"] or 0.0,
    }


def _accuracy(results: Results, ratio: float | None) -> Inline:
    say, groups = results.language.say, results.ranking(ratio)
    rows = groups[0]["rows"]
    if len(rows) > 1:
        values = [row["accuracy_percent"] for row in rows]
        kept = [row["retention_percent"] or 0.0 for row in rows]
        percent = results.language.percent
        same = percent(min(kept)) == percent(max(kept))
        return say(
            "summary.accuracy.all_tie" if len(groups) == 1 else "summary.accuracy.tie",
            names=[results.short(row) for row in rows],
            high=max(values),
            low=min(values),
            retention_low=max(kept) if same else min(kept),
            retention_high=max(kept),
            tie=tie(results, groups[0]),
            pairwise=results.pairwise(rows),
        )
    if len(groups) == 1:
        return say("summary.accuracy.only", a=_facts(results, rows[0]))
    second = groups[1]["rows"][0]
    tested = results.comparison(rows[0], second)
    if not tested or not tested["distinguishable"]:
        return say("summary.accuracy.untested", a=_facts(results, rows[0]))
    ahead, behind = _facts(results, rows[0]), _facts(results, second)
    return say("summary.accuracy.clear", a=ahead, b=behind, p=tested["p_holm"])


def _loss(results: Results, ratio: float | None) -> list[Inline]:
    """Whether the leader's loss against the baseline is more than noise."""
    row = results.ranking(ratio)[0]["rows"][0]
    change, interval = row["accuracy_change_points"], row["change_interval"]
    if not interval:
        return []
    kind = "fell" if interval[1] < 0 else "rose" if interval[0] > 0 else "unclear"
    values = {"name": results.short(row), "change": change, "low": interval[0], "high": interval[1]}
    return [results.language.say(f"summary.loss.{kind}", **values)]


def _speed(results: Results, rows: list[Row]) -> Inline:
    say = results.language.say
    timed = [row for row in rows if row["latency_ms"] is not None]
    if not timed or results.baseline["latency_ms"] is None:
        return say("summary.speed.none")
    if not results.timings_comparable():
        return say("summary.speed.not_comparable")
    first = fastest(results, rows)
    if not first:
        return say("summary.speed.untested", names=[results.short(_shortest(timed))])
    changes = [results.time_change(row) for row in first]
    values = {"names": [results.short(row) for row in first], "low": min(changes), "high": max(changes)}
    kinds = {results.timing(row) for row in first}
    if kinds == {"rose"}:
        return say("summary.speed.slower", **values)
    if kinds != {"fell"}:
        named = {
            kind: [results.short(row) for row in timed if results.timing(row) == kind] for kind in ("fell", "rose")
        }
        rest = len(timed) - len(named["fell"]) - len(named["rose"])
        return say("summary.speed.mixed" if any(named.values()) else "summary.speed.equal", **named, rest=rest)
    return say("summary.speed.all_faster" if len(first) == len(timed) > 1 else "summary.speed.faster", **values)


def _shortest(timed: list[Row]) -> Row:
    return min(timed, key=lambda row: row["latency_ms"] or 0.0)


def _smallest(results: Results, rows: list[Row]) -> list[tuple[float, float, Row]]:
    """Size, its change, and the row, of the smallest; none where the baseline's size is not known."""
    sized = [(size, row) for row in rows if (size := row["size_mib"]) is not None]
    least = min((size for size, _ in sized), default=0.0)
    return [
        (size, change, row)
        for size, row in sized
        if results.size(size) == results.size(least) and (change := results.change(row, "size_mib")) is not None
    ]


def _size(results: Results, rows: list[Row]) -> Inline:
    say, before = results.language.say, results.baseline["size_mib"]
    smallest = _smallest(results, rows)
    if not smallest or before is None:
        return say("summary.size.none")
    size, change, _ = smallest[0]
    if abs(change) < 0.05:
        return say("summary.size.unchanged")
    values = {"before": results.size(before), "after": results.size(size), "change": change}
    if len(smallest) == len(rows):
        return say("summary.size.equal", one=len(rows) == 1, **values)
    return say("summary.size.smallest", names=[results.short(row) for *_, row in smallest], **values)


def _sure(results: Results) -> Inline:
    seeds, images = len(results.content["seeds"]), results.dataset["counts"]["test"]
    kind = "recorded" if results.recorded else "seeds" if seeds > 1 and images else "single"
    return results.language.say(f"summary.sure.{kind}", seeds=seeds, images=images)


# Tiles ----------------------------------------------------------------------------------------------------------------


def _tiles(results: Results, ratio: float | None) -> list[Tile]:
    rows = results.at(ratio)
    return [_accuracy_tile(results, ratio), _speed_tile(results, rows), _size_tile(results, rows), _sure_tile(results)]


def _names(results: Results, rows: list[Row], everyone: int) -> Inline:
    if everyone > 1 and len(rows) == everyone:
        return results.language.say("summary.tiles.any")
    return results.language.join([results.short(row) for row in rows], "or")


def _accuracy_tile(results: Results, ratio: float | None) -> Tile:
    say, rows = results.language.say, results.ranking(ratio)[0]["rows"]
    values = [row["accuracy_percent"] for row in rows]
    if len(rows) > 1:
        detail = say("summary.tiles.kept_tie", low=min(values), high=max(values))
    else:
        detail = say("summary.tiles.kept", accuracy=values[0], retention=rows[0]["retention_percent"] or 0.0)
    return Tile(say("summary.tiles.accuracy"), _names(results, rows, len(results.at(ratio))), detail)


def _speed_tile(results: Results, rows: list[Row]) -> Tile:
    say = results.language.say
    label, timed = say("summary.tiles.speed"), [row for row in rows if row["latency_ms"] is not None]
    if not timed or results.baseline["latency_ms"] is None:
        return Tile(label, say("summary.tiles.no_claim"), say("summary.tiles.not_measured"))
    if not results.timings_comparable():
        return Tile(label, say("summary.tiles.no_claim"), say("summary.tiles.not_comparable"))
    first = fastest(results, rows) or [_shortest(timed)]
    changes = [results.time_change(row) for row in first]
    shown = {results.language.change(change) for change in changes}
    detail = (
        say("summary.tiles.time", change=changes[0])
        if len(shown) == 1
        else say("summary.tiles.time_range", low=min(changes), high=max(changes))
    )
    if all(results.timing(row) != "fell" for row in first):
        return Tile(label, say("summary.tiles.unchanged"), detail)
    return Tile(label, _names(results, first, len(timed)), detail)


def _size_tile(results: Results, rows: list[Row]) -> Tile:
    say = results.language.say
    label, smallest = say("summary.tiles.size"), _smallest(results, rows)
    if not smallest:
        return Tile(label, say("summary.tiles.no_claim"), say("summary.tiles.not_measured"))
    size, change, _ = smallest[0]
    detail = say("summary.tiles.shrunk", after=results.size(size), change=change)
    return Tile(label, _names(results, [row for *_, row in smallest], len(rows)), detail)


def _sure_tile(results: Results) -> Tile:
    say, images, seeds = results.language.say, results.dataset["counts"]["test"], len(results.content["seeds"])
    value = say("summary.tiles.recorded") if results.recorded else say("summary.tiles.seeds", seeds=max(seeds, 1))
    return Tile(say("summary.tiles.sure"), value, say("summary.tiles.images", images=images) if images else data(""))
