"""Önemli Gözlemler: ranking with ties, what got smaller, accuracy against cost."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from budama import methods
from budama.reporting.document import Block, Bullets, Paragraph, Section
from budama.reporting.inline import Inline
from budama.reporting.row import Row
from budama.reporting.sections import fronts
from budama.reporting.sections.timing import direction, evidence, near_control
from budama.reporting.view import Cost, Results, Tied, judged


def sections(results: Results, others: list[Results]) -> list[Section]:
    """The three parts of the reference report. Where no `others` follow, families of methods are compared here."""
    say = results.language.say
    balance = [*_balance(results), *fronts.figures_of(results), *fronts.explorer(results, others)]
    return [
        Section("observations", say("observations.title"), []),
        Section("ranking", say("observations.ranking"), _ranking(results, alone=not others), 3),
        Section("optimisation", say("observations.optimisation"), _optimisation(results), 3),
        Section("balance", say("observations.balance"), balance, 3),
    ]


# Ranking --------------------------------------------------------------------------------------------------------------


def _ranking(results: Results, alone: bool) -> list[Block]:
    say = results.language.say
    blocks: list[Block] = []
    for ratio in results.ratios:
        if not results.at(ratio):
            continue
        if results.grid:
            blocks.append(Paragraph(say("ranking.at", ratio=ratio)))
        groups = results.ranking(ratio)
        ranks = [_places(group) for group in groups]
        blocks.append(Bullets([_rank(results, groups, i) for i in range(len(groups))], marks=ranks))
        if overlap := _overlap(results, groups):
            blocks.append(Paragraph(overlap))
    tests = {entry["test"] for entry in results.content["comparisons"]}
    sentences = [say(f"ranking.test.{test}", every=len(tests) == 1) for test in sorted(tests, reverse=True)]
    if not tests and len(results.rows) > 1:
        sentences.append(say("ranking.untested"))
    sentences += [line for ratio in results.ratios if results.at(ratio) and (line := _elsewhere(results, ratio))]
    if sentences:
        blocks.append(Paragraph(Inline(" ".join(sentences))))
    extra = [*_controls(results), *_unpruned(results), *(families(results, "") if alone else [])]
    return blocks + ([Bullets(extra)] if extra else [])


def _elsewhere(results: Results, ratio: float | None) -> Inline | None:
    """Where the best cannot be told apart and another of them is best on the selection split: the order is chance's."""
    rows = judged(results.ranking(ratio)[0]["rows"])
    known = [(value, row) for row in rows if (fate := row["fate"]) and (value := fate["finetuned_percent"]) is not None]
    if len(rows) < 2 or len(known) < len(rows):
        return None
    (value, best), first = max(known, key=lambda entry: entry[0]), max(rows, key=lambda row: row["accuracy_percent"])
    own = next(value for value, row in known if row is first)
    if value <= own:
        return None
    values = {"name": results.with_ratio(best), "value": value, "own": own, "first": results.with_ratio(first)}
    return results.language.say("ranking.elsewhere", **values)


def tie(results: Results, group: Tied) -> Inline:
    """The corrected p of a tie, which is the one that makes it a tie; "" where nothing was tested."""
    p = group["tie_p_holm"]
    return Inline("") if p is None else results.language.say("ranking.p_holm", p=p)


def _places(group: Tied) -> str:
    """1. for a place of its own, 1–2. for a tie of two."""
    first, last = group["rank"], group["rank"] + len(group["rows"]) - 1
    return f"{first}." if first == last else f"{first}–{last}."


def _rank(results: Results, groups: list[Tied], index: int) -> Inline:
    say, language, group = results.language.say, results.language, groups[index]
    rows, last = group["rows"], index == len(groups) - 1
    if len(rows) == 1:
        key = "only" if len(groups) == 1 else "first" if index == 0 else "last" if last else "middle"
        if key == "middle" and group["rank"] == 2:
            key = "second"
        name, value = results.label(rows[0]), rows[0]["accuracy_percent"]
        return say(f"ranking.{key}", name=name, value=value, rank=group["rank"])
    key = "tie_all" if len(groups) == 1 else "tie_first" if index == 0 else "tie_last" if last else "tie"
    values = language.join([language.percent(row["accuracy_percent"], 2) for row in rows])
    shown = {"values": values, "tie": tie(results, group), "pairwise": results.pairwise(rows)}
    return say(f"ranking.{key}", names=[results.label(row) for row in rows], **shown)


def _overlap(results: Results, groups: list[Tied]) -> Inline | None:
    """Pairs that lie in neighbouring groups and yet cannot be told apart: being indistinguishable is not transitive."""
    found = [
        (results.short(a), results.short(b))
        for upper, lower in pairwise(groups)
        for a in upper["rows"]
        for b in lower["rows"]
        if (entry := results.comparison(a, b)) and not entry["distinguishable"]
    ]
    return results.language.say("ranking.overlap", pairs=found) if found else None


def families(results: Results, here: str) -> list[Inline]:
    """Classic against modern methods, where both were tested and at one ratio; a win only if every pair is told
    apart."""
    rows = [] if results.grid else results.ordered(results.ratios[0])
    classic, modern = ([r for r in rows if methods.find(r["method"]).family == f] for f in ("classic", "modern"))
    if not classic or not modern:
        return []
    signs: set[bool | None] = set()
    for a in classic:
        for b in modern:
            entry = results.comparison(a, b)
            signs.add((entry["difference_points"] > 0) if entry and entry["distinguishable"] else None)
    key = "classic" if signs == {True} else "modern" if signs == {False} else "mixed"
    names = {"classic": [results.short(r) for r in classic], "modern": [results.short(r) for r in modern]}
    return [results.language.say(f"ranking.families.{key}", here=here, models=results.of_models, **names)]


def _controls(results: Results) -> list[Inline]:
    """Which methods beat pruning at random before fine-tuning."""
    say, lines = results.language.say, []
    entries = [(results.row(e["variant"]), e) for e in results.content["against_random"]]
    for ratio in results.ratios:
        of_ratio = [(row, e) for row, e in entries if row and row["ratio"] == ratio]
        own = [(row, e) for row, e in of_ratio if not methods.find(row["method"]).control]
        prefix = say("ranking.random.prefix", ratio=ratio) + " " if results.grid and ratio is not None else ""
        kinds: dict[str, list] = {"beaten": [], "level": [], "worse": []}
        for row, entry in own:
            gap = entry["difference_points"]
            kind = "level" if not entry["distinguishable"] else "beaten" if gap > 0 else "worse"
            kinds[kind].append((results.short(row), gap, entry))
        for kind, found in kinds.items():
            if found:
                gaps = [gap for _, gap, _ in found]
                values = {"low": min(gaps), "high": max(gaps), "p": max(entry["p_holm"] for *_, entry in found)}
                values["least_p"] = min(entry["p_holm"] for *_, entry in found)
                values["trained"] = bool(results.finetune["epochs"])
                one = all(entry["of"] == "models" for *_, entry in found)
                sentence = say(f"ranking.random.{kind}", names=[name for name, *_ in found], one=one, **values)
                lines.append(Inline(prefix + sentence))
    return lines


def _unpruned(results: Results) -> list[Inline]:
    """Which variants lie below, above, or not apart from the original that was fine-tuned as they were."""
    say, lines = results.language.say, []
    if not results.unpruned:
        return []
    control = {"control": results.short(results.unpruned), "value": results.unpruned["accuracy_percent"]}
    for ratio in results.ratios:
        kinds: dict[str, list[tuple[str, float]]] = {"below": [], "level": [], "above": []}
        for row in results.ordered(ratio):
            if claim := results.against_unpruned(row):
                change = claim["difference_points"]
                kind = "level" if not claim["distinguishable"] else "below" if change < 0 else "above"
                kinds[kind].append((results.with_ratio(row), change))
        for kind, found in kinds.items():
            if found:
                low, high = (pick(change for _, change in found) for pick in (min, max))
                names = [name for name, _ in found]
                lines.append(say(f"ranking.unpruned.{kind}", names=names, low=low, high=high, **control))
    return lines


# What got smaller -----------------------------------------------------------------------------------------------------


def _optimisation(results: Results) -> list[Block]:
    blocks: list[Block] = []
    for ratio in results.ratios:
        rows = results.at(ratio)
        if not rows:
            continue
        if results.grid:
            blocks.append(Paragraph(results.language.say("optimisation.at", ratio=ratio)))
        lines = [
            _cost(results, rows, "size", "size_mib", results.size),
            _cost(results, rows, "flops", "gmacs", results.flops),
            _cost(results, rows, "parameters", "parameters", results.count),
            *_latency(results, rows),
        ]
        blocks.append(Bullets([line for line in lines if line]))
    return blocks


def _cost(results: Results, rows: list[Row], topic: str, cost: Cost, show: Callable[[Any], str]) -> Inline | None:
    """What became of one cost: one sentence where all methods agree, a range where they do not."""
    say, before = results.language.say, results.baseline[cost]
    measured = [(change, row[cost], row) for row in rows if (change := results.change(row, cost)) is not None]
    if not measured or before is None:
        return None
    (low, least, _), (high, most, _) = (pick(measured, key=lambda m: m[0]) for pick in (min, max))
    if results.language.change(low) == results.language.change(high):
        kind = direction(low)
        return say(f"optimisation.{topic}.{kind}", change=round(abs(low), 2), before=show(before), after=show(least))
    names = [results.short(row) for _, value, row in measured if show(value) == show(least)]
    values = {"low": low, "high": high, "after_low": show(least), "after_high": show(most)}
    return say(f"optimisation.{topic}.range", before=show(before), names=names, **values)


def _latency(results: Results, rows: list[Row]) -> list[Inline]:
    """Rose, fell, or cannot be told apart; recorded times that mean nothing are quoted with that warning."""
    say, before = results.language.say, results.baseline["latency_ms"]
    timed = [row for row in rows if row["latency_ms"] is not None]
    if not timed or before is None:
        return [say("optimisation.latency.none")]
    if not results.timings_comparable():
        ways = [(direction((row["latency_ms"] or 0) - before), results.short(row)) for row in timed]
        fell, rose = ([name for way, name in ways if way == wanted] for wanted in ("fell", "rose"))
        return (
            [say("optimisation.latency.not_comparable", fell=fell, rose=rose, **evidence(results))]
            if fell or rose
            else []
        )
    lines = []
    for kind in ("fell", "rose", "equal"):
        own = [row for row in timed if results.timing(row) == kind]
        if own:
            changes = [results.time_change(row) for row in own]
            amount = say("optimisation.latency.amount", low=min(changes), high=max(changes))
            shown = {"names": [results.short(row) for row in own], "every": len(own) == len(rows) > 2}
            lines.append(say(f"optimisation.latency.{kind}", amount=Inline(" " + amount), **shown))
    return lines + near_control(results, timed)


# Accuracy against cost ------------------------------------------------------------------------------------------------


def _balance(results: Results) -> list[Block]:
    say = results.language.say
    blocks: list[Block] = []
    for ratio in results.ratios:
        groups = results.ranking(ratio) if results.at(ratio) else []
        if not groups:
            continue
        if results.grid:
            blocks.append(Paragraph(say("optimisation.at", ratio=ratio)))
        same = fronts.same_cost(results, results.at(ratio))
        blocks.append(
            Bullets([_kept(results, groups, i, row, same) for i, group in enumerate(groups) for row in group["rows"]])
        )
        if same and len(results.at(ratio)) > 1:
            blocks.append(Paragraph(say("balance.equal_cost")))
        changes = results.changes(results.at(ratio), "gmacs")
        if not same and changes and results.language.change(min(changes)) != results.language.change(max(changes)):
            blocks.append(Paragraph(say("balance.unequal_cost", low=min(changes), high=max(changes))))
    return blocks


def _kept(results: Results, groups: list[Tied], index: int, row: Row, same: bool) -> Inline:
    say, group = results.language.say, groups[index]
    values = {
        "name": results.label(row),
        "retention": row["retention_percent"] or 0.0,
        "change": row["accuracy_change_points"],
        "flops": results.change(row, "gmacs"),
    }
    if round(row["accuracy_change_points"], 2) > 0:
        return say("balance.above", **values)
    controls = [other for other in group["rows"] if methods.find(other["method"]).control]
    if index == 0 and same and len(groups) > 1 and not controls:  # no balance is best that a control has, too
        others = [results.short(other) for other in group["rows"] if other is not row]
        return say("balance.best_tie" if others else "balance.best", others=others, **values)
    lost = round(row["accuracy_change_points"], 2) < 0
    if lost and index == len(groups) - 1 and len(group["rows"]) == 1 and len(groups) > 1:
        return say("balance.last", **values)
    return say("balance.plain", **values)
