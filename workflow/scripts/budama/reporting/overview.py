"""What the page over all scenarios shows of each."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from budama.reporting.inline import Inline, data, to_plain
from budama.reporting.render import NAME
from budama.reporting.view import Results, judged


def entries(found: list[Results], folder: Path) -> list[dict]:
    """A row for every ratio of every scenario, by name as people count (TS2 before TS10), then by ratio: each has its
    best. Links to those forms of the report that lie in `folder`."""
    ordered = sorted(found, key=lambda results: _natural(results.name))
    return [_entry(results, ratio, folder) for results in ordered for ratio in results.ratios]


def _natural(name: str) -> list:
    return [(int(part), "") if part.isdigit() else (0, part.casefold()) for part in re.split(r"(\d+)", name)]


def _entry(results: Results, ratio: float | None, folder: Path) -> dict:
    language, rows = results.language, results.at(ratio)
    first = judged(results.ranking(ratio)[0]["rows"] if rows else [])
    lead = first[0] if first else None
    scope, date = results.pruning["scope"], results.content["date"]
    return {
        "scenario": data(results.scenario),
        "name": data(results.name),
        "title": data(results.scenario if results.scenario != results.name else ""),
        "recorded": bool(results.recorded),
        "links": _links(results.scenario, folder),
        "model": data(results.model["title"]),
        "dataset": data(results.dataset["title"]),
        "ratio": _number(ratio, language.share),
        "scope": language.say(f"names.scopes.{scope}") if scope else data("-"),
        "epochs": _number(results.finetune["epochs"], lambda v: language.number(v, 0)),
        "baseline": _number(results.baseline["accuracy_percent"], language.number),
        "leader": language.join([results.short(row) for row in first], "or") if first else data("-"),
        "accuracy": _number(lead["accuracy_percent"] if lead else None, language.number),
        "change": _number(lead["accuracy_change_points"] if lead else None, language.signed),
        "size": _range(results.changes(rows, "size_mib"), language.change),
        "flops": _range(results.changes(rows, "gmacs"), language.change),
        "date": (date or "", data(language.day(date, "medium") or "-")),
        "search": to_plain(data(" ".join([results.scenario, results.name, *_words(results)]))),
    }


def _words(results: Results) -> list[str]:
    methods = [results.full(method) for method in dict.fromkeys(row["method"] for row in results.variants)]
    return [results.model["title"], results.dataset["title"], *methods]


def link(scenario: str, folder: Path) -> str:
    """The way from a page in `folder` to a scenario's report."""
    return _links(scenario, folder)[0][1]


def _links(scenario: str, folder: Path) -> list[tuple[str, str]]:
    found = [(form, folder / scenario / f"{NAME}.{form}") for form in ("html", "pdf", "md")]
    shown = [(form, f"{quote(scenario)}/{path.name}") for form, path in found if path.exists()]
    return shown or [("html", f"{quote(scenario)}/{NAME}.html")]


def _number(value: float | None, show: Callable[[float], str]) -> tuple[float | None, Inline]:
    return (None, data("-")) if value is None else (value, data(show(value)))


def _range(values: list[float], show: Callable[[float], str]) -> tuple[float | None, Inline]:
    if not values:
        return None, data("-")
    low, high = show(min(values)), show(max(values))
    return min(values), data(low if low == high else f"{low} … {high}")
