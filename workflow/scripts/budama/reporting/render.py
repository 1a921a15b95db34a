"""A document as Markdown, as one HTML page that needs nothing else, and as PDF."""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from pathlib import Path

import jinja2

from budama import files
from budama.errors import BudamaError
from budama.reporting import inline
from budama.reporting.document import Document
from budama.reporting.language import TEMPLATES, Language

NAME = "ozet_rapor"


def write(document: Document, language: Language, folder: str | Path) -> list[Path]:
    """Write ozet_rapor.md, .html, .pdf and figures/ into a folder; each appears whole or not at all."""
    folder = Path(folder)
    figures = {f"figures/{figure.name}.svg": figure.svg.encode() for figure in document.figures}
    with files.folder(folder / "figures") as temporary:
        for name, content in figures.items():
            (temporary / Path(name).name).write_bytes(content)
    written = [folder / f"{NAME}.{form}" for form in ("md", "html", "pdf")]
    files.write_text(written[0], markdown(document, language))
    files.write_text(written[1], html(document, language))
    files.write_bytes(written[2], pdf(document, language))
    return written


def markdown(document: Document, language: Language) -> str:
    """CommonMark with tables, as a code forge shows it; figures are files beside it."""
    text = _render("ozet_rapor.md.j2", document, language)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def html(document: Document, language: Language) -> str:
    """A page with its style, script and figures inside."""
    return _render("ozet_rapor.html.j2", document, language)


def typst_source(document: Document, language: Language) -> str:
    """The report in Typst's markup."""
    return _render("ozet_rapor.typ.j2", document, language)


def pdf(document: Document, language: Language) -> bytes:
    """A PDF with embedded fonts (Libertinus; DejaVu in figures), tagged for screen readers. Same report, same bytes."""
    import typst

    from budama.reporting.figures.style import FONTS

    sources = {f"figures/{figure.name}.svg": figure.svg.encode() for figure in document.figures}
    sources["main.typ"] = typst_source(document, language).encode()
    try:
        # Its types know no project that is a dictionary of files.
        return typst.compile(  # type: ignore[call-overload]
            sources, format="pdf", font_paths=[str(FONTS)], ignore_system_fonts=True
        )
    except typst.TypstError as error:
        raise BudamaError(f"{NAME}.pdf: typst says: {error}") from error


def index(entries: list[dict], language: Language, board: dict | None = None) -> str:
    """The page over all scenarios; `board` is the leaderboard of board.py."""
    page = _environment().get_template("index.html.j2")
    return page.render(entries=entries, board=board, say=language.say, language=language)


def _render(template: str, document: Document, language: Language) -> str:
    try:
        day = date.fromisoformat(document.date[:10])
    except ValueError:
        day = None
    return _environment().get_template(template).render(doc=document, say=language.say, language=language, day=day)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # every value passes one of the three filters below, each form having its own escaping
    )
    environment.filters |= {
        "md": inline.to_markdown,
        "html": inline.to_html,
        "attr": inline.to_attribute,
        "typ": inline.to_typst,
        "plain": inline.to_plain,
        "typ_string": lambda text: inline.typst_string(inline.to_plain(text)),
        "typ_raw": inline.typst_string,
        "fence": lambda text: "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0)),
        "svg": _inline_svg,
    }
    environment.globals["palette"] = _palette
    return environment


def _inline_svg(figure) -> str:
    from budama.reporting.figures.style import inline_svg

    return inline_svg(figure.svg, figure.name)


def _palette() -> dict[str, tuple[str, str]]:
    from budama.reporting.figures.style import palette

    return palette()
