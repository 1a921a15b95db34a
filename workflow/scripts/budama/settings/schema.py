"""Checks values against the JSON Schemas in `schemas/`, and tells every mistake in a line for people.

Beside JSON Schema's own keywords the files carry `unit` (for config/README.md) and `form` (words for what is allowed,
where the ones made from the keywords would read badly).
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from budama.errors import nearest
from budama.methods import METHODS
from budama.settings import yamlfile

FOLDER = Path(__file__).with_name("schemas")
NAMES = "names.schema.yaml"  # its list of methods is for editors; here the table of methods fills it

_TYPES = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}
_PLURALS = {"integer": "whole numbers", "number": "numbers", "string": "texts"}


@cache
def load(name: str) -> dict:
    """The schema in `NAME.schema.yaml`, every `$ref` replaced by what it names (keys beside a `$ref` win)."""
    return _inline(_file(f"{name}.schema.yaml"), f"{name}.schema.yaml")


@dataclass(frozen=True)
class Mistake:
    """A wrong value: the keys that lead to it, and the line that tells it (`KEY is VALUE; it must be …`)."""

    path: tuple[str | int, ...]
    line: str


def mistakes(value, name: str) -> list[Mistake]:
    """Every way in which `value` breaks the schema `name`; none where it is valid."""
    found: dict[Mistake, None] = {}  # ordered, each once
    for error in _validator(name).iter_errors(value):
        for mistake in _told(error, load(name)):
            found[mistake] = None
    return list(found)


def open_sections(value, schema: dict):
    """`value` with empty sections (`report:` with nothing below, null in YAML) as sections without keys."""
    if value is None and schema.get("type") == "object":
        return {}
    if not isinstance(value, dict):
        return value
    return {key: open_sections(item, schema.get("properties", {}).get(key, {})) for key, item in value.items()}


def complete(value, schema: dict):
    """A valid `value` with the schema's defaults filled in and its keys in the schema's order.

    Numbers get the schema's type (3.0 becomes 3 where whole numbers belong), so that equal settings are equal JSON.
    """
    if isinstance(value, dict) and "properties" in schema:
        return {
            key: complete(value[key] if key in value else part["default"], part)
            for key, part in schema["properties"].items()
            if key in value or "default" in part
        }
    if isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        return {key: complete(item, schema["additionalProperties"]) for key, item in value.items()}
    if "anyOf" in schema:
        return complete(value, next(part for part in schema["anyOf"] if Draft202012Validator(part).is_valid(value)))
    if isinstance(value, list):
        return [complete(item, schema.get("items", {})) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        types = _types(schema)
        return int(value) if "integer" in types else float(value) if "number" in types else value
    return value


def describe(schema: dict) -> str:
    """What a schema allows, in words: `a whole number between 1 and 512, or null`."""
    if "form" in schema:
        return schema["form"]
    if "enum" in schema or "const" in schema:
        return _one_of(schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return ", or ".join(describe(part) for part in schema["anyOf"])
    types = _types(schema)
    words = [_describe_type(kind, schema) for kind in types if kind != "null"]
    return " or ".join(words) + (", or null" if "null" in types else "")


def bounds(schema: dict) -> str:
    """The range of a number in words: `between 0 and 0.95`; the empty string without bounds."""
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None:
        return "" if high is None else f"at most {high}"
    if high is None:
        return f"{low} or more" if "minimum" in schema else f"more than {low}"
    return f"between {low} and {high}"


def show(value) -> str:
    """A value as its writer would know it again, in one short line."""
    if isinstance(value, str):
        plain = re.fullmatch(r"[./+-]*\w[\w./+-]*", value) and yamlfile.scalar(value) == value
        text = value if plain else json.dumps(value, ensure_ascii=False)
    else:
        text = json.dumps(value, ensure_ascii=False)
    text = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
    return text if len(text) <= 60 else text[:57] + "..."


def name_of(path: tuple) -> str:
    """A path as people write it: `pruning.methods[1]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            word = step if step and step.isprintable() and len(step) <= 60 else show(step)
            text += f".{word}" if text else word
    return text or "the file"


def hint(word: str, known: Iterable[str]) -> str:
    """` (did you mean NAME?)`, or nothing."""
    near = nearest(word, known) if isinstance(word, str) else []
    return f" (did you mean {near[0]}?)" if near else ""


@cache
def _file(name: str) -> dict:
    content = yamlfile.read(FOLDER / name)
    if name == NAMES:
        content["$defs"]["method"]["enum"] = list(METHODS)
    return content


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(load(name))


def _inline(part, file: str):
    if isinstance(part, list):
        return [_inline(item, file) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" not in part:
        return {key: _inline(item, file) for key, item in part.items()}
    name, _, pointer = part["$ref"].partition("#")
    target = _file(name or file)
    for step in pointer.strip("/").split("/") if pointer else []:
        target = target[step]
    beside = {key: item for key, item in part.items() if key != "$ref"}
    return _inline({**target, **beside}, name or file)


def _told(error: ValidationError, schema: dict) -> Iterator[Mistake]:
    """One of jsonschema's errors, as one mistake or more."""
    path = tuple(error.absolute_path)
    rule, allowed, value = error.validator, error.validator_value, error.instance
    if rule == "additionalProperties":
        known = error.schema.get("properties", {})
        for key in value:
            if key not in known:
                yield Mistake((*path, key), _unknown(path, key, known, schema))
    elif rule == "required":
        for key in allowed:
            if key not in value:
                part = (error.schema if path else schema)["properties"][key]
                yield Mistake((*path, key), f"{name_of((*path, key))} is missing; it must be {describe(part)}")
    elif rule == "anyOf":
        yield from _any_of(error, schema, path)
    else:
        yield Mistake(path, _line(error, name_of(path)))


def _line(error: ValidationError, key: str) -> str:
    value, rule = error.instance, error.validator
    if rule == "uniqueItems":
        twice = next((item for index, item in enumerate(value) if item in value[:index]), None)
        return f"{key} has {show(twice)} twice; each may stand there once"
    if rule in ("minItems", "minProperties") and not value:
        return f"{key} is empty; it must be {describe(error.schema)}"
    if "propertyNames" in error.schema_path:
        return f"{key} has {show(value)}; names there must be {_allowed(error)}"
    return f"{key} is {show(value)}; it must be {_allowed(error)}{_point(value)}"


def _point(value: object) -> str:
    """What to write in place of 0,3, which YAML reads as text."""
    comma = isinstance(value, str) and re.fullmatch(r"[-+]?\d+,\d+", value)
    return f"; decimals take a point: {str(value).replace(',', '.')}" if comma else ""


def _any_of(error: ValidationError, schema: dict, path: tuple) -> Iterator[Mistake]:
    """Tell the one alternative that the value's type fits, else all of them."""
    branches: dict[int, list[ValidationError]] = {}
    for part in error.context:
        branches.setdefault(part.schema_path[0], []).append(part)
    fitting = [parts for parts in branches.values() if not any(_wrong_type(part) for part in parts)]
    if len(fitting) == 1 and ("form" not in error.schema or isinstance(error.instance, list)):
        for part in fitting[0]:
            yield from _told(part, schema)
    else:
        yield Mistake(
            path,
            f"{name_of(path)} is {show(error.instance)}; it must be {describe(error.schema)}{_point(error.instance)}",
        )


def _wrong_type(error: ValidationError) -> bool:
    return not error.relative_path and error.validator in ("type", "const", "enum")


def _unknown(path: tuple, key: str, known: dict, schema: dict) -> str:
    name = name_of((*path, key))
    near = nearest(key, known)
    if near:
        return f"{name} is not a known key; did you mean {name_of((*path, near[0]))}?"
    for section, part in schema["properties"].items():
        if key in part.get("properties", {}):
            return f"{name} is not a known key; did you mean {section}.{key}?"
    return f"{name} is not a known key; known are {', '.join(known)}"


def _allowed(error: ValidationError) -> str:
    rule, schema = error.validator, error.schema
    if rule in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        excluded = rule.startswith("exclusive") and error.instance == error.validator_value
        words = bounds(schema) + (f" (not {show(error.instance)})" if excluded else "")
        return words + (", or null" if "null" in _types(schema) else "")
    if rule == "enum":
        return describe(schema) + hint(error.instance, [name for name in schema["enum"] if isinstance(name, str)])
    if rule in ("minLength", "maxLength"):
        return f"between {schema.get('minLength', 0)} and {schema.get('maxLength')} letters"
    if rule == "maxItems":
        return schema.get("form", f"a list of at most {error.validator_value}")
    return describe(schema)


def _describe_type(kind: str, schema: dict) -> str:
    if kind in ("integer", "number"):
        ends = [f"not {schema[end]}" for end in ("exclusiveMinimum", "exclusiveMaximum") if end in schema]
        return " ".join(filter(None, (_TYPES[kind], bounds(schema), f"({', '.join(ends)})" if ends else "")))
    if kind == "array":
        items = schema.get("items", {})
        names = _PLURALS.get(items.get("type"), "values")
        if "enum" in items:
            names = f"names (any of {', '.join(map(show, items['enum']))})"
        return f"a list of {names}"
    if kind == "object":
        keys = schema.get("required") or schema.get("properties")
        return f"a section with {', '.join(keys)}" if keys else "a section of keys and values"
    return _TYPES[kind]


def _one_of(values: list) -> str:
    words = [show(value) for value in values]
    return words[0] if len(words) == 1 else f"one of {', '.join(words)}"


def _types(schema: dict) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else types
