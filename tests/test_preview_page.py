"""The preview as a page: every layer, what it costs, and what stands in the way."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from reports import Page

from budama.pruning import preview
from budama.reporting import preview as page
from budama.reporting import render
from budama.reporting.language import Language

SCRIPT = Path(__file__).parents[1] / "workflow/scripts/preview_page.py"
MODEL = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8}, "weights": None}
PRUNING = {
    "methods": ["wanda"], "ratio": [0.25, 0.5], "scope": "layerwise", "match": "channels", "steps": 1,
    "max_ratio": 0.95, "ignore": ["stage2.0.conv1"], "layers": {"stage1.0.conv1": 0.75},
}  # fmt: skip
DATA = {"name": "cifar10", "root": None, "image_size": None, "channels": None}


@pytest.fixture(scope="module")
def shown():
    return json.loads(json.dumps(preview.preview(MODEL, DATA, PRUNING)))


def tables(document):
    blocks = [*document.summary, *(block for section in document.sections for block in section.blocks)]
    return {block.name: block for block in blocks if block.kind == "table"}


def texts(row):
    return [cell.text for cell in row.cells]


def test_every_layer_has_its_widths_and_operations_and_share(shown):
    """conv2 of the first block: 16 channels in and out, 3 × 3, at 32 × 32."""
    table = tables(page.document(shown, "small", Language("en", ".")))["layers"]
    rows = {row.cells[0].sort: row for row in table.rows}
    assert list(rows) == [layer["name"] for layer in shown["after"][0]["layers"]]
    macs = 16 * 16 * 9 * 32 * 32 / 1e6
    share = 100 * macs / (1e3 * shown["before"]["gmacs"])
    conv2 = rows["stage1.0.conv2"]
    assert texts(conv2) == [
        "stage1.0.conv2", "16", f"{macs:.2f}", f"{share:.1f}%",
        "12", f"{4 * 12 * 9 * 1024 / 1e6:.2f}", "8", f"{4 * 8 * 9 * 1024 / 1e6:.2f}",
    ]  # fmt: skip
    assert [cell.detail for cell in conv2.cells][4::2] == ["−25.0%", "−50.0%"]
    assert texts(rows["stage2.0.conv1"])[4::2] == ["32", "32"]


def test_what_stands_in_the_way_is_said_of_each_layer_that_stays(shown):
    for code, why in (("en", "left out by pruning.ignore"), ("tr", "pruning.ignore ile dışarıda bırakıldı")):
        table = tables(page.document(shown, "small", Language(code)))["whole"]
        assert {row.cells[0].sort: str(row.cells[3].text) for row in table.rows} == {"stage2.0.conv1": why}


def test_totals_are_those_of_the_preview(shown):
    table = tables(page.document(shown, "small", Language("en", ".")))["totals"]
    before, quarter, half = (texts(row) for row in table.rows)
    assert before[2] == f"{shown['before']['parameters']:,}"
    for row, after in ((quarter, shown["after"][0]), (half, shown["after"][1])):
        assert row[2] == f"{after['parameters']:,}"
        assert row[4] == f"{1e3 * after['gmacs']:.2f}"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, None),
        ({"match": "latency"}, "makinede ölçülür"),
        ({"criterion": "magnitude of random weights", "scope": "global"}, "yöntemler karar verir"),
        ({"classes_known": False}, "sınıf sayısı varsayımdır"),
        ({"rounded": True}, "yuvarlanmadan"),
    ],
)
def test_an_estimate_says_why_it_is_one(shown, changed, words):
    after = [{**one, "estimate": words is not None} for one in shown["after"]]
    text = render.html(page.document({**shown, "after": after, **changed}, "küçük", Language("tr")), Language("tr"))
    assert ("Bu bir tahmindir" in text) == (words is not None)
    assert words is None or words in text


def test_the_stage_writes_a_page_that_needs_nothing_else(shown, tmp_path):
    (tmp_path / "preview.json").write_text(json.dumps(shown))
    spec = json.dumps({"settings": {"report": {"language": "tr", "decimal": None}, "title": "<b>küçük</b>"}})
    command = [sys.executable, SCRIPT, "--spec", spec, "--preview", "preview.json", "--output", "onizleme.html"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "onizleme.html").read_text()
    Page(text)
    assert "<b>küçük</b>" not in text.replace("&lt;b&gt;", "")
    assert "stage1.0.conv1 %75" in re.sub("<[^>]*>", "", text)
    assert "results.json" not in text
    assert not [word for word in ("http://", "https://", "src=") if word in text.replace("http://www.w3.org", "")]


def test_times_are_asked_for_and_shown_as_an_estimate_by_operations():
    after = preview.preview(MODEL, DATA, {**PRUNING, "ratio": 0.3, "match": "latency", "layers": {}})
    assert after["match"] == "latency"
    assert after["after"][0]["estimate"]
    assert after["after"][0]["gmacs_change_percent"] == pytest.approx(-30, abs=0.5)
