"""Doğruluğun Ötesi: how far the probabilities can be believed, and which answers have changed."""

from __future__ import annotations

from budama import methods
from budama.reporting.document import Block, Bullets, Cell, Column, Figure, Paragraph, Section, Table, TableRow
from budama.reporting.figures import plots
from budama.reporting.figures.plots import Line
from budama.reporting.inline import Inline, data, to_plain
from budama.reporting.row import Answers, Baseline, Row, Trust
from budama.reporting.view import Results
from budama.significance.claims import EachModel

Shown = Row | Baseline
NOTHING = Cell(Inline("-"))
FEW = 0.01  # bins with a smaller share of the images are not drawn
UNEQUAL = 1.5  # the largest class's share, over that of equal classes, from which classes count as unequal
LEFT = 3  # classes that are named


def sections(results: Results) -> list[Section]:
    """Left out where nothing of it was measured."""
    say = results.language.say
    if not results.baseline["trust"]:
        return []
    lines = [*_calibration(results), *_changes(results), *_balance(results)]
    blocks: list[Block] = [Paragraph(say("beyond.intro")), _table(results)]
    blocks += [Bullets(lines)] if lines else []
    return [Section("beyond", say("beyond.title"), [*blocks, *_reliability(results)])]


def majority(results: Results) -> tuple[str, float] | None:
    """The class with the most test images and its share in percent; None where classes are about equal, or unknown."""
    images = results.dataset["class_images"]
    if not images or max(images) * len(images) < UNEQUAL * sum(images):
        return None
    names = results.dataset["class_names"] or [str(i) for i in range(len(images))]
    return names[images.index(max(images))], 100 * max(images) / sum(images)


def shown_rows(results: Results) -> list[tuple[Shown, Inline]]:
    """The original and the variants, with their names."""
    named: list[tuple[Shown, Inline]] = [(results.baseline, results.original())]
    if results.unpruned:
        named.append((results.unpruned, data(results.short(results.unpruned))))
    return named + [(row, data(results.with_ratio(row))) for row in results.rows]


def named(name: Inline) -> Cell:
    """The first cell of a row."""
    return Cell(Inline(f"**{name}**"), sort=to_plain(name))


def _table(results: Results) -> Table:
    say, baseline = results.language.say, results.baseline
    columns = [Column(say("comparison.columns.method"), False)]
    keys = ["nll", "ece", "sure", "changed", "to_wrong", "to_right"]
    unequal = majority(results) is not None
    if baseline["trust"] and baseline["trust"]["top5_percent"] is not None:
        keys.insert(0, "top5")
    if unequal:
        keys.insert(0, "balanced")
    if any(row["answers"] and row["answers"]["seeds_disagree_percent"] is not None for row in results.rows):
        keys.append("seeds")
    columns += [Column(say(f"beyond.columns.{key}")) for key in keys]
    rows = []
    for row, name in shown_rows(results):
        if trust := row["trust"]:
            cells = [
                Cell(Inline(f"**{name}**"), sort=to_plain(name)),
                *(_cell(results, row, trust, key) for key in keys),
            ]
            rows.append(TableRow(cells, "" if row["method"] else "baseline"))
    notes = [say("beyond.notes.ece")]
    if any(row["trust"] and row["trust"]["ece_of_seeds"] for row in results.rows):
        notes.append(say("beyond.notes.of_seeds"))
    notes.append(say("beyond.notes.changed"))
    if "seeds" in keys:
        notes.append(say("beyond.notes.seeds"))
    if unequal:
        notes.append(say("beyond.notes.balanced"))
    return Table("beyond", say("beyond.table"), columns, rows, notes)


def _cell(results: Results, row: Shown, trust: Trust, key: str) -> Cell:
    answers, number = row["answers"], results.language.number
    if key == "ece":
        return _ece(results, trust)
    values = {
        "top5": trust["top5_percent"],
        "balanced": row["balanced_accuracy_percent"],
        "nll": trust["nll"],
        "sure": _surplus(row, trust),
        "changed": answers and answers["changed_percent"],
        "to_wrong": answers and answers["right_to_wrong_percent"],
        "to_right": answers and answers["wrong_to_right_percent"],
        "seeds": answers and answers["seeds_disagree_percent"],
    }
    value = values[key]
    if value is None:
        return NOTHING
    text = results.language.signed(value) if key == "sure" else number(value, 3 if key == "nll" else 2)
    return Cell(data(text), sort=value)


def _ece(results: Results, trust: Trust) -> Cell:
    number, value = results.language.number, trust["ece_percent"]
    if value is None:
        return NOTHING
    shown = ""
    if ends := trust["ece_of_seeds"]:
        shown = f"{number(ends[0])} … {number(ends[1])}"
    elif ends := trust["ece_interval"]:
        shown = f"[{number(ends[0])}, {number(ends[1])}]"
    return Cell(data(number(value)), data(shown), value)


def _surplus(row: Shown, trust: Trust) -> float | None:
    """Mean confidence minus accuracy, in points: above 0 a model is surer than it is right."""
    accuracy, confidence = row["accuracy_percent"], trust["confidence_percent"]
    return None if accuracy is None or confidence is None else confidence - accuracy


def _calibration(results: Results) -> list[Inline]:
    say, lines = results.language.say, []
    own = results.baseline["trust"]
    if own and own["ece_percent"] is not None and own["ece_calibrated_at_most_percent"] is not None:
        surplus = _surplus(results.baseline, own) or 0.0
        values = {"ece": own["ece_percent"], "bound": own["ece_calibrated_at_most_percent"], "surplus": surplus}
        lines.append(say("beyond.original", above=values["ece"] > values["bound"], **values))
    claimed = [(row, claim) for row in results.rows if (trust := row["trust"]) and (claim := trust["claim"])]
    for key, sign in (("worse", 1), ("better", -1)):
        names = [results.with_ratio(row) for row, claim in claimed if differs(claim, sign)]
        if names:
            models = max(claim["models"] for _, claim in claimed)
            lines.append(say(f"beyond.{key}", names=names, models=models))
    if claimed and not any(claim["distinguishable"] for _, claim in claimed):
        lines.append(say("beyond.alike", total=len(claimed)))
    return lines


def price(results: Results, rows: list[Row]) -> list[Inline]:
    """For the summary: which of `rows` have less reliable probabilities than the original, where that was shown."""
    known = [(row, trust, ece) for row in rows if (trust := row["trust"]) and (ece := trust["ece_percent"]) is not None]
    lost = [(row, ece) for row, trust, ece in known if (claim := trust["claim"]) and differs(claim, 1)]
    own = results.baseline["trust"]
    if not lost or not own or own["ece_percent"] is None:
        return []
    errors = [ece for _, ece in lost]
    values = {"names": [results.short(row) for row, _ in lost], "low": min(errors), "high": max(errors)}
    values |= {"every": len(lost) == len(rows), "total": len(rows), "before": own["ece_percent"]}
    return [results.language.say("beyond.price.worse", **values)]


def differs(claim: EachModel, sign: int) -> bool:
    """Whether a claimed change has this sign."""
    return claim["distinguishable"] and sign * claim["change_points"] > 0


def _changes(results: Results) -> list[Inline]:
    """Of each ratio's most accurate variant: how many answers changed, beside what a further training changes."""
    say, lines = results.language.say, []
    for ratio in results.ratios:
        rows = [row for row in results.ordered(ratio) if not methods.find(row["method"]).control]
        if rows and (answers := rows[0]["answers"]):
            name, change = results.with_ratio(rows[0]), rows[0]["accuracy_change_points"]
            lines.append(say("beyond.answers", name=name, change=change, seeds=None, **_percents(answers)))
            if answers["seeds_disagree_percent"] is not None:
                lines[-1] = Inline(f"{lines[-1]} {say('beyond.churn', seeds=answers['seeds_disagree_percent'])}")
            if left := _left(results, answers):
                lines[-1] = Inline(f"{lines[-1]} {left}")
    return lines


def _percents(answers: Answers) -> dict[str, float]:
    keys = {"changed": "changed_percent", "to_wrong": "right_to_wrong_percent", "to_right": "wrong_to_right_percent"}
    return {key: answers[place] for key, place in keys.items()}  # type: ignore[literal-required]


def _left(results: Results, answers: Answers) -> Inline | None:
    """The classes that the largest shares of their images left."""
    names = results.dataset["class_names"]
    if not names or not answers["left"]:
        return None
    shares = [(names[one["class_index"]], 100 * one["images"] / one["of"]) for one in answers["left"][:LEFT]]
    items = [to_plain(results.language.say("beyond.left_item", name=name, share=share)) for name, share in shares]
    return results.language.say("beyond.left", items=items)


def _balance(results: Results) -> list[Inline]:
    found = majority(results)
    if not found or results.baseline["balanced_accuracy_percent"] is None:
        return []
    name, share = found
    values = {
        "accuracy": results.baseline["accuracy_percent"],
        "balanced": results.baseline["balanced_accuracy_percent"],
    }
    return [results.language.say("beyond.unequal", name=name, share=share, **values)]


def _reliability(results: Results) -> list[Figure]:
    """Confidence minus accuracy by confidence: 0 is a calibrated model. First models; bins of few images left out."""
    say, language = results.language.say, results.language
    panels, items, original = [], [], _line(results, results.baseline, to_plain(say("names.baseline")))
    for ratio in results.ratios:
        found = [_line(results, row, to_plain(data(results.short(row)))) for row in results.at(ratio)]
        lines = [line for line in [original, *found] if line and len(line.x) > 1]
        if len(lines) > 1:
            title = to_plain(language.share(ratio)) if results.grid and ratio is not None else ""
            panels.append((title, lines))
    if not panels:
        return []
    for title, lines in panels:
        for line in lines:
            worst = max(line.y)
            items.append(say("beyond.reliability.item", name=f"{line.label} {title}".strip(), worst=worst))
    axes = [to_plain(say(f"beyond.reliability.{key}")) for key in ("x", "y", "perfect")]

    def draw():
        return plots.lines(panels, axes[0], axes[1], language.number, reference=(0.0, axes[2]))

    alternative = Inline("; ".join(items) + ".")
    title, caption = say("beyond.reliability.title"), say("beyond.reliability.caption")
    return [Figure("reliability", title, caption, alternative, draw)]


def _line(results: Results, row: Shown, label: str) -> Line | None:
    bins = row["trust"]["reliability"] if row["trust"] else None
    if not bins:
        return None
    images = sum(one["images"] for one in bins)
    kept = [one for one in bins if one["images"] >= max(FEW * images, 5)]
    gaps = [one["confidence_percent"] - one["accuracy_percent"] for one in kept]
    return Line(label, row["method"], [one["confidence_percent"] for one in kept], gaps)
