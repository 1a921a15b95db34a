"""`match: latency` in the report: time that was asked for, predicted by the table of layers' times, and measured."""

from budama.reporting.document import Cell, Column, Table, TableRow
from budama.reporting.inline import Inline, data
from budama.reporting.matched_time import Matched
from budama.reporting.view import Results

KEYS = ("asked", "predicted", "achieved", "noise", "control", "trials")


def table(results: Results) -> Table | None:
    """A row a variant; None where the time was not what a scenario matched."""
    say = results.language.say
    matched = [(row, time) for row in results.rows if (time := row["time"])]
    if not matched:
        return None
    columns = [
        Column(say("comparison.columns.method"), False),
        *(Column(say(f"matched.columns.{key}")) for key in KEYS),
    ]
    rows = [TableRow(_cells(results, results.with_ratio(row), time)) for row, time in matched]
    first = matched[0][1]
    notes = [say("matched.how", batch=first["batch_size"], precision=first["precision"], threads=first["threads"])]
    if missed := [results.with_ratio(row) for row, time in matched if not time["met"]]:
        notes.append(say("matched.missed", names=missed))
    return Table("matched", say("matched.table"), columns, rows, notes)


def _cells(results: Results, name: str, time: Matched) -> list[Cell]:
    language, (low, high) = results.language, time["achieved_interval"]
    percents = [
        Cell(data(language.percent(time[key])), sort=time[key]) for key in ("asked_percent", "predicted_percent")
    ]
    achieved = language.say("matched.value", value=time["achieved_percent"], low=low, high=high)
    return [
        Cell(Inline(f"**{data(name)}**"), sort=name),
        *percents,
        Cell(achieved, sort=time["achieved_percent"]),
        Cell(data(f"±{language.number(time['noise_points'], 1)}"), sort=time["noise_points"]),
        Cell(data(language.number(time["aa"]["ratio"], 3)), sort=time["aa"]["ratio"]),
        Cell(data(language.number(time["timed"], 0)), sort=time["timed"]),
    ]
