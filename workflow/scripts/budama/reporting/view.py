"""A scenario's results as sections and figures read them: what is missing is None, and names have their titles."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from budama import files, methods
from budama.errors import BudamaError
from budama.reporting import contract, paired
from budama.reporting.contract import AgainstOriginal, Comparison, Content
from budama.reporting.inline import Inline
from budama.reporting.language import Language
from budama.reporting.row import Baseline, Row, Unavailable
from budama.reporting.shipped import Control
from budama.significance import hits
from budama.significance.claims import Claim

if TYPE_CHECKING:
    from budama.significance.differences import Candidate

Cost = Literal["size_mib", "gmacs", "parameters"]
_CHANGES: dict[Cost, Literal["size_change_percent", "gmacs_change_percent", "parameters_change_percent"]] = {
    "size_mib": "size_change_percent",
    "gmacs": "gmacs_change_percent",
    "parameters": "parameters_change_percent",
}


class Tied(TypedDict):
    """Rows of one ratio that share a place in the ranking; the p is that of the one least like the first."""

    rank: int
    rows: list[Row]
    tie_p_holm: float | None


class Results:
    """One results.json in a language."""

    def __init__(self, content: Content, language: Language):
        paired.settle(content)
        self.content, self.language = content, language
        self.scenario = content["scenario"]
        self.by_name = False
        self.baseline, self.variants = content["baseline"], content["variants"]
        self.pruning, self.finetune = content["pruning"], content["finetune"]
        self.dataset, self.model = content["dataset"], content["model"]
        self.recorded = content["recorded"]
        self.unpruned = content["unpruned"]

    @classmethod
    def read(cls, path: str | Path, language: Language) -> Results:
        """The results in a file. Raises BudamaError where it is none."""
        content = files.read_json(path)
        contract.complete(content)
        if missing := next(contract.missing(content), None):
            raise BudamaError(f"{path}: has no {missing}; it must be a results.json that the aggregate stage wrote")
        return cls(content, language)

    # Rows -------------------------------------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> list[Row]:
        """The variants that were measured."""
        return [row for row in self.variants if row["status"] == "ok"]

    @cached_property
    def unavailable(self) -> list[Unavailable]:
        """The variants that were not."""
        return [row for row in self.variants if row["status"] == "unavailable"]

    @cached_property
    def ratios(self) -> list[float | None]:
        """The ratios of a grid in ascending order; one where there is no grid."""
        return sorted({row["ratio"] for row in self.variants}, key=lambda ratio: ratio or 0) or [None]

    @property
    def grid(self) -> bool:
        """Whether the scenario has several ratios."""
        return len(self.ratios) > 1

    def at(self, ratio: float | None) -> list[Row]:
        """The measured rows of one ratio, in the scenario's order."""
        return [row for row in self.rows if row["ratio"] == ratio]

    def ordered(self, ratio: float | None) -> list[Row]:
        """The same, highest accuracy first."""
        return sorted(self.at(ratio), key=lambda row: -row["accuracy_percent"])

    def row(self, variant: str) -> Row | None:
        """The row of a variant."""
        return next((row for row in self.rows if row["variant"] == variant), None)

    def candidates(self) -> dict[str, Candidate]:
        """The original, the original after the same fine-tuning, and the measured variants, as tests see them: by the
        name in `variant`, and called so behind the scenario's."""
        from budama.significance.differences import Candidate  # a second's import, for reports that compare

        rows: list[Row | Baseline] = [self.baseline, *([self.unpruned] if self.unpruned else []), *self.rows]
        images = self.dataset["counts"]["test"] or 0
        return {
            row["variant"]: Candidate(
                f"{self.scenario}/{row['variant']}",
                row["ratio"],
                row["accuracy_percent"],
                images,
                {one["seed"]: hits.unpacked(one["hits"], images) for one in row["seeds"] if one["hits"]},
            )
            for row in rows
        }

    def timings_comparable(self) -> bool:
        """Whether latencies may be compared at all."""
        return self.warning("timings_not_comparable") is None

    # Quantities -------------------------------------------------------------------------------------------------------

    @cached_property
    def size_unit(self) -> str:
        """MiB, or KiB for a model that MiB with two decimals could not tell."""
        return "KiB" if (self.baseline["size_mib"] or 1) < 0.1 else "MiB"

    @cached_property
    def flops_unit(self) -> str:
        """G, or M for a model below 0.1 G."""
        return "M" if (self.baseline["gmacs"] or 1) < 0.1 else "G"

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

    def change(self, row: Row, cost: Cost) -> float | None:
        """A row's change of a cost against the baseline, in percent."""
        return row[_CHANGES[cost]]

    def changes(self, rows: list[Row], cost: Cost) -> list[float]:
        """The changes of those rows of which they are known."""
        return [change for row in rows if (change := self.change(row, cost)) is not None]

    def time_interval(self, row: Row) -> tuple[float, float] | None:
        """The 95 % interval of a row's time over the baseline's."""
        return _ends(row["latency"]["ratio_interval"]) if row["latency"] else None

    def time_change(self, row: Row) -> float:
        """A row's time against the baseline's, in percent: from the paired ratio where there is one."""
        if row["latency"]:
            return 100 * (row["latency"]["ratio"] - 1)
        time, before = row["latency_ms"], self.baseline["latency_ms"]
        if not time or not before:
            raise ValueError(f"{row['variant']} has no time")
        return 100 * (time / before - 1)

    def control(self) -> Control | None:
        """The A/A control; None where none was made."""
        return self.content["controls"]["aa"]

    def timing(self, row: Row) -> str:
        """Whether a row's time fell, rose, or is "equal" to the baseline's: its interval, and the A/A control's,
        decide."""
        interval = self.time_interval(row)
        if not interval:
            return "equal" if abs(self.time_change(row)) < 0.05 else "fell" if self.time_change(row) < 0 else "rose"
        return self.beyond_control(*interval)

    def beyond_control(self, low: float, high: float) -> str:
        """The rule for ratios to the baseline: "fell" or "rose" where the whole interval lies beyond 1 and beyond the
        A/A control's interval, else "equal"."""
        control = self.control()
        least, most = control["interval"] if control else (1, 1)
        return "fell" if high < min(least, 1) else "rose" if low > max(most, 1) else "equal"

    def interval(self, row: Row | Baseline) -> tuple[float, float] | None:
        """The 95 % interval of a row's accuracy: over seeds and images, or over the images of one model."""
        return _ends(row["accuracy_interval"])

    # Ranking ----------------------------------------------------------------------------------------------------------

    def ranking(self, ratio: float | None) -> list[Tied]:
        """The ranking of one ratio, best first."""
        groups: list[Tied] = [
            {"rank": entry["rank"], "rows": rows, "tie_p_holm": entry["tie_p_holm"]}
            for entry in self.content["ranking"]
            if (rows := [row for name in entry["variants"] if (row := self.row(name)) and row["ratio"] == ratio])
        ]
        return sorted(groups, key=lambda group: group["rank"])

    def comparison(self, first: Row, second: Row) -> Comparison | None:
        """The test of two variants, with `difference_points` of first minus second."""
        names = first["variant"], second["variant"]
        for entry in self.content["comparisons"]:
            if (entry["a"], entry["b"]) == names:
                return entry
            if (entry["b"], entry["a"]) == names:
                return {**entry, "a": names[0], "b": names[1], "difference_points": -entry["difference_points"]}
        return None

    def against_original(self, row: Row) -> AgainstOriginal | None:
        """The test of a row against the model that was not pruned."""
        return next((one for one in self.content["against_original"] if one["variant"] == row["variant"]), None)

    def against_unpruned(self, row: Row) -> AgainstOriginal | None:
        """The test of a row against the original that was fine-tuned as it was; None where there is none."""
        return next((one for one in self.content["against_unpruned"] if one["variant"] == row["variant"]), None)

    @cached_property
    def counted_seeds(self) -> int:
        """How many seeds every variant has a model of its own of; 1 where nothing is known of seeds."""
        return max(1, min([len(self.content["seeds"]), *(len(row["seeds"]) for row in self.rows)]))

    @cached_property
    def of_models(self) -> bool:
        """Whether all that is claimed is claimed of single models: nothing was trained with several seeds."""
        claims: list[Claim] = [*self.content["comparisons"], *self.content["against_original"]]
        return not any(claim["of"] == "methods" for claim in claims)

    def distinguishable(self, first: Row, second: Row) -> bool:
        """Whether a test tells two variants apart."""
        tested = self.comparison(first, second)
        return tested is not None and bool(tested["distinguishable"])

    def pairwise(self, rows: list[Row]) -> bool:
        """Whether no two of these rows can be told apart. In a rank group of three or more only the leader's pairs must
        be so."""
        return not any(self.distinguishable(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :])

    def warning(self, code: str) -> dict[str, Any] | None:
        """The first warning of a code."""
        return next((warning for warning in self.content["warnings"] if warning["code"] == code), None)

    # Names ------------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What the report calls the scenario: its title; its name where it has none, or where titles would be mixed
        up."""
        return self.scenario if self.by_name else self.content["title"] or self.scenario

    def short(self, row: Row | Unavailable) -> str:
        """The method's short name: Coverage."""
        return self._method(row["method"], "short")

    def label(self, row: Row | Unavailable) -> str:
        """The method's name in tables: Coverage Pruning."""
        return self._method(row["method"], "label")

    def full(self, method: str) -> str:
        """The method's whole name: Neuron Coverage Pruning."""
        return self._method(method, "title")

    def with_ratio(self, row: Row) -> str:
        """The short name, in a grid with its ratio."""
        return (
            f"{self.short(row)} {self.language.share(row['ratio'])}" if self.grid and row["ratio"] else self.short(row)
        )

    def kept(self, row: Row) -> Inline:
        """What share of the original's accuracy is left; nothing is kept where there is more than there was."""
        retention, change = row["retention_percent"], row["accuracy_change_points"]
        if retention is None:
            return self.language.say("names.kept.none")
        kind = "above" if round(change, 2) > 0 else "below" if round(change, 2) < 0 else "equal"
        return self.language.say(f"names.kept.{kind}", retention=retention, change=change)

    def reason(self, told: str) -> str:
        """Why a variant was not measured: in the report's language where the catalogue has it, else as `told`."""
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
        if methods.find(method).unpruned and not self.finetune["epochs"]:
            form = f"{form}_untrained"
        for key in (form, form.removesuffix("_untrained"), "label", "short"):
            if text := self.language.entry(f"methods.{method}.{key}"):
                return str(text)
        return str(method)

    def baseline_training(self) -> tuple[bool, int]:
        """Whether the original began with weights, and the epochs it was trained here; a record says neither."""
        baseline = self.content["configuration"].get("baseline")  # as files have it: no shape is promised
        if not isinstance(baseline, dict) or self.recorded:
            return True, 0
        epochs = (baseline.get("train") or {}).get("epochs")
        return bool((baseline.get("model") or {}).get("weights")), epochs or 0

    def _baseline_finetuned(self) -> bool:
        return bool(self.recorded) or all(self.baseline_training())


def judged(rows: list[Row]) -> list[Row]:
    """The rows of methods; of controls, which are measured but never recommended, only where there is nothing else."""
    return [row for row in rows if not methods.find(row["method"]).control] or rows


def _ends(interval: list[float] | None) -> tuple[float, float] | None:
    return (interval[0], interval[1]) if interval else None
