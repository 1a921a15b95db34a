"""What the report says: a module a topic, each turning results into sections whose every sentence is true of the
numbers."""

import re
from collections.abc import Iterator
from dataclasses import replace

from budama.reporting.document import Block, Document, Figure, Section
from budama.reporting.inline import Inline, data
from budama.reporting.sections import (
    beyond,
    classes,
    comparison,
    conditions,
    configuration,
    confusion,
    corruptions,
    deployment,
    observations,
    rates,
    scenarios,
    sensitivity,
    speed,
    summary,
    training,
)
from budama.reporting.view import Results


def build(results: Results, others: list[Results], latency_limit_ms: float | None = None) -> Document:
    """The whole report in the reference report's order, then what lies beneath it. `others` are compared with, in
    order. `latency_limit_ms`: below which the most accurate model is asked for."""
    say, every = results.language.say, [results, *others]
    if len({one.name for one in every}) < len(every):
        for one in every:
            one.by_name = True
    sections = [
        *configuration.sections(results),
        *comparison.sections(results),
        *observations.sections(results, others),
        *_compared(results, others),
        *training.sections(results),
        *sensitivity.sections(results),
        *rates.sections(results),
        *speed.sections(results),
        *deployment.sections(results, latency_limit_ms),
        *classes.sections(results),
        *confusion.sections(results),
        *beyond.sections(results),
        *corruptions.sections(results),
        *comparison.pairs(results),
        *conditions.sections(results),
    ]
    facts = [data(value) for value in (results.model["title"], results.dataset["title"])]
    if results.recorded:
        facts.append(say("document.recorded"))
    if day := results.content["date"]:
        facts.append(data(results.language.day(day)))
    return Document(
        language=results.language.code,
        title=say("document.title", name=results.name),
        subtitle=data(results.scenario) if results.name != results.scenario else Inline(""),
        facts=facts,
        summary=[*summary.blocks(results), *conditions.warnings(results)],
        sections=_numbered(sections),
        date=results.content["date"] or "",
    )


def _compared(results: Results, others: list[Results]) -> Iterator[Section]:
    """A section for each other scenario, under a name of its own that is fit for a file."""
    used: set[str] = set()
    for other in others:
        name = "with-" + (re.sub(r"[^a-z0-9]+", "-", other.name.lower()).strip("-") or "other")
        name = next(n for n in (name, *(f"{name}-{i}" for i in range(2, len(others) + 2))) if n not in used)
        yield scenarios.section(results, other, name, first=not used)
        used.add(name)


def _numbered(sections: list[Section]) -> list[Section]:
    """Figures numbered through the report, in order."""
    numbers = iter(range(1, 1000))

    def numbered(block: Block) -> Block:
        return replace(block, number=next(numbers)) if isinstance(block, Figure) else block

    return [replace(section, blocks=[numbered(block) for block in section.blocks]) for section in sections]
