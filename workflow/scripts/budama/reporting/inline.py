"""Running text that is harmless in every form: sentences with **bold** and `code`, and data in which such signs mean
nothing.

Data is written into a sentence with its markup signs replaced by private code points; so a scenario called
`**x**|<script>` stays that text. `spans` takes a sentence apart, and `to_markdown`, `to_html` and `to_typst` write the
spans with each form's own escaping.
"""

import html
import json
import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

MARKS = "*`"
HIDDEN = {ord(mark): chr(0xE000 + i) for i, mark in enumerate(MARKS)}
SHOWN = {ord(hidden): chr(mark) for mark, hidden in HIDDEN.items()}
MINUS, ISOLATE, END_ISOLATE = "\u2212", "\u2068", "\u2069"
BRACKETS = re.compile(r"\[[-+\d][-+\d., ]*\](?![(\[:])|[\[\]]")  # an interval, which is no link; or a bracket
UNBROKEN = re.compile(r"\bp (?:=|&lt;) [\d.,]*\d|[−+]?%[\d.,]*\d|\[[−+\d][−+\d., ]*\]")
PATTERN = re.compile(r"\*\*(?P<bold>.+?)\*\*|`(?P<code>[^`]+)`", re.DOTALL)


class Inline(str):
    """Text with markup, its data already hidden. Anything that is not an Inline is data."""


class Span(NamedTuple):
    text: str
    style: str = "plain"  # plain, bold or code


def data(value) -> Inline:
    """Any value as text without markup: control characters out, directions isolated, marks hidden."""
    if isinstance(value, Inline):
        return value
    text = str(value)
    text = "".join(_safe(letter) for letter in text)
    if any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text):
        text = ISOLATE + text + END_ISOLATE
    return Inline(text.translate(HIDDEN))


def spans(text) -> Iterator[Span]:
    """The pieces of a sentence, in order."""
    text = data(text)
    position = 0
    for match in PATTERN.finditer(text):
        if match.start() > position:
            yield Span(text[position : match.start()].translate(SHOWN))
        style = "bold" if match["bold"] else "code"
        yield Span(match[style].translate(SHOWN), style)
        position = match.end()
    if position < len(text):
        yield Span(text[position:].translate(SHOWN))


def to_plain(text) -> str:
    """Without any markup: for titles and text alternatives."""
    return "".join(span.text for span in spans(text))


def to_markdown(text) -> str:
    """For CommonMark with tables: every sign with a meaning is escaped, a minus is a hyphen as in the reference
    report."""
    parts = []
    for i, (text_, style) in enumerate(spans(text)):
        escaped = _markdown(text_, first=i == 0)
        if style == "bold":
            escaped = f"**{escaped}**"
        elif style == "code":
            escaped = f"<code>{escaped}</code>"
        parts.append(escaped)
    return "".join(parts)


def to_html(text) -> str:
    """For HTML text; signed percentages and intervals are kept on one line."""
    tags = {"plain": ("", ""), "bold": ("<strong>", "</strong>"), "code": ("<code>", "</code>")}
    parts = [tags[style][0] + html.escape(text_) + tags[style][1] for text_, style in spans(text)]
    return UNBROKEN.sub(r'<span class="n">\g<0></span>', "".join(parts))


def to_attribute(text) -> str:
    """For an HTML attribute, or text in SVG: no markup at all."""
    return html.escape(to_plain(text))


def to_typst(text) -> str:
    """For Typst markup: every span is a string literal, in which nothing but backslash and quote has a meaning."""
    call = {"plain": "#", "bold": "#strong", "code": "#raw"}
    parts = []
    for text_, style in spans(text):
        literal = typst_string(re.sub(r"\bp ([=<]) (?=\d)", "p\u00a0\\1\u00a0", text_))
        parts.append(f"#({literal});" if style == "plain" else f"{call[style]}({literal});")
    return "".join(parts)


def typst_string(text: str) -> str:
    """A Typst string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def to_json(value) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")


def _markdown(text: str, first: bool) -> str:
    text = re.sub(r"&(?=#|\w)", "&amp;", text.replace(MINUS, "-").replace("\n", " "))
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)  # "p < 0.001" stays readable in the source
    text = re.sub(r"([\\`*_|~])", r"\\\1", text)
    text = BRACKETS.sub(lambda match: match[0] if len(match[0]) > 1 else "\\" + match[0], text)
    text = re.sub(r"(?<=[A-Za-z0-9])\\_(?=[A-Za-z0-9])", "_", text)  # snake_case needs no escape
    if first:  # what would begin a heading, a quotation or a list
        text = re.sub(r"^(\s*)([#>+-])(?=\s)", r"\1\\\2", text)
        text = re.sub(r"^(\s*\d+)([.)])(?=\s)", r"\1\\\2", text)
    return text


def _safe(letter: str) -> str:
    category = unicodedata.category(letter)
    if letter in "\n\t\r":
        return " "
    if category in ("Cc", "Cs", "Co", "Cn"):
        return ""
    if letter in "\u200e\u200f\u061c" or "\u202a" <= letter <= "\u202e" or "\u2066" <= letter <= "\u2069":
        return ""
    return letter
