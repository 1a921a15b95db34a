"""A scenario's results as sections and figures read them: what is missing is None, and names have their titles."""

import re
from functools import cached_property
from pathlib import Path

from budama import files
from budama.errors import BudamaError
from budama.reporting.inline import Inline
from budama.reporting.language import Language


class Results:
    """One results.json in a language."""

    def __init__(self, content: dict, language: Language):
        self.content, self.language = content, language
        self.scenario = str(content["scenario"])
        self.by_name = False
        self.baseline: dict = content["baseline"]
        self.variants: list[dict] = content["variants"]
        self.pruning: dict = content.get("pruning") or {}
        self.finetune: dict = content.get("finetune") or {}
        self.dataset: dict = content.get("dataset") or {}
        self.model: dict = content.get("model") or {}
        self.recorded: dict | None = content.get("recorded")

    @classmethod
    def read(cls, path: str | Path, language: Language) -> "Results":
        """The results in a file. Raises BudamaError where it is none."""
        content = files.read_json(path)
        missing = [
            key for key in ("scenario", "baseline", "variants") if not isinstance(content, dict) or key not in content
        ]
        if missing:
            raise BudamaError(f"{path}: has no {missing[0]}; it must be a results.json that the aggregate stage wrote")
        return cls(content, language)

    # Rows -------------------------------------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> list[dict]:
        """The variants that were measured."""
        return [
            row for row in self.variants if row.get("status", "ok") == "ok" and row.get("accuracy_percent") is not None
        ]

    @cached_property
    def unavailable(self) -> list[dict]:
        """The variants that were not."""
        return [row for row in self.variants if row not in self.rows]

    @cached_property
    def ratios(self) -> list[float | None]:
        """The ratios of a grid in ascending order; one where there is no grid."""
        return sorted({row.get("ratio") for row in self.variants}, key=lambda ratio: ratio or 0) or [None]

    @property
    def grid(self) -> bool:
        """Whether the scenario has several ratios."""
        return len(self.ratios) > 1

    def at(self, ratio: float | None) -> list[dict]:
        """The measured rows of one ratio, in the scenario's order."""
        return [row for row in self.rows if row.get("ratio") == ratio]

    def ordered(self, ratio: float | None) -> list[dict]:
        """The same, highest accuracy first."""
        return sorted(self.at(ratio), key=lambda row: -row["accuracy_percent"])

    def row(self, variant: str) -> dict | None:
        """The row of a variant."""
        return next((row for row in self.rows if row["variant"] == variant), None)

    def timings_comparable(self) -> bool:
        """Whether latencies may be compared at all."""
        return not any(
            warning.get("code") == "timings_not_comparable" for warning in self.content.get("warnings") or []
        )

    # Quantities -------------------------------------------------------------------------------------------------------

    @cached_property
    def size_unit(self) -> str:
        """MiB, or KiB for a model that MiB with two decimals could not tell."""
        return "KiB" if (self.baseline.get("size_mib") or 1) < 0.1 else "MiB"

    @cached_property
    def flops_unit(self) -> str:
        """G, or M for a model below 0.1 G."""
        return "M" if (self.baseline.get("gmacs") or 1) < 0.1 else "G"

    def size(self, mib: float, unit: bool = True) -> str:
        """A size in `size_unit`."""
        text = self.language.number(mib * (1024 if self.size_unit == "KiB" else 1))
        return f"{text} {self.size_unit}" if unit else text

    def flops(self, gmacs: float, unit: bool = True) -> str:
        """Multiply–accumulate operations in `flops_unit`."""
        text = self.language.number(gmacs * (1000 if self.flops_unit == "M" else 1))
        return f"{text} {self.flops_unit}" if unit else text

    def count(self, value: int) -> str:
        """A whole number, its thousands grouped."""
        return self.language.number(value, 0)

    def change(self, row: dict, key: str) -> float | None:
        """A row's change of `size_mib`, `gmacs`, `parameters` or `latency_ms` against the baseline, in percent."""
        stem = {"size_mib": "size", "gmacs": "gmacs", "parameters": "parameters"}.get(key)
        if stem and row.get(f"{stem}_change_percent") is not None:
            return row[f"{stem}_change_percent"]
        value, before = row.get(key), self.baseline.get(key)
        return 100 * (value / before - 1) if value is not None and before else None

    def retention(self, row: dict) -> float | None:
        """The share of the baseline's accuracy that a row keeps, in percent."""
        if row.get("retention_percent") is not None:
            return row["retention_percent"]
        before = self.baseline.get("accuracy_percent")
        return 100 * row["accuracy_percent"] / before if before else None

    def loss(self, row: dict) -> float | None:
        """A row's accuracy minus the baseline's, in points."""
        if row.get("accuracy_change_points") is not None:
            return row["accuracy_change_points"]
        before = self.baseline.get("accuracy_percent")
        return row["accuracy_percent"] - before if before is not None else None

    def time_interval(self, row: dict) -> tuple[float, float] | None:
        """The 95 % interval of a row's time over the baseline's."""
        found = (row.get("latency") or {}).get("ratio_interval")
        return tuple(found) if found else None

    def time_change(self, row: dict) -> float:
        """A row's time against the baseline's, in percent: from the paired ratio where there is one."""
        ratio = (row.get("latency") or {}).get("ratio")
        return 100 * (ratio - 1) if ratio else 100 * (row["latency_ms"] / self.baseline["latency_ms"] - 1)

    def control(self) -> dict:
        """The A/A control: {"ratio", "interval", "within"}, or nothing where none was made."""
        return (self.content.get("controls") or {}).get("aa") or {}

    def timing(self, row: dict) -> str:
        """Whether a row's time fell, rose, or is "equal" to the baseline's: its interval, and the A/A control's,
        decide."""
        interval = self.time_interval(row)
        if not interval:
            return "equal" if abs(self.time_change(row)) < 0.05 else "fell" if self.time_change(row) < 0 else "rose"
        low, high = self.control().get("interval") or (1, 1)
        return "fell" if interval[1] < min(low, 1) else "rose" if interval[0] > max(high, 1) else "equal"

    def interval(self, row: dict) -> tuple[float, float] | None:
        """The 95 % interval that tables show: over seeds where there are several, over test images otherwise."""
        found = row.get("accuracy_interval") or row.get("accuracy_bootstrap")
        return tuple(found) if found else None

    # Ranking ----------------------------------------------------------------------------------------------------------

    def ranking(self, ratio: float | None) -> list[dict]:
        """Rank groups of one ratio, best first: {"rank", "rows", "tie_p"}. Without a ranking every row is a rank by its
        number."""
        groups = [
            {"rank": entry["rank"], "rows": rows, "tie_p": entry.get("tie_p"), "tie_p_holm": entry.get("tie_p_holm")}
            for entry in self.content.get("ranking") or []
            if (rows := [row for name in entry["variants"] if (row := self.row(name)) and row.get("ratio") == ratio])
        ]
        if groups:
            return sorted(groups, key=lambda group: group["rank"])
        return [{"rank": i, "rows": [row], "tie_p": None} for i, row in enumerate(self.ordered(ratio), 1)]

    def comparison(self, first: dict, second: dict) -> dict | None:
        """The test of two variants, with `difference_points` of first minus second."""
        names = first["variant"], second["variant"]
        for entry in self.content.get("comparisons") or []:
            if (entry["a"], entry["b"]) == names:
                return entry
            if (entry["b"], entry["a"]) == names:
                return entry | {"a": names[0], "b": names[1], "difference_points": -entry["difference_points"]}
        return None

    def pairwise(self, rows: list[dict]) -> bool:
        """Whether no two of these rows can be told apart. In a rank group of three or more only the leader's pairs must
        be so."""
        pairs = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]]
        return not any((self.comparison(a, b) or {}).get("distinguishable") for a, b in pairs)

    def warning(self, code: str) -> dict | None:
        """The first warning of a code."""
        return next((warning for warning in self.content.get("warnings") or [] if warning.get("code") == code), None)

    # Names ------------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What the report calls the scenario: its title; its name where it has none, or where titles would be mixed
        up."""
        return self.scenario if self.by_name else str(self.content.get("title") or self.scenario)

    def short(self, row: dict) -> str:
        """The method's short name: Coverage."""
        return self._method(row["method"], "short")

    def label(self, row: dict) -> str:
        """The method's name in tables: Coverage Pruning."""
        return self._method(row["method"], "label")

    def full(self, method: str) -> str:
        """The method's whole name: Neuron Coverage Pruning."""
        return self._method(method, "title")

    def with_ratio(self, row: dict) -> str:
        """The short name, in a grid with its ratio."""
        return (
            f"{self.short(row)} {self.language.share(row['ratio'])}"
            if self.grid and row.get("ratio")
            else self.short(row)
        )

    def reason(self, row: dict) -> str:
        """Why a variant was not measured: in the report's language where the catalogue has it, else as the program told
        it."""
        told = str(row.get("reason") or "?")
        for pattern, sentence in (self.language.entry("reasons") or {}).items():
            expression = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(pattern))
            if match := re.fullmatch(expression, told):
                return sentence.format_map(match.groupdict())
        return told

    def describe(self, method: str) -> Inline | None:
        """A line on how the method scores a channel, where the catalogue has one."""
        key = f"methods.{method}.description"
        return self.language.say(key) if self.language.has(key) else None

    def original(self) -> Inline:
        """The baseline's name in tables."""
        return self.language.say("names.original_finetuned" if self._baseline_finetuned() else "names.original")

    def _method(self, method: str, form: str) -> str:
        for key in (form, "label", "short"):
            if text := self.language.entry(f"methods.{method}.{key}"):
                return str(text)
        return str(method)

    def _baseline_finetuned(self) -> bool:
        if self.recorded:
            return True
        baseline = (self.content.get("configuration") or {}).get("baseline")
        if not isinstance(baseline, dict):
            return False
        weights = (baseline.get("model") or {}).get("weights")
        return bool(weights) and bool((baseline.get("train") or {}).get("epochs"))
