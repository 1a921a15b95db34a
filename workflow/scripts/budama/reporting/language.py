"""A language of the report: its catalogue of sentences, its numbers, percentages, dates and, in Turkish, its
suffixes."""

from collections.abc import Iterable
from datetime import date, datetime
from functools import cached_property
from pathlib import Path

import jinja2
import yaml
from babel.dates import format_date
from babel.numbers import format_decimal

from budama.errors import BudamaError
from budama.reporting import turkish
from budama.reporting.inline import MINUS, Inline, data

TEMPLATES = Path(__file__).with_name("templates")
LANGUAGES = ("tr", "en")
DECIMAL = {"tr": ",", "en": "."}
GROUPED = {".": "en", ",": "tr"}  # the locale whose decimal mark this is; it groups thousands with the other one
P_FLOOR = 0.001


class Language:
    """Sentences and numbers in one language.

    `decimal` is "." or ","; the language's own where it is not given. `say(key, **values)` renders the catalogue's
    sentence of that dotted key; the sentence is a Jinja template that may use the values, the number filters below and,
    in Turkish, the cases of `turkish.CASES` as filters.
    """

    def __init__(self, code: str, decimal: str | None = None):
        if code not in LANGUAGES:
            raise BudamaError(f"report.language is {code}; it must be one of {', '.join(LANGUAGES)}")
        decimal = decimal or DECIMAL[code]
        if decimal not in GROUPED:
            raise BudamaError(f'report.decimal is {decimal}; it must be "." or ","')
        self.code, self.decimal = code, decimal
        self._compiled: dict[str, jinja2.Template] = {}

    @cached_property
    def catalogue(self) -> dict:
        """The nested mapping of sentences."""
        return yaml.load(
            (TEMPLATES / f"{self.code}.yaml").read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )

    def entry(self, key: str):
        """What the catalogue holds under a dotted key, or None."""
        found = self.catalogue
        for part in key.split("."):
            if not isinstance(found, dict) or part not in found:
                return None
            found = found[part]
        return found

    def say(self, key: str, **values) -> Inline:
        """The sentence `key` for these values. KeyError where the catalogue has none: a bug of ours, not the user's."""
        if key not in self._compiled:
            source = self.entry(key)
            if not isinstance(source, str):
                raise KeyError(f"{self.code}.yaml has no sentence {key}")
            self._compiled[key] = self._environment.from_string(source.strip())
        return Inline(" ".join(self._compiled[key].render(values).split()))

    def has(self, key: str) -> bool:
        """Whether the catalogue has a sentence of that key."""
        return isinstance(self.entry(key), str)

    # Numbers ----------------------------------------------------------------------------------------------------------

    def number(self, value: float, decimals: int = 2) -> str:
        """1234.5 is 1,234.50 (or 1.234,50)."""
        text = format_decimal(value, "#,##0." + "0" * decimals if decimals else "#,##0", locale=GROUPED[self.decimal])
        if not any(digit in text for digit in "123456789"):
            text = text.lstrip("-")  # no minus before a zero
        return text.replace("-", MINUS)

    def signed(self, value: float, decimals: int = 2) -> str:
        """With a plus or a minus, except for what rounds to zero."""
        text = self.number(value, decimals)
        return text if text.startswith(MINUS) or not any(digit in text for digit in "123456789") else "+" + text

    def short(self, value: float, decimals: int = 2) -> str:
        """With at most so many decimals, and no zeros at the end."""
        return format_decimal(value, "#,##0." + "#" * decimals, locale=GROUPED[self.decimal]).replace("-", MINUS)

    def percent(self, value: float, decimals: int = 1) -> str:
        """A number of percent: %18.4 in Turkish, 18.4% in English."""
        return self._percent(self.number(value, decimals))

    def change(self, value: float, decimals: int = 1) -> str:
        """A change in percent, with its sign. Stored to two decimals, so rounded from there, half to even."""
        return self._percent(self.signed(round(value, 2), decimals))

    def share(self, value: float) -> str:
        """A share of one as percent, without needless decimals: 0.1 is %10, 0.125 is %12.5."""
        return self._percent(self.short(100 * value, 2))

    def p(self, value: float) -> str:
        """A p value as `= 0.97`, `= 0.004` or `< 0.001`."""
        if value < P_FLOOR:
            return "< " + self.number(P_FLOOR, 3)
        return "= " + self.number(value, 2 if value >= 0.1 else 3)

    def milliseconds(self, value: float) -> str:
        """Three decimals below a millisecond, two above."""
        return self.number(value, 3 if value < 1 else 2)

    def day(self, value: str | date | None, form: str = "long") -> str:
        """An ISO date or time as a date in words (`form` "medium": shorter); anything else as it is."""
        try:
            found = datetime.fromisoformat(value).date() if isinstance(value, str) else value
        except ValueError:
            return str(value)
        return format_date(found, form, locale=self.code) if found else ""

    def join(self, items: Iterable, key: str = "and") -> Inline:
        """a, b and c."""
        items = [data(item) for item in items]
        if len(items) < 2:
            return Inline("".join(items))
        return Inline(", ".join(items[:-1]) + f" {self.entry('words.' + key)} " + items[-1])

    def ordinal(self, number: int) -> str:
        """First, second … in words in Turkish, as 1st, 2nd … in English."""
        if self.code == "tr":
            return turkish.ordinal(number)
        ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
        return f"{number}{ending}"

    def _percent(self, number: str) -> str:
        sign, digits = (number[0], number[1:]) if number[0] in "+" + MINUS else ("", number)
        return f"{sign}%{digits}" if self.code == "tr" else f"{sign}{digits}%"

    @cached_property
    def _environment(self) -> jinja2.Environment:
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, finalize=data, autoescape=False)
        environment.filters |= {
            "number": self.number,
            "signed": self.signed,
            "short": self.short,
            "percent": self.percent,
            "change": self.change,
            "share": self.share,
            "p": self.p,
            "milliseconds": self.milliseconds,
            "day": self.day,
            "ordinal": self.ordinal,
            "count": lambda value: self.number(value, 0),
            "and": self.join,
            "or": lambda items: self.join(items, "or"),
        }
        if self.code == "tr":
            for case in turkish.CASES:
                environment.filters[case] = self._case(case)
        return environment

    def _case(self, case: str):
        def filter(value):
            text = turkish.suffix(str(value), case, self.decimal)
            return Inline(text) if isinstance(value, Inline) else text

        return filter
