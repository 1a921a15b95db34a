"""The leaderboard: rows of all scenarios and of published tables, by model and data, as a page shows them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

from budama import methods
from budama.reporting.entries import Entry
from budama.reporting.inline import Inline, data, to_plain
from budama.reporting.language import Language
from budama.reporting.view import Results
from budama.significance import differences

KINDS = ("measured", "recorded", "published")
Pair = tuple[int, int]  # places of two rows, the first before the second
COSTS = ("macs", "gmacs", "parameters", "size", "time")  # the axis of the figure; macs are relative to the original


class Cell(NamedTuple):
    """A value to sort by (None stays at the end), what is shown, and a smaller second line."""

    sort: float | str | None
    text: Inline
    detail: Inline | str = ""


def board(entries: Sequence[Entry], found: Sequence[Results], links: dict[str, str], language: Language) -> dict:
    """What the template shows: `groups`, `rows` and how many `kinds` of them, and `data`, JSON for the script, which is
    safe inside a page.

    Args:
        found: the results that measured and recorded entries are of; what their reports say of pairs is said here, too.
        links: scenario → its report.
    """
    ordered = sorted(entries, key=lambda one: -one["accuracy_percent"])
    groups = _groups(ordered)
    place = {one["key"]: number for number, one in enumerate(groups)}
    shown = [_Shown(one, language) for one in ordered]
    rows = [
        {"group": place[one["group"]], "kind": one["kind"], "link": links.get(one["scenario"]), "cells": cells.cells()}
        for one, cells in zip(ordered, shown)
    ]
    content = {
        "groups": [one["label"] for one in groups],
        "rows": [cells.numbers(place[one["group"]]) for one, cells in zip(ordered, shown)],
        "pairs": _pairs(ordered, found),
        "locale": "en" if language.decimal == "." else "tr",
    }
    words = _in_page({key: str(value) for key, value in (language.entry("board.words") or {}).items()})
    kinds = len({one["kind"] for one in ordered})
    return {
        "groups": groups, "rows": rows, "kinds": kinds, "data": _in_page(content), "words": words, "costs": COSTS,
    }  # fmt: skip


class _Shown:
    """One entry in a language."""

    def __init__(self, entry: Entry, language: Language):
        self.entry, self.language = entry, language

    def method(self) -> str:
        if self.entry["method"] is None:
            return to_plain(self.language.say("board.original"))
        for form in ("label", "short"):
            if text := self.language.entry(f"methods.{self.entry['method']}.{form}"):
                return str(text)
        return self.entry["method"]

    def cells(self) -> dict[str, Cell]:
        """The columns of the table, by name."""
        entry, language = self.entry, self.language
        seeds, change, ratio = len(entry["seed_accuracies_percent"]), entry["accuracy_change_points"], entry["ratio"]
        accuracy = language.number(entry["accuracy_percent"])
        return {
            "method": Cell(self.method(), data(self.method())),
            "scenario": Cell(entry["title"], data(entry["title"])),
            "ratio": Cell(ratio, data(language.share(ratio) if ratio else "-")),
            "settings": Cell(self._settings(), data(self._settings() or "-")),
            "epochs": self._number(entry["settings"].get("epochs"), lambda value: language.number(value, 0)),
            "seeds": self._number(seeds or None, lambda value: language.number(value, 0)),
            "accuracy": Cell(entry["accuracy_percent"], data(accuracy), self._interval(entry["accuracy_interval"])),
            "change": self._number(change, language.signed),
            "macs": self._cost("gmacs", "gmacs_change_percent", 1),
            "parameters": self._cost("parameters", "parameters_change_percent", 1e-6),
            "size": self._cost("size_mib", "size_change_percent", 1),
            "time": self._time(),
            "runtime": Cell(self._runtime(), data(self._runtime() or "-")),
            "remarks": Cell(self._remarks(), data(self._remarks() or "-")),
        }

    def numbers(self, group: int) -> dict[str, Any]:
        """What the script reckons with."""
        entry = self.entry
        change, method = entry["gmacs_change_percent"], entry["method"]
        return {
            "group": group,
            "kind": entry["kind"],
            "method": self.method(),
            "original": method is None,
            "control": method is not None and methods.find(method).control,
            "colour": None if method is None else _colour(method),
            "scenario": entry["title"],
            "ratio": self.language.share(entry["ratio"]) if entry["ratio"] else None,
            "accuracy": entry["accuracy_percent"],
            "change": entry["accuracy_change_points"],
            "images": entry["test_images"],
            "macs": None if change is None else 100 + change,
            "gmacs": entry["gmacs"],
            "parameters": None if entry["parameters"] is None else entry["parameters"] / 1e6,
            "size": entry["size_mib"],
            "time": entry["latency_ratio"],
            "machine": entry["machine"],
            "search": to_plain(data(" ".join(filter(None, [self.method(), entry["scenario"], entry["title"]])))),
        }

    def _number(self, value: float | None, show) -> Cell:
        return Cell(None, data("-")) if value is None else Cell(value, data(show(value)))

    def _interval(self, ends: list[float] | None, decimals: int = 2) -> str:
        if not ends:
            return ""
        low, high = (self.language.number(end, decimals) for end in ends)
        return f"[{low}{'; ' if self.language.decimal == ',' else ', '}{high}]"

    def _cost(self, key: str, change_key: str, factor: float) -> Cell:
        value, change = self.entry[key], self.entry[change_key]  # type: ignore[literal-required]
        told = self.language.change(change) if change is not None and self.entry["method"] else ""
        if value is None:
            return Cell(None, data(told or "-"))
        number = self.language.number(value * factor, _decimals(value * factor))
        return Cell(value * factor, data(number), told)

    def _time(self) -> Cell:
        ratio = self.entry["latency_ratio"]
        if ratio is None:
            return Cell(None, data("-"))
        return Cell(ratio, data(self.language.number(ratio)), self._interval(self.entry["latency_ratio_interval"]))

    def _settings(self) -> str:
        """The scope and what departs from the usual."""
        settings, said = self.entry["settings"], []
        if scope := settings.get("scope"):
            said.append(str(self.language.entry(f"names.scopes.{scope}") or scope))
        if settings.get("match") not in (None, "channels"):
            said.append(str(self.language.entry(f"names.matches.{settings['match']}") or settings["match"]))
        said += [f"{key} {settings[key]}" for key in ("steps", "cycles") if settings.get(key, 1) != 1]
        said += [f"{key} {settings[key]}" for key in ("compensate", "round_to") if settings.get(key, "off") != "off"]
        said += [f"{pattern}: {ratio:g}" for pattern, ratio in settings.get("layers", {}).items()]
        return ", ".join(said)

    def _runtime(self) -> str:
        return " · ".join(filter(None, [self.entry["runtime"], self.entry["precision"], self.entry["machine"]]))

    def _remarks(self) -> str:
        said = [
            to_plain(self.language.say(f"board.remarks.{key}", value=value))
            for key, value in self.entry["remarks"].items()
        ]
        return "; ".join(said)


def _decimals(value: float) -> int:
    """Two, and for what is below a tenth so many that three digits tell small models apart."""
    return 2 if value >= 0.1 else 2 - math.floor(math.log10(value))


def _groups(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Pairs of model and data set: those that were measured here first, then those with the most rows."""
    keys = dict.fromkeys(one["group"] for one in entries)
    groups = []
    for key in keys:
        own = [one for one in entries if one["group"] == key]
        best = min(own, key=lambda one: KINDS.index(one["kind"]))
        groups.append({
            "key": key,
            "label": f"{best['model']}, {best['dataset']}",
            "rows": len(own),
            "kind": best["kind"],
        })  # fmt: skip
    return sorted(groups, key=lambda one: (KINDS.index(one["kind"]), -one["rows"], one["label"]))


def _pairs(entries: Sequence[Entry], found: Sequence[Results]) -> dict[str, list]:
    """What is known of pairs of rows, by their places (i before j): `told`, the claims of reports, [i, j, apart]; and
    `p`, of variants of several seeds each that ran apart, [i, j, p], not corrected."""
    at = {(one["scenario"], one["variant"]): number for number, one in enumerate(entries)}
    told: dict[Pair, bool] = {}
    for results in found:
        name, against = results.scenario, results.content["against_original"]
        pairs = [(one["a"], one["b"], one["distinguishable"]) for one in results.content["comparisons"]]
        for a, b, apart in [*pairs, *(("baseline", one["variant"], one["distinguishable"]) for one in against)]:
            if (name, a) in at and (name, b) in at and apart is not None:
                i, j = sorted((at[name, a], at[name, b]))
                told[i, j] = apart
    seeded = [i for i, one in enumerate(entries) if len(one["seed_accuracies_percent"]) > 1]
    asked = [
        (i, j) for i, j in combinations(seeded, 2) if (i, j) not in told and entries[i]["group"] == entries[j]["group"]
    ]
    p = {**_p_apart(entries, seeded, asked), **_p_across(entries, asked, found)}
    return {
        "told": [[i, j, int(apart)] for (i, j), apart in told.items()],
        "p": [[i, j, float(f"{p[i, j]:.4g}")] for i, j in asked],
    }


def _p_apart(entries: Sequence[Entry], seeded: Sequence[int], asked: Sequence[Pair]) -> dict[Pair, float]:
    """The p of variants of different ratios or scenarios, by their accuracies alone."""
    runs: dict[str, dict[int, list[float]]] = {}
    for i in seeded:
        runs.setdefault(entries[i]["scenario"], {})[i] = list(entries[i]["seed_accuracies_percent"].values())
    p = {}
    for i, j in asked:
        a, b = entries[i], entries[j]
        own, other = runs[a["scenario"]], runs[b["scenario"]]
        beside = [run for k, run in own.items() if k not in (i, j)] if own is other else []
        images = min(a["test_images"] or 0, b["test_images"] or 0)
        p[i, j] = differences.p_apart(own[i], other[j], images, beside)
    return p


def _p_across(entries: Sequence[Entry], asked: Sequence[Pair], found: Sequence[Results]) -> dict[Pair, float]:
    """The p of variants of two scenarios that were scored on the same test images, which are paired."""
    splits = {one.scenario: one.dataset["test_split"] for one in found}
    by_scenarios: dict[tuple[str, str], list[Pair]] = {}
    for i, j in asked:
        a, b = entries[i]["scenario"], entries[j]["scenario"]
        if a != b and splits.get(a) and splits.get(a) == splits.get(b):
            by_scenarios.setdefault((a, b), []).append((i, j))
    candidates = {one.scenario: one.candidates() for one in found if any(one.scenario in key for key in by_scenarios)}
    p: dict[Pair, float] = {}
    for (a, b), pairs in by_scenarios.items():
        here, there = candidates[a], candidates[b]
        own = [(here[entries[i]["variant"] or ""], there[entries[j]["variant"] or ""]) for i, j in pairs]
        p.update(zip(pairs, differences.p_across(own, list(here.values()), list(there.values()))))
    return p


def _colour(method: str) -> int:
    """The number of a method's colour in the page's palette: those of the table come first, then the spare ones."""
    known = [*methods.METHODS.values()]
    row = methods.find(method)
    return known.index(row) if row in known else len(known) + methods.SPARE.index((row.colour, row.marker))


def _in_page(content: dict[str, Any]) -> str:
    """JSON that ends no script element and starts none."""
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
