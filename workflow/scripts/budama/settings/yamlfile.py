"""Reads a YAML file of ours strictly, and tells a mistake with its line.

YAML 1.2's core rules hold, not PyYAML's 1.1: `1e-3` is a number, `no` and `on` are words, `010` is ten. Refused, since
each hides a mistake or costs more than it gives: a key that stands twice, tags, anchors and aliases, several documents.
"""

import math
import re
from pathlib import Path

import yaml

from budama import files
from budama.errors import BudamaError

LARGEST_FILE = 1_000_000
DEEPEST = 20

_NULL = ("", "~", "null", "Null", "NULL")
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,300}|[0-9]{1,300}(\.[0-9]{0,300})?)([eE][-+]?[0-9]{1,9})?")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: str | Path) -> dict:
    """The keys and values in a YAML file. Raises BudamaError: `FILE: line 3, column 1: …`."""
    text = files.read_text(path)
    path = files.shown(path)
    if len(text) > LARGEST_FILE:
        raise BudamaError(f"{path}: holds {len(text)} characters; it may hold {LARGEST_FILE}")
    try:
        value = _build(text)
    except _MistakeError as mistake:
        raise BudamaError(f"{path}: {mistake}") from None
    except yaml.YAMLError as error:
        raise BudamaError(f"{path}: {_syntax(error, text)}") from None
    if value is None:
        raise BudamaError(f"{path}: is empty")
    if not isinstance(value, dict):
        raise BudamaError(f"{path}: holds a {'list' if isinstance(value, list) else 'single value'}, not `key: value`")
    return value


def scalar(text: str) -> bool | int | float | str | None:
    """What an unquoted word means. Numbers beyond a double's range stay words, so that nothing becomes infinite."""
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


class _MistakeError(Exception):
    def __init__(self, text: str, event: yaml.Event):
        mark = event.start_mark
        super().__init__(f"line {mark.line + 1}, column {mark.column + 1}: {text}")


def _build(text: str):
    """The value of the one document in `text`, built from the parser's events with a stack (no recursion)."""
    root: list = []
    stack: list[_Open] = [_Open(root)]
    for event in yaml.parse(text, Loader=_Loader):
        _refuse(event, stack, root)
        if isinstance(event, yaml.ScalarEvent):
            stack[-1].add(_value(event), event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            container: dict | list = {} if isinstance(event, yaml.MappingStartEvent) else []
            stack[-1].add(container, event)
            stack.append(_Open(container))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            stack.pop()
    return root[0] if root else None


class _Open:
    """A list or mapping that is being filled, and the key whose value comes next."""

    def __init__(self, container: list | dict):
        self.container = container
        self.key: str | None = None

    def add(self, value, event: yaml.Event) -> None:
        if isinstance(self.container, list):
            self.container.append(value)
        elif self.key is not None:
            self.container[self.key] = value
            self.key = None
        elif not isinstance(event, yaml.ScalarEvent):
            raise _MistakeError("a key must be a word, not a list or a mapping", event)
        elif event.value in self.container:
            raise _MistakeError(f"the key {event.value} stands there twice", event)
        else:
            self.key = event.value


def _value(event: yaml.ScalarEvent):
    if not event.value.isprintable():
        raise _MistakeError("the text holds a line break or a control character; write it on one line", event)
    return scalar(event.value) if event.implicit[0] else event.value


def _refuse(event: yaml.Event, stack: list, root: list) -> None:
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        raise _MistakeError("anchors and aliases (& and *) are not read here; write the value out", event)
    if getattr(event, "tag", None) not in (None, "!"):
        raise _MistakeError(f"tags ({event.tag}) are not read here; write a plain value", event)
    if isinstance(event, yaml.DocumentStartEvent) and root:
        raise _MistakeError("a second document begins here; the file may hold one", event)
    if len(stack) > DEEPEST:
        raise _MistakeError(f"nested deeper than {DEEPEST} levels", event)


def _syntax(error: yaml.YAMLError, text: str) -> str:
    """A syntax error in one line."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:  # a character that YAML does not allow; the parsers name it differently
        return "is not YAML (it holds a control character)"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    hint = "; indent with spaces, not tabs" if "\t" in line else ""
    problem = " ".join(str(error.problem).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: is not YAML ({problem}){hint}"
