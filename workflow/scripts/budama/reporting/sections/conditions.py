"""Under which conditions was measured, in full; and what a reader must be warned of."""

import json

from budama.reporting import tables
from budama.reporting.document import Callout, Code, Facts, Paragraph, Section
from budama.reporting.inline import Inline, data
from budama.reporting.sections.timing import why_not_comparable
from budama.reporting.view import Results


def sections(results: Results) -> list[Section]:
    """Ölçüm Koşulları: machine and versions, splits, the whole configuration."""
    say = results.language.say
    splits = tables.splits(results)
    found = [Section("conditions", say("conditions.title"), [])]
    found.append(Section("hardware", say("conditions.hardware"), _hardware(results), 3))
    if splits and not results.recorded:
        found.append(Section("splits", say("conditions.splits"), [splits], 3))
    text = json.dumps(results.content["configuration"], indent=2, ensure_ascii=False)
    blocks = [Code(say("conditions.configuration"), text)]
    return [*found, Section("full-configuration", say("conditions.configuration"), blocks, 3)]


def warnings(results: Results) -> list[Callout]:
    """The warnings in plain words; several of one kind in one."""
    say, found = results.language.say, []
    entries = results.content["warnings"]
    for code in dict.fromkeys(entry["code"] for entry in entries):
        own = [entry for entry in entries if entry["code"] == code]
        known = results.language.has(f"warnings.names.{code}")
        texts = list(dict.fromkeys(_warning(results, code, entry) for entry in own))
        title = say(f"warnings.names.{code}") if known else say("warnings.names.other")
        found.append(Callout(title, Inline(" ".join(texts))))
    return found


def _warning(results: Results, code: str, entry: dict) -> Inline:
    say = results.language.say
    values = {key: value for key, value in entry.items() if key != "code"}
    if code == "timings_not_comparable":
        return why_not_comparable(results)
    if code == "unavailable":
        row = next((row for row in results.unavailable if row["variant"] == entry["variant"]), None)
        name = results.short(row) if row else entry["variant"]
        return say("warnings.unavailable", name=name, reason=results.reason(entry["reason"]))
    if named := entry.get("variants"):
        values["variants"] = [results.with_ratio(row) for row in results.rows if row["variant"] in named]
    number = next((v for v in values.values() if isinstance(v, int | float) and not isinstance(v, bool)), None)
    if results.language.has(f"warnings.{code}"):
        return say(f"warnings.{code}", **({"count": number, "images": results.dataset["counts"]["test"]} | values))
    return say("warnings.other", code=code, values=values)


def _hardware(results: Results) -> list:
    say, language = results.language.say, results.language
    environment = dict(results.content["environment"])
    for package, version in (environment.pop("packages", None) or {}).items():
        environment[package] = version
    facts = []
    if results.recorded:
        facts.append((say("conditions.source"), data(results.recorded["source"])))
    for key, value in environment.items():
        if value in (None, "", [], {}) or key in ("date", "gpus"):
            continue
        label = say(f"conditions.environment.{key}") if language.has(f"conditions.environment.{key}") else data(key)
        shown = language.short(value, 1) if isinstance(value, float) else value
        facts.append((label, data(", ".join(map(str, shown)) if isinstance(shown, list) else shown)))
    if seeds := results.content["seeds"]:
        facts.append((say("conditions.seeds"), data(", ".join(map(str, seeds)))))
    if day := results.content["date"]:
        facts.append((say("conditions.date"), data(language.day(day))))
    blocks = [Facts(facts)] if facts else []
    return [Paragraph(say("conditions.recorded")), *blocks] if results.recorded else blocks
