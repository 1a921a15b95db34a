"""README's table comes out of results.json, by a program."""

import runpy
from pathlib import Path

from reports import single

TABLE = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks/readme_table.py"))["table"]


def test_a_row_a_variant_with_the_stages_that_there_are():
    content = single()
    wanda = next(row for row in content["variants"] if row["method"] == "wanda")
    wanda |= {"accuracy_percent": 91.5, "accuracy_interval": [91.0, 92.0], "accuracy_change_points": -2.02}
    wanda |= {"size_mib": 0.5, "gmacs": 0.02}
    wanda["fate"] |= {"as_pruned_percent": 36.3, "reestimated_percent": 83.03, "finetuned_percent": 93.31}
    lines = TABLE([content])
    assert lines[0].startswith("| channels | method | as pruned (%) | BatchNorm re-estimated (%) | fine-tuned (%) |")
    expected = "| −30 % | wanda | 36.30 | 83.03 | 93.31 | **91.50** [91.00, 92.00] | −2.02 | 0.50 | 20.00 |"
    assert expected in lines
    assert any("random (control)" in line for line in lines)
    wanda["fate"]["compensated_percent"] = 88.0
    assert any("| 83.03 | 88.00 | 93.31 |" in line for line in TABLE([content]))
    assert len({line.count("|") for line in lines}) == 1
