"""What the page over all scenarios shows of each."""

import re
from pathlib import Path
from urllib.parse import quote

from budama.reporting.inline import data, to_plain
from budama.reporting.render import NAME
from budama.reporting.view import Results


def entries(found: list[Results], folder: Path) -> list[dict]:
    """A row for every scenario, by name as people count (TS2 before TS10); links to those forms that lie in
    `folder`."""
    return [_entry(results, folder) for results in sorted(found, key=lambda results: _natural(results.name))]


def _natural(name: str) -> list:
    return [(int(part), "") if part.isdigit() else (0, part.casefold()) for part in re.split(r"(\d+)", name)]


def _entry(results: Results, folder: Path) -> dict:
    language = results.language
    ratios = [ratio for ratio in results.ratios if ratio is not None]
    ratio = results.ratios[0]
    first = results.ranking(ratio)[0]["rows"] if results.at(ratio) else []
    lead = first[0] if first else None
    size, flops = ([results.change(row, key) for row in results.rows] for key in ("size_mib", "gmacs"))
    scope = results.pruning.get("scope")
    return {
        "name": data(results.name),
        "title": data(results.scenario if results.scenario != results.name else ""),
        "recorded": bool(results.recorded),
        "links": _links(results.scenario, folder),
        "model": data(results.model.get("title") or "-"),
        "dataset": data(results.dataset.get("title") or "-"),
        "ratio": (ratios[0] if ratios else None, data(", ".join(language.share(r) for r in ratios) or "-")),
        "scope": language.say(f"names.scopes.{scope}") if scope else data("-"),
        "epochs": _number(results.finetune.get("epochs"), lambda v: language.number(v, 0)),
        "baseline": _number(results.baseline.get("accuracy_percent"), language.number),
        "leader": language.join([results.with_ratio(row) for row in first], "or") if first else data("-"),
        "accuracy": _number(lead and lead["accuracy_percent"], language.number),
        "kept": _number(lead and results.retention(lead), language.percent),
        "size": _range(size, language.change),
        "flops": _range(flops, language.change),
        "date": (
            str(results.content.get("date") or ""),
            data(language.day(results.content.get("date"), "medium") or "-"),
        ),
        "search": to_plain(data(" ".join([results.scenario, results.name, *_words(results)]))),
    }


def _words(results: Results) -> list[str]:
    methods = [results.full(method) for method in dict.fromkeys(row["method"] for row in results.variants)]
    return [str(results.model.get("title")), str(results.dataset.get("title")), *methods]


def _links(scenario: str, folder: Path) -> list[tuple[str, str]]:
    found = [(form, folder / scenario / f"{NAME}.{form}") for form in ("html", "pdf", "md")]
    shown = [(form, f"{quote(scenario)}/{path.name}") for form, path in found if path.exists()]
    return shown or [("html", f"{quote(scenario)}/{NAME}.html")]


def _number(value: float | None, show):
    return (None, data("-")) if value is None else (value, data(show(value)))


def _range(values: list[float | None], show):
    known = sorted(value for value in values if value is not None)
    if not known:
        return None, data("-")
    low, high = show(known[0]), show(known[-1])
    return known[0], data(low if low == high else f"{low} … {high}")
