"""One section for each other scenario: what differed in the settings, and what became of the methods that both
tested."""

from typing import Any

from budama.reporting.document import Block, Bullets, Cell, Column, Figure, Section, Table, TableRow
from budama.reporting.figures import plots
from budama.reporting.inline import Inline, data, to_plain
from budama.reporting.row import Row
from budama.reporting.sections.observations import families
from budama.reporting.view import Results
from budama.significance.claims import Claim

Shared = list[tuple[Row, Row]]  # of one method in both: here, and there


def section(results: Results, other: Results, name: str, first: bool) -> Section:
    """TS2 ile Karşılaştırma. `name`: of section and figure; `first`: say what holds of this scenario alone."""
    say = results.language.say
    shared = _shared(results, other)
    comparable = _same_subject(results, other)
    lines = [_settings(results, other)]
    if not comparable:
        here, there = (f"{one.model['title']}, {one.dataset['title']}" for one in (results, other))
        lines.append(say("scenarios.other_model", here=here, other=there))
    told, tested = _accuracy(results, other, shared) if comparable or not shared else ([], [])
    lines += told
    lines += _size(results, other, shared)
    if first:
        lines += [*families(results, results.name), *_smallest_loss(results)]
    lines += tested
    blocks: list[Block] = [Bullets([line for line in lines if line])]
    if shared:
        blocks += [_table(results, other, shared, comparable, name), _figure(results, other, shared, comparable, name)]
    return Section(name, say("scenarios.title", other=other.name), blocks, 3)


def _same_subject(results: Results, other: Results) -> bool:
    here, there = ((one.model["title"], one.dataset["title"]) for one in (results, other))
    return here == there


def _shared(results: Results, other: Results) -> Shared:
    """Rows of one method in both: at the same ratio, or whatever their ratios where neither is a grid."""
    single = not results.grid and not other.grid
    return [
        (row, match)
        for row in results.rows
        for match in other.rows
        if match["method"] == row["method"] and (single or match["ratio"] == row["ratio"])
    ]


def _settings(results: Results, other: Results) -> Inline:
    say, language, found = results.language.say, results.language, []
    here, there = ([r for r in x.ratios if r is not None] for x in (results, other))
    if here and there and here != there:
        kind = "other" if len(here) > 1 or len(there) > 1 else "lower" if here < there else "higher"
        shown = {"here": language.join(map(language.share, here)), "other": language.join(map(language.share, there))}
        found.append(say(f"scenarios.differences.ratio_{kind}", **shown))
    for key, words, a, b in (
        ("epochs", ("longer", "shorter"), results.finetune["epochs"], other.finetune["epochs"]),
        ("steps", ("more", "fewer"), results.pruning["steps"], other.pruning["steps"]),
    ):
        if a is not None and b is not None and a != b:
            found.append(say(f"scenarios.differences.{key}_{words[a < b]}", here=a, other=b))
    scopes = [one.pruning["scope"] for one in (results, other)]
    if all(scopes) and scopes[0] != scopes[1]:
        mine, theirs = (say(f"names.scopes.{scope}") for scope in scopes)
        found.append(say("scenarios.differences.scope", here=mine, other=theirs))
    ways = [one.pruning["compensate"] or "off" for one in (results, other)]
    if ways[0] != ways[1]:
        found.append(say(f"scenarios.differences.compensate_{ways[0]}"))
    if (results.pruning.get("layers") or {}) != (other.pruning.get("layers") or {}):
        found.append(say("scenarios.differences.layers"))
    if not found:
        return say("scenarios.same_settings", here=results.name, other=other.name)
    return say("scenarios.settings", here=results.name, differences=found)


def _accuracy(results: Results, other: Results, shared: Shared) -> tuple[list[Inline], list[Inline]]:
    """Which shared methods are more accurate here or there, as far as separate runs can tell, and by which test."""
    say = results.language.say
    if not shared:
        return [say("scenarios.accuracy.none")], []
    gaps = [round(a["accuracy_percent"] - b["accuracy_percent"], 2) for a, b in shared]
    values: dict[str, Any] = {"n": len(shared), "here": results.name, "low": min(gaps), "high": max(gaps)}
    images = [one.dataset["counts"]["test"] for one in (results, other)]
    if not all(images):
        return [say("scenarios.accuracy.untested", **values)], []
    paired = _same_images(results, other)
    claims = _claims(results, other, shared, paired)
    kinds: dict[str, list[str]] = {"higher": [], "lower": [], "level": []}
    for (row, _), claim in zip(shared, claims):
        way = "higher" if claim["difference_points"] > 0 else "lower"
        kinds[way if claim["distinguishable"] else "level"].append(results.with_ratio(row))
    one = next((kind for kind, names in kinds.items() if len(names) == len(shared)), None)
    p = (min if one == "level" else max)(claim["p_holm"] for claim in claims)
    told = say(f"scenarios.accuracy.{one or 'mixed'}", p=p, **kinds, **values)
    tests = sorted({claim["test"] for claim in claims})
    return [told], [say(f"scenarios.accuracy.{test}{'_paired' if paired else ''}") for test in tests]


def _same_images(results: Results, other: Results) -> bool:
    """Whether what is known of single test images belongs to the same ones, in the same order."""
    split = results.dataset["test_split"]
    return split is not None and split == other.dataset["test_split"]


def _claims(results: Results, other: Results, shared: Shared, paired: bool) -> list[Claim]:
    from budama.significance import differences  # a second's import, for reports that compare

    if paired:
        here, there = results.candidates(), other.candidates()
        pairs = [(here[a["variant"]], there[b["variant"]]) for a, b in shared]
        return differences.between_scenarios(pairs, list(here.values()), list(there.values()))
    images = min(one.dataset["counts"]["test"] or 0 for one in (results, other))
    return differences.between_runs([(_by_seed(a), _by_seed(b)) for a, b in shared], images)


def _by_seed(row: Row) -> list[float]:
    return [seed["accuracy_percent"] for seed in row["seeds"]] or [row["accuracy_percent"]]


def _size(results: Results, other: Results, shared: Shared) -> list[Inline]:
    """How much smaller the model got here and there: said where all shared methods agree."""
    changes = [(a["size_change_percent"], b["size_change_percent"]) for a, b in shared]
    known = [(here, there) for here, there in changes if here is not None and there is not None]
    shown = {(results.language.change(here), results.language.change(there)) for here, there in known}
    if len(shown) != 1 or len(known) < len(changes):
        return []
    (a, b), (here, there) = shown.pop(), known[0]
    kind = "equal" if a == b else "less" if abs(here) < abs(there) else "more"
    return [results.language.say(f"scenarios.size.{kind}", here=results.name, change=here, other_change=there)]


def _smallest_loss(results: Results) -> list[Inline]:
    """The leaders of a scenario of one ratio with their losses."""
    if results.grid or not results.rows:
        return []
    ratio = results.ratios[0]
    rows = results.ranking(ratio)[0]["rows"]
    losses = [row["accuracy_change_points"] for row in rows]
    if len(rows) > 3 or any(loss >= 0 for loss in losses):
        return []
    sizes = [results.language.number(-loss) for loss in losses]
    return [
        results.language.say(
            "scenarios.smallest_loss", ratio=ratio, names=[results.short(r) for r in rows], losses=sizes
        )
    ]


def _table(results: Results, other: Results, shared: Shared, comparable: bool, name: str) -> Table:
    """Accuracies and shares kept; of other models or data, only the shares, as the accuracies say nothing side by
    side."""
    say, language = results.language.say, results.language
    rows = []
    for row, match in shared:
        method, pair = results.with_ratio(row), (row["accuracy_percent"], match["accuracy_percent"])
        kept = here, there = row["retention_percent"], match["retention_percent"]
        gap = None if here is None or there is None else here - there
        if comparable:
            gap = pair[0] - pair[1]
        accuracies = [Cell(data(language.number(value)), sort=value) for value in pair] if comparable else []
        shares = [Cell(data(language.percent(value) if value is not None else "-"), sort=value) for value in kept]
        difference = Cell(data(language.signed(gap) if gap is not None else "-"), sort=gap)
        rows.append(TableRow([Cell(Inline(f"**{data(method)}**"), sort=method), *accuracies, *shares, difference]))
    titles = [say("comparison.columns.method")]
    titles += [say("scenarios.columns.here", name=r.name) for r in (results, other)] if comparable else []
    titles += [say("scenarios.columns.kept_here", name=r.name) for r in (results, other)]
    titles.append(say("scenarios.columns.difference"))
    caption = say("scenarios.table", here=results.name, other=other.name)
    columns = [Column(title, i > 0) for i, title in enumerate(titles)]
    return Table(name, caption, columns, rows)


def _figure(results: Results, other: Results, shared: Shared, comparable: bool, name: str) -> Figure:
    """Accuracies side by side; where model or data differ, the shares kept."""
    say, language = results.language.say, results.language
    kept = "" if comparable else "_kept"

    def value(row: Row) -> float:
        return row["accuracy_percent"] if comparable else row["retention_percent"] or 0.0

    rows = [(results.with_ratio(a), a["method"], value(a), value(b)) for a, b in shared]
    rows.sort(key=lambda row: -row[2])
    names = (to_plain(data(results.name)), to_plain(data(other.name)))
    plain = [(to_plain(data(label)), method, here, there) for label, method, here, there in rows]
    axis = to_plain(say(f"scenarios.figure.axis{kept}"))

    def draw():
        return plots.dumbbell(plain, names, axis, language.number)

    widest = max(rows, key=lambda row: abs(row[2] - row[3]))
    texts = {"here": results.name, "other": other.name}
    title = say(f"scenarios.figure.title{kept}", **texts)
    caption = say(
        "scenarios.figure.caption", names=[r[0] for r in rows], name=widest[0], gap=widest[2] - widest[3], **texts
    )
    items = [say("scenarios.figure.item", name=label, here=here, other=there) for label, _, here, there in rows]
    alternative = Inline("; ".join(items) + ".")
    return Figure(name, title, caption, alternative, draw)
