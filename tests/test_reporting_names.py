"""Whatever a user or a data set calls something, it is harmless in every form of a report."""

import io
import re
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from pypdf import PdfReader
from reports import Page, document, hostile, sample

from budama.reporting import inline, render

HOSTILE = [
    "<script>alert(1)</script>",
    "a|b|c",
    "\"q\" 'q' `q`",
    "**bold** *it* _u_ ~~s~~",
    "[x](javascript:alert(1))",
    "![x](http://a.b/c)",
    "😀 senaryo",
    "שלום עולם",
    "مرحبا",
    "\u202etxt.exe",
    "$x^2$ #let y = 1 \\n @ref",
    "&lt;b&gt; &#60;i&#62;",
    "# başlık\n- madde",
    "a\x00b\x07c",
    "{{ 7 * 7 }} {% raw %}",
    "http://example.org/",
]


def mixed(turn: int) -> dict:
    """The sample with another hostile name at every place."""
    names = HOSTILE[turn:] + HOSTILE[:turn]
    content = hostile(names[0])
    content["dataset"]["class_names"] = names[:10]
    for row, name in zip(content["variants"], names):
        row["method"] = name
        for layer, other in zip(row["layers"] or [], names):
            layer["name"] = other
    return content


def scripts(page: Page) -> int:
    return [tag for tag, _ in page.tags].count("script")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_harmless_in_markdown(name):
    doc, language = document(hostile(name), hostile(name) | {"scenario": name + "!"})
    source = render.markdown(doc, language)
    rendered = Page(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(source))
    allowed = {
        "h1",
        "h2",
        "h3",
        "p",
        "strong",
        "em",
        "ul",
        "ol",
        "li",
        "blockquote",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "sub",
        "br",
        "img",
        "code",
        "pre",
        "details",
        "summary",
        "hr",
    }
    assert {tag for tag, _ in rendered.tags} <= allowed
    assert all(a["src"].startswith("figures/") for tag, a in rendered.tags if tag == "img")
    tables = re.findall(r"(?:^\|.*\n)+", source, re.MULTILINE)
    assert all(len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1 for table in tables)
    shown = inline.to_plain(inline.data(name)).strip("\u2068\u2069")
    assert " ".join(shown.split()) in " ".join(rendered.text.split())


@pytest.mark.parametrize("turn", [0, 5, 10])
def test_names_are_harmless_in_html_and_figures(turn):
    doc, language = document(mixed(turn))
    page = Page(render.html(doc, language))
    page_of_plain_names = Page(render.html(*document(sample())))
    assert scripts(page) == scripts(page_of_plain_names)
    assert not [a for _, a in page.tags if any(key.startswith("on") for key in a)]
    assert not [a for _, a in page.tags if str(a.get("href", "#"))[:1] not in "#d"]  # anchors and the empty icon
    for name in HOSTILE[turn:][:5]:
        assert inline.to_plain(inline.data(name)).strip() in page.text
    assert len(page.ids) == len(set(page.ids))
    for figure in doc.figures:
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(figure.svg).iter()}
        assert not {"script", "image", "foreignObject", "a"} & tags


def test_names_are_harmless_in_pdf():
    everything = " ".join(inline.data(name) for name in HOSTILE)
    content = hostile("<b> | \" ' # $x$ \\ @ref *a* _b_ 😀 שלום " + everything)
    doc, language = document(content)
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(render.pdf(doc, language))).pages)
    for piece in ("<script>", "$x$", "@ref", "*a*", "{{ 7"):
        assert piece in text
