"""What may be said about times: which methods are faster, and why recorded times may say nothing."""

from budama import methods
from budama.reporting.inline import Inline
from budama.reporting.view import Results

SLOW = 3.0  # times the baseline's time: no pruning makes a model that slow; something else was on it


def direction(value: float) -> str:
    """rose, fell or equal."""
    rounded = round(value, 4)
    return "rose" if rounded > 0 else "fell" if rounded < 0 else "equal"


def fastest(results: Results, rows: list[dict]) -> list[dict]:
    """The row with the shortest time and those that cannot be told apart from it: their intervals overlap."""
    timed = sorted((row for row in rows if results.time_interval(row)), key=results.time_change)
    if not timed:
        return []
    bound = results.time_interval(timed[0])[1]
    return [row for row in timed if results.time_interval(row)[0] <= bound]


def why_not_comparable(results: Results) -> Inline:
    """In words: the evidence in the numbers that the recorded times are not the models', and the known cause."""
    return results.language.say("warnings.timings_not_comparable", **evidence(results))


def evidence(results: Results) -> dict:
    """`equal`: models of one size and one count of operations differ by `factor`; `slow`: the methods whose hooks were
    still on, told by their being the only slow ones."""
    before = results.baseline.get("latency_ms")
    timed = [row for row in results.rows if row.get("latency_ms")]
    best: tuple[float, dict, dict] | None = None
    for a in timed:
        for b in timed:
            if (a.get("size_mib"), a.get("gmacs")) == (b.get("size_mib"), b.get("gmacs")) and a.get("size_mib"):
                factor = b["latency_ms"] / a["latency_ms"]
                if best is None or factor > best[0]:
                    best = factor, a, b
    equal = best is not None and best[0] >= SLOW
    slow = [row for row in timed if before and row["latency_ms"] > SLOW * before]
    hooks = all(methods.find(row["method"]).needs == "activations" for row in slow)  # they hook the model to see them
    hooked = [results.short(row) for row in slow] if hooks else []
    values = {"low": best[1]["latency_ms"], "high": best[2]["latency_ms"], "factor": int(best[0])} if equal else {}
    return {"equal": equal, "slow": hooked, **values}
