"""The leaderboard: every number of the files it is made of, the reports' own ties, tables for pandas."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from reports import ROOT, from_record, on_images, sample, single

from budama import files
from budama.errors import BudamaError
from budama.reporting import board, entries, render
from budama.reporting.language import Language
from budama.reporting.view import Results
from budama.results import leaderboard, published
from budama.settings.published import find
from budama.significance import differences

PUBLISHED = ROOT / "config/scenarios/recorded/published.json"
RECORDED = [f"ts{n}" for n in range(2, 7)]


def made(contents: list[dict], tables: list[Path], code: str = "tr") -> tuple[dict, list[dict], str]:
    """The board of results and tables, its entries, and the page."""
    language = Language(code)
    found = [Results(content, language) for content in contents]
    rows = [entry for results in found for entry in entries.of_results(results)]
    rows += [entry for path in tables for entry in published.read(path)]
    links = {results.scenario: f"{results.scenario}/ozet_rapor.html" for results in found}
    shown = board.board(rows, found, links, language)
    return shown, rows, render.index([], language, shown)


@pytest.fixture(scope="module")
def everything():
    return made([sample(), *(from_record(name) for name in RECORDED)], [PUBLISHED])


def numbers(cell: board.Cell) -> list[float]:
    """The numbers that a cell shows, written as Turks do."""
    found = re.findall(r"[−-]?%?\d[\d.]*(?:,\d+)?", f"{cell.text} {cell.detail}")
    return [float(one.replace("−", "-").replace("%", "").replace(".", "").replace(",", ".")) for one in found]


def cells(everything, kind: str) -> list[dict[str, board.Cell]]:
    return [row["cells"] for row in everything[0]["rows"] if row["kind"] == kind]


@pytest.mark.parametrize("name", RECORDED)
def test_every_number_of_a_record_is_in_a_row_of_its_own(everything, name):
    record = json.loads((PUBLISHED.parent / f"{name}.json").read_text())
    title = from_record(name)["title"]
    own = [row for row in cells(everything, "recorded") if row["scenario"].sort == title]
    for method, values in {None: record["baseline"], **record["methods"]}.items():
        label = Language("tr").entry(f"methods.{method}.label") if method else "Orijinal"
        row = next(row for row in own if row["method"].sort == label)
        assert numbers(row["accuracy"]) == [values["accuracy_percent"]]
        assert numbers(row["macs"])[0] == pytest.approx(values["gmacs"], abs=0.005)
        assert numbers(row["size"])[0] == pytest.approx(values["size_mib"], abs=0.005)
        if method:
            change = values["accuracy_percent"] - record["baseline"]["accuracy_percent"]
            assert numbers(row["change"]) == [pytest.approx(change, abs=0.005)]
        assert row["time"].text == "-"  # these were not timed so that they may be compared


def test_every_number_of_the_published_tables_is_in_a_row_of_its_own(everything):
    rows, many = cells(everything, "published"), 0
    for table in json.loads(PUBLISHED.read_text())["tables"]:
        for one in table["rows"]:
            many += 1
            asked = one["method"] + (f" + {one['regularizer']}" if "regularizer" in one else "")
            label = Language("tr").entry(f"methods.{asked}.label") or asked
            fitting = [
                row
                for row in rows
                if (row["method"].sort, row["scenario"].sort) == (label, table["source"])
                and row["accuracy"].sort == one["accuracy_percent"]
                and (row["parameters"].sort or 0) == pytest.approx(one.get("million_parameters_left", 0))
            ]
            assert fitting, one
            shown = fitting[0]
            assert numbers(shown["accuracy"])[0] == pytest.approx(one["accuracy_percent"], abs=0.005)
            said = str(shown["remarks"].sort)
            for key in ("schedule", "step_time"):
                assert (table | one).get(key, "") in said
            if "macs_speedup" in one:
                assert numbers(shown["macs"])[-1] == pytest.approx(100 / one["macs_speedup"] - 100, abs=0.06)
            if "gmacs" in one:
                assert numbers(shown["macs"])[0] == one["gmacs"]
            if "images_per_second_there" in one:
                assert Language("tr").number(one["images_per_second_there"], 0) in said
            assert ("test kümesinde seçilmiş" in said) == (table.get("selected_on") == "test")
    assert many == 312


def test_ties_are_those_of_the_reports(everything):
    shown, rows, _ = everything
    ordered = sorted(rows, key=lambda one: -one["accuracy_percent"])
    told = {(i, j): apart for i, j, apart in json.loads(shown["data"])["pairs"]["told"]}
    for content in [sample(), *(from_record(name) for name in RECORDED)]:
        places = {one["variant"]: i for i, one in enumerate(ordered) if one["scenario"] == content["scenario"]}
        for claim in content["comparisons"]:
            pair = tuple(sorted((places[claim["a"]], places[claim["b"]])))
            assert told[pair] == int(claim["distinguishable"])
        for claim in content["against_original"]:
            pair = tuple(sorted((places["baseline"], places[claim["variant"]])))
            assert told[pair] == int(claim["distinguishable"])


def test_variants_with_seeds_that_ran_apart_are_tested_as_scenarios_are_compared():
    here, there = sample(), sample() | {"scenario": "again"}
    shown, rows, _ = made([here, there], [])
    ordered = sorted(rows, key=lambda one: -one["accuracy_percent"])
    pairs = json.loads(shown["data"])["pairs"]["p"]
    i, j, p = next(
        (i, j, p)
        for i, j, p in pairs
        if {ordered[i]["scenario"], ordered[j]["scenario"]} == {"sample", "again"}
        and {ordered[i]["variant"], ordered[j]["variant"]} == {"coverage-0.1", "scratch-0.1"}
    )
    accuracies = [list(ordered[k]["seed_accuracies_percent"].values()) for k in (i, j)]
    assert p == pytest.approx(differences.between_runs([tuple(accuracies)], 10_000)[0]["p"], rel=1e-3)


def test_variants_of_two_scenarios_on_the_same_test_images_are_paired():
    contents = [on_images(single(), "here", 2), on_images(single(), "there", 0)]
    shown, rows, _ = made(contents, [])
    ordered = sorted(rows, key=lambda one: -one["accuracy_percent"])
    here, there = (Results(content, Language("tr")).candidates() for content in contents)
    pairs = {
        (ordered[i]["variant"], ordered[j]["variant"]): (p, ordered[i]["scenario"])
        for i, j, p in json.loads(shown["data"])["pairs"]["p"]
        if ordered[i]["scenario"] != ordered[j]["scenario"]
    }
    assert len(pairs) == 36
    for (a, b), (p, scenario) in pairs.items():
        sides = (here, there) if scenario == "here" else (there, here)
        pair = (sides[0][a], sides[1][b])
        assert p == pytest.approx(differences.p_across([pair], *(list(s.values()) for s in sides))[0], rel=1e-3)


def test_models_and_data_sets_are_one_however_they_are_written():
    assert entries.group("ResNet-50", "CIFAR-10") == entries.group("resnet50", "cifar10")
    assert entries.group("ResNet-50", "CIFAR-10") != entries.group("ResNet-50", "CIFAR-100")


def test_a_small_models_operations_have_three_digits():
    content = sample()
    for row in (content["baseline"], *content["variants"]):
        row["gmacs"] = 0.00168
    shown, _, _ = made([content], [])
    assert {row["cells"]["macs"].text for row in shown["rows"]} == {"0,00168"}


def test_latencies_of_machines_are_in_no_order(everything):
    head = re.findall(r"<thead>.*?</thead>", everything[2], re.DOTALL)[-1]
    time = next(cell for cell in head.split("</th>") if "Süre" in cell)
    assert "<button" not in time
    assert {row["machine"] for row in json.loads(everything[0]["data"])["rows"] if row["time"]} == {"sample CPU"}


def test_hostile_names_are_harmless():
    content = sample() | {"scenario": "<script>alert(1)</script>", "title": "</script><script>alert(2)</script>"}
    content["variants"][0]["method"] = "<img src=x onerror=alert(3)>"
    _, _, page = made([content], [])
    assert "<script>alert" not in page
    assert "<img" not in page


def test_tables_have_a_row_a_seed_and_both_forms_are_equal(tmp_path, everything):
    leaderboard.write(everything[1], tmp_path)
    table, again = pd.read_csv(tmp_path / "leaderboard.csv"), pd.read_parquet(tmp_path / "leaderboard.parquet")
    assert list(table) == list(again)
    assert len(table) == len(again)
    own = again[(again["scenario"] == "sample") & (again["variant"] == "coverage-0.1")]
    row = next(row for row in sample()["variants"] if row["variant"] == "coverage-0.1")
    assert list(own["seed_accuracy_percent"]) == [seed["accuracy_percent"] for seed in row["seeds"]]
    assert set(own["accuracy_percent"]) == {row["accuracy_percent"]}
    assert set(own["epochs"]) == {5}
    assert set(again["kind"]) == {"measured", "recorded", "published"}
    chosen = again[(again["source"] == "Torch-Pruning, reproduce/readme.md") & (again["model"] == "VGG-19")]
    assert set(chosen["selected_on"].dropna()) == {"test"}
    documented = (ROOT / "docs/leaderboard.md").read_text()
    assert [name for name in again if f"`{name}`" not in documented] == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"accuracy_percent": 101}, "accuracy_percent is 101; it must be"),
        ({"accuracy": 70}, "accuracy is not a known key; did you mean"),
    ],
)
def test_a_mistake_in_a_table_is_told_in_one_line_before_anything_runs(tmp_path, change, line):
    path = tmp_path / "scenarios/recorded/published_own.json"
    row = {"method": "l1", "accuracy_percent": 70} | change
    files.write_json(path, {"tables": [{"source": "s", "model": "m", "dataset": "d", "rows": [row]}]})
    with pytest.raises(BudamaError) as error:
        find(tmp_path)
    assert [str(path) in told and "tables[0].rows[0]" in told for told in error.value.lines] == [True]
    assert line in error.value.lines[0]
