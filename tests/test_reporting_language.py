"""Sentences live in catalogues, and numbers follow the language and its decimal mark."""

import ast
import re

import pytest
import yaml
from jinja2 import meta
from reports import ROOT

from budama.errors import BudamaError
from budama.reporting import inline
from budama.reporting.language import TEMPLATES, Language

CODE = sorted((ROOT / "workflow/scripts/budama/reporting").rglob("*.py"))


def keys(value, path: str = "") -> set[str]:
    if not isinstance(value, dict):
        return {path}
    return set().union(*(keys(inner, f"{path}.{key}".strip(".")) for key, inner in value.items()))


def test_both_catalogues_have_the_same_sentences():
    turkish, english = (yaml.safe_load((TEMPLATES / f"{code}.yaml").read_bytes()) for code in ("tr", "en"))
    for catalogue in (turkish, english):
        catalogue.pop("reasons")
    assert keys(turkish) == keys(english)


def emitted_warnings() -> dict[str, set[str]]:
    """The warnings that stages can write into their results: `{"code": "few_images", …}`, with their other keys."""
    found = {}
    for path in sorted({*(ROOT / "workflow/scripts/budama").rglob("*.py")} - {*CODE}):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict) and node.keys and all(isinstance(key, ast.Constant) for key in node.keys):
                values = dict(zip([key.value for key in node.keys], node.values, strict=True))
                if isinstance(values.get("code"), ast.Constant):
                    found[values["code"].value] = set(values) - {"code"}
    return found


@pytest.mark.parametrize("code", ["tr", "en"])
def test_every_warning_that_a_stage_can_give_has_a_name_and_a_sentence_and_no_other_has(code):
    emitted, catalogue = emitted_warnings(), Language(code).catalogue["warnings"]
    assert emitted.keys() >= {"few_images", "few_calibration_images", "label_conflicts", "unexpected_classes"}
    assert catalogue["names"].keys() - {"other", "aa"} == emitted.keys()  # aa: the heading of the timing control
    assert catalogue.keys() - {"names", "title", "other"} == emitted.keys()


@pytest.mark.parametrize("code", ["tr", "en"])
def test_a_warning_says_nothing_that_its_stage_does_not_give(code):
    language, emitted = Language(code), emitted_warnings()
    of_the_report = {"timings_not_comparable": {"equal", "low", "high", "factor", "slow"}, "unavailable": {"name"}}
    for warning, given in emitted.items():
        template = language._environment.parse(language.entry(f"warnings.{warning}"))
        used = meta.find_undeclared_variables(template)
        assert used <= given | of_the_report.get(warning, set()), warning


@pytest.mark.parametrize("code", ["tr", "en"])
def test_every_sentence_is_a_template_that_compiles(code):
    language = Language(code)
    for key in keys(language.catalogue):
        text = language.entry(key)
        if isinstance(text, str):
            language._environment.from_string(text)


@pytest.mark.parametrize("path", [path for path in CODE if path.name != "turkish.py"], ids=lambda path: path.stem)
def test_no_sentence_stands_in_code(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    raised = {
        id(inner) for node in ast.walk(tree) if isinstance(node, ast.Raise | ast.keyword) for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation | raised:
            assert not re.search(r"[a-zçğıöşü]{3,} [a-zçğıöşü]{3,} [a-zçğıöşü]{3,}", node.value), node.value
            assert not set("ğşİçöü") & set(node.value), node.value


@pytest.mark.parametrize(
    ("decimal", "expected"),
    [
        (
            ".",
            [
                "49,997",
                "78.59",
                "%18.4",
                "−%18.4",
                "+3.04",
                "0.00",
                "%12.5",
                "= 0.97",
                "< 0.001",
                "= 0.004",
                "0.027",
                "1.33",
            ],
        ),
        (
            ",",
            [
                "49.997",
                "78,59",
                "%18,4",
                "−%18,4",
                "+3,04",
                "0,00",
                "%12,5",
                "= 0,97",
                "< 0,001",
                "= 0,004",
                "0,027",
                "1,33",
            ],
        ),
    ],
)
def test_numbers_in_turkish(decimal, expected):
    tr = Language("tr", decimal)
    values = [
        tr.number(49997, 0),
        tr.number(78.59),
        tr.percent(18.4),
        tr.change(-18.45),
        tr.signed(3.04),
        tr.signed(-0.001),
        tr.share(0.125),
        tr.p(0.97),
        tr.p(1e-9),
        tr.p(0.004),
        tr.milliseconds(0.027),
        tr.milliseconds(1.33),
    ]
    assert values == expected


def test_numbers_and_dates_in_english():
    en = Language("en")
    assert [en.percent(18.4), en.change(-18.4), en.share(0.1), en.ordinal(1), en.ordinal(12), en.ordinal(23)] == [
        "18.4%", "−18.4%", "10%", "1st", "12th", "23rd"]  # fmt: skip
    assert en.day("2026-11-24") == "November 24, 2026"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("2026-11-24", "24 Kasım 2026"), ("2026-11-24T10:00:00+03:00", "24 Kasım 2026"), ("dün", "dün"), (None, "")],
)
def test_dates_in_turkish(value, expected):
    assert Language("tr").day(value) == expected


def test_lists_are_joined_with_the_language_s_word():
    tr = Language("tr")
    assert tr.join(["a"]) == "a"
    assert tr.join(["a", "b"]) == "a ve b"
    assert tr.join(["a", "b", "c"], "or") == "a, b ya da c"


def test_data_in_a_sentence_is_no_markup():
    tr = Language("tr")
    sentence = tr.say("document.title", name="**x** `y` <b>")
    assert [span.style for span in inline.spans(sentence)] == ["plain"]
    assert inline.to_html(sentence).startswith("**x** `y` &lt;b&gt;")
    assert inline.to_markdown(sentence).startswith(r"\*\*x\*\* \`y\` &lt;b>")


def test_a_suffix_goes_with_a_name_of_any_script():
    sentence = Language("tr").say("scenarios.settings", here="TS3", differences=["x"])
    assert sentence.startswith("TS3'te x")
    assert "\u2068שלום\u2069'de" in Language("tr").say(
        "scenarios.settings", here=inline.data("שלום"), differences=["x"]
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [({"code": "de"}, "report.language is de"), ({"code": "tr", "decimal": ";"}, "report.decimal is ;")],
)
def test_an_unknown_language_or_mark_is_told(options, told):
    with pytest.raises(BudamaError, match=told):
        Language(**options)
