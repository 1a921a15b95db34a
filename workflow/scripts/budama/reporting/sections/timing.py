"""What may be said about times: which methods are faster, and why recorded times may say nothing."""

from typing import Any

from budama import methods
from budama.reporting.inline import Inline
from budama.reporting.row import Row
from budama.reporting.view import Results

SLOW = 3.0  # times the baseline's time: no pruning makes a model that slow; something else was on it


def direction(value: float) -> str:
    """rose, fell or equal."""
    rounded = round(value, 4)
    return "rose" if rounded > 0 else "fell" if rounded < 0 else "equal"


def fastest(results: Results, rows: list[Row]) -> list[Row]:
    """The row with the shortest time and those that cannot be told apart from it: their intervals overlap."""
    timed = [(row, interval) for row in rows if (interval := results.time_interval(row))]
    timed.sort(key=lambda entry: results.time_change(entry[0]))
    return [row for row, (low, _) in timed if low <= timed[0][1][1]]


def twins(rows: list[Row]) -> bool:
    """Whether several rows are one structure, which was timed once for all of them."""
    timed = [latency for row in rows if (latency := row["latency"])]
    return len(timed) == len(rows) > 1 and len({(one["median_ms"], one["ratio"]) for one in timed}) == 1


def near_control(results: Results, rows: list[Row]) -> list[Inline]:
    """Which rows' intervals leave 1 out and yet count as equal, since they meet the A/A control's."""
    control = results.control()
    near = [
        row
        for row in rows
        if (interval := results.time_interval(row))
        and not interval[0] <= 1 <= interval[1]
        and results.timing(row) == "equal"
    ]
    if not near or not control:
        return []
    low, high = control["interval"]
    return [results.language.say("latency.near", names=[results.with_ratio(row) for row in near], low=low, high=high)]


def throughput(results: Results, rows: list[Row]) -> list[Inline]:
    """Images per second of the larger batch against the original's: which gained, lost, or cannot be told apart."""
    say, before = results.language.say, results.baseline["throughput"]
    measured = [(row, many) for row in rows if (many := row["throughput"])]
    if not before or not measured or not results.timings_comparable():
        return []
    found: dict[str, list[tuple[Row, float]]] = {"rose": [], "fell": [], "equal": []}
    for row, many in measured:
        low, high = many["ratio_interval"] or (many["ratio"], many["ratio"])
        time = results.beyond_control(1 / high, 1 / low)  # the rule is one of times
        found[{"fell": "rose", "rose": "fell"}.get(time, time)].append((row, 100 * (many["ratio"] - 1)))
    parts = [
        say(
            f"summary.throughput.{kind}",
            names=[results.short(row) for row, _ in own],
            every=len(own) == len(measured) > 1,
            low=min(change for _, change in own),
            high=max(change for _, change in own),
        )
        for kind, own in found.items()
        if own
    ]
    start = say("summary.throughput.start", batch=before["batch_size"], before=before["images_per_second"])
    return [Inline(f"{start} {'; '.join(parts)}.")]


def why_not_comparable(results: Results) -> Inline:
    """In words: the evidence in the numbers that the recorded times are not the models', and the known cause."""
    return results.language.say("warnings.timings_not_comparable", **evidence(results))


def evidence(results: Results) -> dict[str, Any]:
    """`equal`: models of one size and one count of operations differ by `factor`; `slow`: the methods whose hooks were
    still on, told by their being the only slow ones."""
    before = results.baseline["latency_ms"]
    timed = [(row, time) for row in results.rows if (time := row["latency_ms"])]
    equals = [
        (slower / faster, faster, slower)
        for a, faster in timed
        for b, slower in timed
        if a["size_mib"] and (a["size_mib"], a["gmacs"]) == (b["size_mib"], b["gmacs"])
    ]
    factor, low, high = max(equals, default=(0.0, 0.0, 0.0), key=lambda pair: pair[0])
    equal = {"low": low, "high": high, "factor": int(factor)} if factor >= SLOW else {}
    slow = [row for row, time in timed if before and time > SLOW * before]
    hooks = all(methods.find(row["method"]).needs == "activations" for row in slow)  # they hook the model to see them
    hooked = [results.short(row) for row in slow] if hooks else []
    return {"equal": bool(equal), "slow": hooked, **equal}
