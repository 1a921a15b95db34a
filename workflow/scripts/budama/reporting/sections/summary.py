"""Kısaca: what to choose for accuracy, speed and size, and how sure one can be. A point each, and the same as tiles."""

from typing import Any

from budama import methods
from budama.reporting.document import Block, Bullets, Cell, Column, Paragraph, Table, TableRow, Tile, Tiles
from budama.reporting.inline import Inline, data
from budama.reporting.row import Row
from budama.reporting.sections import beyond
from budama.reporting.sections.observations import tie
from budama.reporting.sections.timing import fastest, throughput, twins
from budama.reporting.view import Results, Tied, judged


def blocks(results: Results) -> list[Block]:
    """The tiles, then a point for each question; in a grid for every ratio."""
    if not results.rows:
        return []
    opening, sure = _what(results), _sure(results)
    if not results.grid:
        ratio = results.ratios[0]
        return [Tiles(_tiles(results, ratio)), Paragraph(opening), Bullets([*_answers(results, ratio), sure])]
    found: list[Block] = [Paragraph(Inline(f"{opening} {sure}")), _choices(results)]
    for ratio in results.ratios:
        if results.at(ratio):
            label = results.language.say("summary.at", ratio=ratio)
            found += [Paragraph(Inline(f"**{label}**")), Bullets(_answers(results, ratio))]
    return found


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
    tried = {row["method"] for row in results.rows}
    controls = {name for name in tried if methods.find(name).control}
    whole = 1 if results.unpruned else 0
    return say(
        "summary.what",
        model=results.model["title"],
        dataset=results.dataset["title"],
        ratios=[ratio for ratio in results.ratios if ratio is not None],
        scope=say(f"names.scopes.{scope}") if scope else "",
        of=results.pruning["match"] or "channels",
        every_layer=scope == "layerwise",
        methods=len(tried - controls),
        controls=len(controls) + whole,
    )


def _answers(results: Results, ratio: float | None) -> list[Inline]:
    """A point each: accuracy, its price, speed, size."""
    rows = results.at(ratio)
    price = [*_loss(results, ratio), *_loss_to_unpruned(results, ratio), *beyond.price(results, judged(rows))]
    points = [[_accuracy(results, ratio)], price, [_speed(results, rows), *throughput(results, rows)]]
    points.append([_size(results, rows)])
    return [Inline(" ".join(sentences)) for sentences in points if sentences]


def _facts(results: Results, row: Row) -> dict[str, Any]:
    return {"name": results.short(row), "accuracy": row["accuracy_percent"], "kept": results.kept(row)}


def _accuracy(results: Results, ratio: float | None) -> Inline:
    """What to choose. A control is never recommended; that it cannot be told apart from the best is said."""
    say, groups, models = results.language.say, results.ranking(ratio), results.of_models
    rows = groups[0]["rows"]
    controls = [row for row in rows if methods.find(row["method"]).control]
    if controls and len(rows) < len(results.at(ratio)) and len(controls) == len(rows):
        names = [results.short(row) for row in controls]
        value = rows[0]["accuracy_percent"]
        return say("summary.accuracy.control", names=names, value=value, trained=bool(results.finetune["epochs"]))
    if len(rows) > 1:
        return _tie(results, groups, controls)
    if len(groups) == 1:
        return say("summary.accuracy.only", a=_facts(results, rows[0]))
    second = groups[1]["rows"][0]
    tested = results.comparison(rows[0], second)
    if not tested or not tested["distinguishable"]:
        return say("summary.accuracy.untested", a=_facts(results, rows[0]))
    ahead, behind = _facts(results, rows[0]), _facts(results, second)
    clear = say("summary.accuracy.clear", a=ahead, b=behind, p=tested["p_holm"], models=models)
    return Inline(" ".join([clear, *_near_controls(results, rows)]))


def _tie(results: Results, groups: list[Tied], controls: list[Row]) -> Inline:
    say, rows = results.language.say, groups[0]["rows"]
    chosen = judged(rows)
    values, shown = [row["accuracy_percent"] for row in chosen], tie(results, groups[0])
    common = {"low": min(values), "high": max(values), "tie": shown, "pairwise": results.pairwise(rows)}
    common |= {"models": results.of_models, "names": [results.short(row) for row in chosen]}
    if len(groups) == 1 and len(chosen) > 1:
        sentence = say("summary.accuracy.all_tie", count=len(chosen), **common)
    else:
        changes = [row["accuracy_change_points"] for row in chosen]
        sentence = say("summary.accuracy.tie", best=max(changes), worst=min(changes), **common)
    if not controls:
        return Inline(" ".join([sentence, *_near_controls(results, chosen)]))
    if chosen is rows:
        return sentence
    names = [results.short(row) for row in controls]
    stage = {"one": len(chosen) == 1, "trained": bool(results.finetune["epochs"])}
    return Inline(f"{sentence} {say('summary.accuracy.with_control', names=names, **stage)}")


def _near_controls(results: Results, chosen: list[Row]) -> list[Inline]:
    """Which of the recommended cannot be told apart from a control that is ranked lower."""
    found = []
    for control in results.at(chosen[0]["ratio"]):
        if methods.find(control["method"]).control and control not in chosen:
            tested = [(row, results.comparison(row, control)) for row in chosen]
            near = [results.short(row) for row, claim in tested if claim and not claim["distinguishable"]]
            if near:
                values = {"names": near, "control": results.short(control), "one": len(chosen) == 1}
                found.append(results.language.say("summary.accuracy.near_control", **values))
    return found


def _loss(results: Results, ratio: float | None) -> list[Inline]:
    """Whether the leader lost against the original."""
    row = next((row for row in results.ranking(ratio)[0]["rows"] if not methods.find(row["method"]).control), None)
    claim = results.against_original(row) if row else None
    if not row or not claim or not claim["interval"]:
        return []
    change = claim["difference_points"]
    kind = "unclear" if not claim["distinguishable"] else "fell" if change < 0 else "rose"
    values = {"name": results.short(row), "change": change, "low": claim["interval"][0], "high": claim["interval"][1]}
    values |= {"p": claim["p_holm"], "models": claim["of"] == "models"}
    values["alone"] = results.unpruned is None and bool(results.finetune["epochs"])  # nothing tells what training gave
    return [results.language.say(f"summary.loss.{kind}", **values)]


def _loss_to_unpruned(results: Results, ratio: float | None) -> list[Inline]:
    """Whether the leader lost against the original that went through the same training."""
    row = next((row for row in results.ranking(ratio)[0]["rows"] if not methods.find(row["method"]).control), None)
    claim = results.against_unpruned(row) if row else None
    if not row or not results.unpruned or not claim or not claim["interval"]:
        return []
    change = claim["difference_points"]
    kind = "unclear" if not claim["distinguishable"] else "fell" if change < 0 else "rose"
    values = {"name": results.short(row), "change": change, "low": claim["interval"][0], "high": claim["interval"][1]}
    values |= {"control": results.short(results.unpruned), "accuracy": results.unpruned["accuracy_percent"]}
    return [results.language.say(f"summary.unpruned.{kind}", p=claim["p_holm"], **values)]


def _speed(results: Results, rows: list[Row]) -> Inline:
    say, rows = results.language.say, judged(rows)
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
    values["one"] = len(rows) == 1
    values |= {"twins": twins(rows), **_accuracy_of(first)}
    kinds = {results.timing(row) for row in first}
    if kinds == {"rose"}:
        return say("summary.speed.slower", **values)
    if kinds != {"fell"}:
        named = {
            kind: [results.short(row) for row in timed if results.timing(row) == kind] for kind in ("fell", "rose")
        }
        rest = len(timed) - len(named["fell"]) - len(named["rose"])
        key = "summary.speed.mixed" if any(named.values()) else "summary.speed.equal"
        return say(key, **named, rest=rest, one=len(rows) == 1)
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
    say, before, rows = results.language.say, results.baseline["size_mib"], judged(rows)
    smallest = _smallest(results, rows)
    if not smallest or before is None:
        return say("summary.size.none")
    size, change, _ = smallest[0]
    if abs(change) < 0.05:
        return say("summary.size.unchanged")
    values = {"before": results.size(before), "after": results.size(size), "change": change}
    values |= _accuracy_of([row for *_, row in smallest])
    if len(smallest) == len(rows):
        return say("summary.size.equal", one=len(rows) == 1, **values)
    return say("summary.size.smallest", names=[results.short(row) for *_, row in smallest], **values)


def _accuracy_of(rows: list[Row]) -> dict[str, float]:
    """What the fastest or the smallest cost in accuracy, in points: advice without its price is none."""
    changes = [row["accuracy_change_points"] for row in rows]
    return {"worst": min(changes), "best": max(changes)}


def _sure(results: Results) -> Inline:
    seeds, images = results.counted_seeds, results.dataset["counts"]["test"]
    kind = "recorded" if results.recorded else "seeds" if seeds > 1 and images else "single"
    return results.language.say(f"summary.sure.{kind}", seeds=seeds, images=images)


# Tiles ----------------------------------------------------------------------------------------------------------------


def _tiles(results: Results, ratio: float | None) -> list[Tile]:
    rows = judged(results.at(ratio))
    return [_accuracy_tile(results, ratio), _speed_tile(results, rows), _size_tile(results, rows), _sure_tile(results)]


def _names(results: Results, rows: list[Row], everyone: int, everyone_is: str = "none_ahead") -> Inline:
    if everyone > 1 and len(rows) == everyone:
        return results.language.say(f"summary.tiles.{everyone_is}")
    return results.language.join([results.short(row) for row in rows], "or")


def _accuracy_tile(results: Results, ratio: float | None) -> Tile:
    say, rows, label = (
        results.language.say,
        results.ranking(ratio)[0]["rows"],
        results.language.say("summary.tiles.accuracy"),
    )
    everyone = judged(results.at(ratio))
    chosen = [row for row in rows if row in everyone]
    values = [row["accuracy_percent"] for row in chosen or rows]
    detail = say("summary.tiles.kept", accuracy=values[0], change=(chosen or rows)[0]["accuracy_change_points"])
    if len(values) > 1:
        detail = say("summary.tiles.kept_tie", low=min(values), high=max(values))
    if not chosen:
        return Tile(label, say("summary.tiles.no_claim"), detail)
    return Tile(label, _names(results, chosen, len(everyone)), detail)


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
    if twins(rows):
        return Tile(label, say("summary.tiles.twins"), detail)
    return Tile(label, _names(results, first, len(timed)), detail)


def _size_tile(results: Results, rows: list[Row]) -> Tile:
    say = results.language.say
    label, smallest = say("summary.tiles.size"), _smallest(results, rows)
    if not smallest:
        return Tile(label, say("summary.tiles.no_claim"), say("summary.tiles.not_measured"))
    size, change, _ = smallest[0]
    detail = say("summary.tiles.shrunk", after=results.size(size), change=change)
    return Tile(label, _names(results, [row for *_, row in smallest], len(rows), "any"), detail)


def _sure_tile(results: Results) -> Tile:
    say, images, seeds = results.language.say, results.dataset["counts"]["test"], results.counted_seeds
    value = say("summary.tiles.recorded") if results.recorded else say("summary.tiles.seeds", seeds=seeds)
    return Tile(say("summary.tiles.sure"), value, say("summary.tiles.images", images=images) if images else data(""))
