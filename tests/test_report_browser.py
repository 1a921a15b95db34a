"""The HTML in a real Chromium: from disk, with the network off, at a phone's and a desk's width, light and dark."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from reports import ROOT, document, from_record, grid, sample, single

from budama import files
from budama.reporting import board, entries, overview, render
from budama.reporting.language import Language
from budama.reporting.view import Results
from budama.results import published

BROWSER = Path(__file__).with_name("browser")
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory) -> Path:
    """A folder with the scripts and their two packages, installed from the lock file."""
    if not CHROMIUM:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("Node.js or npm is not installed: apt-get install nodejs npm")
    folder = tmp_path_factory.mktemp("browser")
    for name in ("package.json", "package-lock.json", *(script.name for script in BROWSER.glob("*.mjs"))):
        shutil.copy(BROWSER / name, folder)
    if (BROWSER / "node_modules").is_dir():
        shutil.copytree(BROWSER / "node_modules", folder / "node_modules", symlinks=True)
        return folder
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("playwright-core and axe-core cannot be installed: npm does not answer")
    if done.returncode:
        pytest.skip(f"playwright-core and axe-core cannot be installed: {done.stderr.strip()[-200:]}")
    return folder


def look_at(page: str, folder: Path, node_modules: Path, script: str = "inspect.mjs", *arguments: str) -> dict:
    """What a script found on a page."""
    file = folder / "page.html"
    files.write_text(file, page)
    command = ["node", script, CHROMIUM, str(file), *arguments]
    environment = os.environ | {"HOME": str(folder)}
    done = subprocess.run(
        command, cwd=node_modules, capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def hostile() -> dict:
    """Names that would run, load or break something if they could."""
    content = single() | {
        "scenario": "<script>alert(1)</script>",
        "title": "<img src=x onerror=alert(2)> 'q' \"q\" 🙂 שלום | `x`",
    }
    content["model"]["title"] = "AşırıuzunvehiçkırılmayanbirmodeladıResNet" * 3
    content["dataset"]["class_names"] = ["<svg onload=alert(3)>"] * 10
    content["variants"][0]["method"] = "</script><script>alert(4)</script>"
    return content


def every_scenario() -> str:
    language = Language("tr")
    contents = [sample(), hostile(), *(from_record(f"ts{n}") for n in range(2, 7))]
    found = [Results(content, language) for content in contents]
    rows = [entry for results in found for entry in entries.of_results(results)]
    rows += published.read(ROOT / "config/scenarios/recorded/published.json")
    return render.index(overview.entries(found, Path("/nowhere")), language, board.board(rows, found, {}, language))


PAGES = {
    "recorded": lambda: render.html(*document(from_record("ts3"), from_record("ts2"))),
    "sample": lambda: render.html(*document(sample(), decimal=",")),
    "english": lambda: render.html(*document(single(), code="en")),
    "grid": lambda: render.html(*document(grid())),
    "hostile": lambda: render.html(*document(hostile())),
    "index": every_scenario,
}


LONG = ("sample", "english", "grid")


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in PAGES]
)
def seen(request, tmp_path_factory, node_modules) -> dict:
    return look_at(PAGES[request.param](), tmp_path_factory.mktemp(request.param), node_modules) | {
        "page": request.param
    }


def test_it_opens_without_a_network_and_without_an_error(seen):
    assert seen["errors"] == []
    assert seen["requests"] == []


def test_the_page_never_scrolls_sideways(seen):
    assert [(view["width"], view["scrollWidth"]) for view in seen["views"]] == [(390, 390)] * 2 + [(1440, 1440)] * 2


def test_axe_finds_nothing_serious(seen):
    for view in seen["views"]:
        assert [v for v in view["violations"] if v["impact"] in ("serious", "critical")] == []


def test_light_and_dark_follow_the_reader_and_the_button(seen):
    light, dark = (
        next(view["background"] for view in seen["views"] if view["scheme"] == scheme) for scheme in ("light", "dark")
    )
    assert light != dark
    assert seen["toggled"] == [light, dark]


def test_pictures_have_names_and_can_be_seen(seen):
    for view in seen["views"]:
        assert view["pictures"] or seen["page"] == "index"
        assert all(
            picture["role"] == "img" and picture["named"] and picture["width"] > 300 for picture in view["pictures"]
        )


def test_a_table_sorts_by_number_and_back_and_the_original_stays_on_top(seen):
    found = seen["sorted"]
    if seen["page"] == "index":  # its second column is the model, which is text
        assert found["first"]["aria"] == "ascending"
        assert found["second"]["order"] == found["first"]["order"][::-1] or len(set(found["before"])) < len(
            found["before"]
        )
        return
    values = sorted((float(v) for v in found["before"] if v is not None), reverse=True)
    missing = [None] * found["before"].count(None)
    shown = {key: [v if v is None else float(v) for v in found[key]["order"]] for key in ("first", "second")}
    assert shown == {"first": values + missing, "second": values[::-1] + missing}
    assert [found[key]["aria"] for key in shown] == ["descending", "ascending"]
    assert found["topAfter"] == found["top"]


def test_the_index_filters_as_one_types(seen):
    if seen["page"] == "index":
        assert len(set(seen["filtered"]["all"])) == 7
        assert seen["filtered"]["typed"] == ["TS5", "TS6"]
        assert seen["filtered"]["none"] == []


def test_the_leaderboard_answers_a_reader(tmp_path, node_modules):
    seen = look_at(every_scenario(), tmp_path, node_modules, "board.mjs", "ResNet50, ImageNet")
    assert seen["errors"] == []
    opened, recorded = seen["opened"], seen["recorded"]
    assert opened["count"] == str(len(opened["rows"]))
    assert opened["best"].startswith("En doğrusu: latency-aware taylor (HALP (Shen et al. 2022), README, 77,44).")
    assert seen["first"]["told"] != seen["second"]["told"]  # the arrow key went on
    # below 3.2 G, and losing no more than 1.5 points
    assert "EagleEye (Li et al. 2020), README, 77,10" in seen["limited"]["best"]
    assert "MAC (G) en çok 3,2" in seen["limited"]["best"]
    assert "Bu eksende değeri bilinmeyen 1 satır daha doğrudur; en doğrusu latency-aware" in seen["limited"]["best"]
    assert "MAC (G): group fisher, distilled (mmrazor, GroupFisher, 76,50), 2,06" in seen["cheapest"]["best"]
    assert "MAC (orijinalin %'si): FPGM Pruning" in seen["cheapest"]["best"]
    assert "Boyut (MiB): bilinmiyor" in seen["cheapest"]["best"]
    assert "Kaybı bilinmeyen 6 satır elendi; en doğrusu latency-aware taylor" in seen["cheapest"]["best"]
    assert seen["hiding"] not in {row[0] for row in seen["hidden"]["rows"]}
    assert {row[3].removesuffix("kayıt") for row in recorded["rows"]} == {"TS2", "TS3", "TS4"}
    assert len(recorded["rows"]) == recorded["points"] == 13
    assert seen["controls"]["points"] > 0
    assert seen["controls"]["best"] == ""  # a control is never the best
    accuracies = [
        [float(row[1].split()[0].replace(",", ".")) for row in seen[way]["rows"]] for way in ("descending", "ascending")
    ]
    assert accuracies[0] == sorted(accuracies[0], reverse=True)
    assert accuracies[1] == sorted(accuracies[1])


def test_a_reports_own_figure_answers_for_the_limit_that_is_set(tmp_path, node_modules):
    measured = [row for row in sample()["variants"] if row["status"] == "ok"]
    seen = look_at(PAGES["sample"](), tmp_path, node_modules, "explore.mjs", "60")
    assert seen["errors"] == []
    assert seen["opened"]["points"] == 1 + len(measured)
    rows = [row for row in measured if row["ratio"] == 0.3 and row["method"] not in ("random", "scratch")]
    best = max(rows, key=lambda row: row["accuracy_percent"])
    shown = f"Magnitude Pruning %30 ({best['accuracy_percent']:.2f})".replace(".", ",")
    assert seen["limited"]["best"].startswith(f"MAC (orijinalin %'si) en çok 60 iken en doğrusu: {shown}.")
    assert "%10" not in seen["limited"]["best"]
    assert "doğruluk" in seen["focused"]["told"]


def test_only_the_page_has_the_figure_that_answers():
    shown = document(sample(), decimal=",")
    assert "data-board" in render.html(*shown)
    for form in (render.markdown(*shown), render.typst_source(*shown)):
        assert "Sınırı siz koyun" not in form
