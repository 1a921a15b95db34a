"""What is known about a method stands in its row, and table, classes, schema and sentences name the same methods."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from reports import sample

import config_readme
from budama import files, methods
from budama.jobs import code_digest
from budama.methods import METHODS
from budama.pruning import criteria
from budama.reporting.figures import style
from budama.reporting.language import LANGUAGES, Language
from budama.settings import schema

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "workflow/scripts/budama"


def test_every_method_has_a_row_and_a_class():
    assert list(criteria.CRITERIA) == list(METHODS)
    for name, criterion in criteria.CRITERIA.items():
        assert criterion.method is METHODS[name]
        assert criterion.__doc__


def test_every_class_has_a_row():
    ahead, found = [criteria.Criterion], set()
    while ahead:
        below = [one for one in ahead.pop().__subclasses__() if one.__module__.startswith("budama.")]
        ahead += below
        found |= {one.method.name for one in below}
    assert found == set(METHODS)


def test_the_schema_allows_the_methods_of_the_table():
    assert schema.load("scenario")["properties"]["pruning"]["properties"]["methods"]["items"]["enum"] == list(METHODS)
    assert schema.load("recorded")["properties"]["methods"]["propertyNames"]["enum"] == list(METHODS)


def test_editors_are_told_the_methods_of_the_table():
    assert config_readme.NAMES.read_text("utf-8") == config_readme.names(), (
        "names.schema.yaml is stale: python workflow/scripts/config_readme.py"
    )
    for name in METHODS:
        assert re.search(rf"\n    enum: \[.*\b{name}\b.*\]\n", config_readme.names())


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_method_has_its_sentences(code):
    catalogue = Language(code).entry("methods")
    assert set(catalogue) == set(METHODS)
    for forms in catalogue.values():
        assert {form for form in forms if not form.endswith("_untrained")} == {"title", "label", "short", "description"}
        assert all(forms.values())


def test_every_method_names_its_paper():
    for row in METHODS.values():
        assert re.search(r"\b(19|20)\d\d\b", row.paper)


def test_methods_can_be_told_apart_by_colour_and_by_marker():
    rows = METHODS.values()
    for looks in (
        [row.colour[0] for row in rows] + [light for (light, _), _ in methods.SPARE],
        [row.colour[1] for row in rows] + [dark for (_, dark), _ in methods.SPARE],
        [row.marker for row in rows] + [marker for _, marker in methods.SPARE],
    ):
        assert len(set(looks)) == len(looks)


def test_the_others_are_tested_against_one_control():
    (reference,) = (row for row in METHODS.values() if row.reference)
    assert reference.control
    assert reference.seeded
    assert not reference.new_weights


def test_new_weights_depend_on_the_seed():
    assert all(row.seeded for row in METHODS.values() if row.new_weights)


def test_a_method_that_the_table_lacks_has_a_spare_look_and_no_facts():
    row = methods.find("of_another_version")
    assert (row.colour, row.marker) in methods.SPARE
    assert row == methods.find("of_another_version")
    assert not any((row.control, row.seeded, row.reference, row.new_weights, row.family))
    assert style.style("of_another_version") == (*row.colour, row.marker)


@pytest.mark.parametrize("stage", ["prune", "aggregate", "report", "index"])
def test_the_table_is_part_of_the_stages_that_read_it(stage):
    assert LIBRARY / "methods.py" in code_digest.modules(stage)


@pytest.mark.parametrize("stage", ["dataset", "baseline", "calibrate", "finetune", "benchmark", "export"])
def test_the_table_is_no_part_of_the_others(stage):
    assert LIBRARY / "methods.py" not in code_digest.modules(stage)


@pytest.mark.parametrize("name", ["scratch", "random"])
def test_no_other_module_decides_by_a_methods_name(name):
    naming = [path for path in LIBRARY.rglob("*.py") if f'"{name}"' in path.read_text("utf-8")]
    found = {path.relative_to(LIBRARY).as_posix() for path in naming}
    assert found - {"reporting/turkish.py"} == {"methods.py"}  # there, a word of the report has its pronunciation


# A new method ---------------------------------------------------------------------------------------------------------

ROW = 'SPREAD = Method("spread", "weights", "Nobody 2026", ("#12ab56", "#fedc0a"), "H", family="modern")\n'
CLASS = '''
from budama import methods


class Spread(Criterion):
    """Sum over the group's layers of the standard deviation of a channel's weights."""

    method = methods.SPREAD

    def score(self, group: list[Member], size: int, statistics, seed: str) -> Tensor:
        deviations = [(m, rows.double().std(1, unbiased=False)) for m in group for _, _, rows in weight_rows(m)]
        return sum(gather(member, values, size) for member, values in deviations)
'''
SENTENCE = (
    "  spread: {title: Spread of the Weights, label: Spread Pruning, short: Spread, description: how they differ}\n"
)
PRUNE = """
import torch
from budama.pruning import pruner
from budama.settings import schema

assert "spread" in schema.load("scenario")["properties"]["pruning"]["properties"]["methods"]["items"]["enum"]
net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 5))
pruned = pruner.prune(net, (3, 8, 8), 5, "spread", {"ratio": 0.5})
print(len(pruned.kept["0"]))
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """A copy of the program with one more method: its row, its class, its sentence, and nothing else."""
    copy = tmp_path_factory.mktemp("program") / "workflow/scripts"
    shutil.copytree(LIBRARY.parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    table, classes = copy / "budama/methods.py", copy / "budama/pruning/criteria/weights.py"
    rows = table.read_text("utf-8").replace("COVERAGE = ", f"{ROW}COVERAGE = ")
    table.write_text(rows.replace("(COVERAGE, ", "(COVERAGE, SPREAD, "), "utf-8")
    classes.write_text(classes.read_text("utf-8") + CLASS, "utf-8")
    for code in LANGUAGES:
        catalogue = copy / f"budama/reporting/templates/{code}.yaml"
        catalogue.write_text(catalogue.read_text("utf-8").replace("\nmethods:\n", f"\nmethods:\n{SENTENCE}"), "utf-8")
    return copy


def test_a_new_method_prunes(scripts):
    done = subprocess.run([sys.executable, "-c", PRUNE], cwd=scripts, capture_output=True, text=True, check=False)
    assert done.stdout == "4\n", done.stderr


def test_a_new_method_stands_in_the_report_with_its_title_and_its_colour(scripts, tmp_path):
    content = sample()
    for row in content["variants"]:
        if row["method"] == "wanda":
            row["method"] = "spread"
    files.write_json(tmp_path / "results.json", content)
    command = [sys.executable, "report.py", "--spec", '{"scenario": "sample", "report": {}}']
    paths = ["--results", tmp_path / "results.json", "--output-dir", tmp_path]
    done = subprocess.run([*command, *paths], cwd=scripts, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text, page = ((tmp_path / f"ozet_rapor.{form}").read_text("utf-8") for form in ("md", "html"))
    assert "Spread of the Weights" in text
    assert "Spread of the Weights" in page
    assert "Spread Pruning" in page
    assert "Wanda" not in text
    (variable,) = set(re.findall(r"(--method-\d+): *#12ab56", page))
    assert re.search(f"{variable}: *#fedc0a", page)
    assert f"var({variable})" in page
    assert any("#12ab56" in path.read_text("utf-8") for path in (tmp_path / "figures").glob("*.svg"))
