"""The forms of a report: Markdown, HTML, PDF and figures hold the same, and come out the same each time."""

import io
import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from pypdf import PdfReader
from reports import ROOT, Page, document, from_record, grid, hostile, sample, single

from budama import files
from budama.reporting import inline, overview, render
from budama.reporting.language import Language
from budama.reporting.view import Results


def test_the_pdf_holds_the_letters_the_numbers_and_its_fonts():
    pdf = PdfReader(io.BytesIO(render.pdf(*document(from_record("ts3"), from_record("ts2")))))
    text = " ".join("".join(page.extract_text() for page in pdf.pages).split())
    assert set("ğşıİçöüĞŞÇÖÜ") - set("ĞŞÇÖÜ") <= set(text)
    for piece in (
        "Doğruluk-Verimlilik Dengesi",
        "Çıkarım Süresi",
        "%96.1",
        "79.67",
        "−6.46",
        "Karşılaştırmalı Sonuçlar",
        "TS2 ile",
    ):
        assert piece in text
    assert pdf.metadata.title == "TS3 Test Senaryosu - Özet Rapor"
    for page in pdf.pages:
        for font in page["/Resources"]["/Font"].values():
            descendant = font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object()
            assert {"/FontFile2", "/FontFile3"} & set(descendant)


@pytest.mark.parametrize("code", ["tr", "en"])
def test_all_forms_hold_every_number_of_the_tables(code):
    doc, language = document(from_record("ts4"), code=code)
    blocks = [block for section in doc.sections for block in section.blocks if block.kind == "table"]
    cells = {inline.to_plain(cell.text) for block in blocks for row in block.rows for cell in row.cells[1:]} - {
        "-",
        "·",
    }
    page = Page(render.html(doc, language)).text
    pdf = "".join(p.extract_text() for p in PdfReader(io.BytesIO(render.pdf(doc, language))).pages)
    assert len(cells) > 30
    for cell in cells:
        assert cell in page
        assert cell in pdf
        assert cell.replace("−", "-") in render.markdown(doc, language)


def test_a_page_needs_nothing_else_and_says_so():
    text = render.html(*document(sample()))
    page = Page(text)
    assert not [
        tag
        for tag, a in page.tags
        if tag in ("link", "img", "iframe", "object") and not a.get("href", "").startswith("data:")
    ]
    assert "default-src 'none'" in text
    assert not re.search(r"url\((?!#)", text)
    assert dict(page.tags)["html"]["lang"] == "tr"
    answers, pictures = [], []
    for tag, a in page.tags:
        if tag == "svg":
            (pictures if a["role"] == "img" else answers).append(a)
    assert len(pictures) >= 7
    assert all(a["aria-labelledby"] for a in pictures)
    assert [(a["role"], a["aria-label"]) for a in answers] == [("group", "Doğruluk ve maliyet")]
    assert {a["href"][1:] for tag, a in page.tags if tag == "a" and a["href"].startswith("#")} <= set(page.ids)


def test_figures_keep_text_as_text_and_tell_what_they_show():
    doc, _ = document(sample())
    for figure in doc.figures:
        root = ElementTree.fromstring(figure.svg)
        names = {element.tag.rpartition("}")[2]: element.text for element in root.iter()}
        assert names["title"] == inline.to_plain(figure.title)
        assert len(names["desc"]) > 40
        assert "text" in names
        assert inline.to_plain(figure.caption).endswith(".")


def test_scenarios_whose_names_look_alike_in_a_file_name_keep_their_figures_apart():
    others = [from_record("ts2") | {"title": name} for name in ("שלום", "🙂", "TS 2", "TS-2")]
    doc, _ = document(from_record("ts3"), *others)
    names = [figure.name for figure in doc.figures]
    assert names[-4:] == ["with-other", "with-other-2", "with-ts-2", "with-ts-2-2"]
    assert len({section.name for section in doc.sections}) == len(doc.sections)


@pytest.mark.parametrize("spread", [0.03, 0.4, 2.0, 9.0, 60.0])
def test_the_numbers_on_an_axis_are_where_they_say(spread):
    content = from_record("ts4")
    for i, row in enumerate(content["variants"]):
        row["accuracy_percent"] = 78 - spread * i / 3
    drawn = next(figure for figure in document(content)[0].figures if figure.name == "accuracy-macs").draw()
    drawn.draw_without_rendering()
    for axis in (drawn.axes[0].xaxis, drawn.axes[0].yaxis):
        shown = [float(label.get_text().replace("−", "-")) for label in axis.get_ticklabels()]
        assert shown == pytest.approx(list(axis.get_majorticklocs()), abs=1e-9)


def test_the_same_results_give_the_same_bytes(tmp_path):
    for run in ("a", "b"):
        render.write(*document(single(), from_record("ts3")), tmp_path / run)
    written = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(written) > 10
    for path in written:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path


def test_a_figure_of_an_older_run_does_not_stay(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/layers.svg").touch()
    render.write(*document(from_record("ts3")), tmp_path)
    assert not (tmp_path / "figures/layers.svg").exists()
    linked = set(re.findall(r"\]\((figures/.*?)\)", (tmp_path / "ozet_rapor.md").read_text()))
    assert {f"figures/{path.name}" for path in (tmp_path / "figures").iterdir()} == linked


def test_nine_methods_three_ratios_and_five_seeds_render_in_time(tmp_path):
    files.write_json(tmp_path / "results.json", grid())
    command = [sys.executable, "workflow/scripts/report.py", "--spec", '{"scenario": "grid", "report": {}}']
    before = os.times()
    subprocess.run([*command, "--results", tmp_path / "results.json", "--output-dir", tmp_path], cwd=ROOT, check=True)
    after = os.times()  # processor time: what else runs on the machine does not count
    assert after.children_user + after.children_system - before.children_user - before.children_system < 20
    assert len((tmp_path / "ozet_rapor.html").read_bytes()) < 3_000_000


def test_a_report_imports_no_torch():
    code = "import sys; import report, index, budama.reporting.figures.plots; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "workflow/scripts", check=True)


def test_a_wrong_file_is_told_in_a_line(tmp_path):
    files.write_json(tmp_path / "metrics.json", {"status": "ok"})
    command = [
        sys.executable,
        "workflow/scripts/report.py",
        "--spec",
        "{}",
        "--results",
        tmp_path / "metrics.json",
        "--output-dir",
        tmp_path,
    ]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert told.stderr.strip().endswith("it must be a results.json that the aggregate stage wrote")


def test_the_index_lists_scenarios_as_people_count_and_links_what_exists(tmp_path):
    language = Language("tr")
    contents = [sample() | {"scenario": f"TS{n}", "title": None} for n in (10, 2, 1)] + [hostile("<script>|")]
    (tmp_path / "TS2").mkdir()
    for form in ("html", "pdf"):
        (tmp_path / "TS2" / f"ozet_rapor.{form}").touch()
    text = render.index(overview.entries([Results(c, language) for c in contents], tmp_path), language)
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 1
    links = [a["href"] for tag, a in page.tags if tag == "a" and "ozet_rapor" in a.get("href", "")]
    assert [link for link in links if link.startswith("TS2/")] == [
        "TS2/ozet_rapor.html",
        "TS2/ozet_rapor.html",
        "TS2/ozet_rapor.pdf",
    ] * len(Results(contents[0], language).ratios)
    order = [text.index(f'data-sort="TS{n}"') for n in (1, 2, 10)]
    assert order == sorted(order)


def test_an_empty_index_is_a_page():
    assert "Henüz raporlanmış senaryo yok" in render.index([], Language("tr"))
