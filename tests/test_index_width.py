"""The page over all scenarios fits a screen of 1,280 pixels: no column has to be scrolled to."""

import re
import shutil
import subprocess

import pytest
from reports import from_record, sample, single

from budama.reporting import overview, render
from budama.reporting.language import Language
from budama.reporting.view import Results

MEASURE = """<script>addEventListener("load", () => {
const table = document.querySelector(".scroll");
document.title = `${table.clientWidth} ${table.scrollWidth}`; });</script>"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_the_table_of_scenarios_fits_1280_pixels(tmp_path):
    language = Language("tr", ",")
    found = [Results(content, language) for content in (sample(), single(), from_record("ts2"), from_record("ts3"))]
    for results in found:
        for form in ("html", "pdf", "md"):
            (tmp_path / results.scenario).mkdir(exist_ok=True)
            (tmp_path / results.scenario / f"{render.NAME}.{form}").touch()
    page = render.index(overview.entries(found, tmp_path), language, None)
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page).replace("</body>", f"{MEASURE}</body>")
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900", "--dump-dom"]
    done = subprocess.run([*command, (tmp_path / "index.html").as_uri()], capture_output=True, text=True, timeout=120)
    shown, needed = map(int, re.findall(r"<title>(\d+) (\d+)</title>", done.stdout)[0])
    assert needed == shown > 1100
