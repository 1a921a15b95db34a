"""results.json out of what the stages wrote, here invented, so that every number can be checked."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_run import CLASSES, METHODS, SEEDS, SHARE, TEST, answers_of_test, drawn, measured
from pyarrow import parquet
from reports import from_record

from budama.errors import BudamaError
from budama.reporting import contract
from budama.results import aggregation, labels, rows
from budama.significance.hits import packed, unpacked

ROOT = Path(__file__).parents[1]
STAGE = ROOT / "workflow/scripts/aggregate.py"


@pytest.fixture(scope="module")
def results() -> dict:
    return aggregation.aggregate(measured())


def row(results: dict, variant: str) -> dict:
    return next(one for one in results["variants"] if one["variant"] == variant)


def test_what_single_test_images_gave_is_kept_with_what_tells_whether_they_are_the_same(results):
    parts = measured()
    for row in (results["baseline"], *(one for one in results["variants"] if one["status"] == "ok")):
        for seed in row["seeds"]:
            own = unpacked(seed["hits"], TEST)
            assert 100 * own.mean() == pytest.approx(seed["accuracy_percent"])
    assert aggregation.aggregate(parts)["dataset"]["test_split"] == results["dataset"]["test_split"]
    parts.dataset["splits"]["test"]["digests"].reverse()
    assert aggregation.aggregate(parts)["dataset"]["test_split"] != results["dataset"]["test_split"]


def test_a_row_is_the_mean_over_seeds_with_an_interval_over_seeds_and_images(results):
    wanda = row(results, "wanda")
    accuracies = [100 * drawn(f"wanda/seed-{seed}", TEST, SHARE["wanda"]).mean() for seed in SEEDS]
    assert wanda["accuracy_percent"] == pytest.approx(np.mean(accuracies))
    low, high = wanda["accuracy_interval"]
    assert low < min(accuracies) <= max(accuracies) < high
    assert wanda["accuracy_interval_over"] == "seeds"
    assert results["baseline"]["accuracy_interval_over"] == "images"
    assert [seed["seed"] for seed in wanda["seeds"]] == SEEDS


def test_changes_are_against_the_baseline_and_paired(results):
    wanda, baseline = row(results, "wanda"), results["baseline"]
    assert wanda["accuracy_change_points"] == pytest.approx(wanda["accuracy_percent"] - baseline["accuracy_percent"])
    assert wanda["change_interval"][0] < wanda["accuracy_change_points"] < wanda["change_interval"][1]
    width = np.diff(wanda["change_interval"])
    assert width < np.diff(wanda["accuracy_interval"])
    claim = next(one for one in results["against_original"] if one["variant"] == "wanda")
    assert wanda["change_interval"] == claim["interval"]
    assert (claim["test"], claim["of"], claim["seeds"]) == ("two_level", "methods", 3)
    assert (wanda["parameters_change_percent"], wanda["size_change_percent"]) == pytest.approx((-20, -20))
    assert wanda["gmacs_change_percent"] == pytest.approx(-20)
    assert wanda["retention_percent"] == pytest.approx(100 * wanda["accuracy_percent"] / baseline["accuracy_percent"])


def test_the_fate_tells_accuracy_as_pruned_reestimated_and_fine_tuned(results):
    fate = row(results, "magnitude")["fate"]
    assert (fate["baseline_percent"], fate["as_pruned_percent"], fate["finetuned_percent"]) == (95.5, 40.0, 94.0)
    assert 80 < fate["reestimated_percent"] < 90


def test_the_fate_has_a_step_for_what_was_compensated_and_none_where_nothing_was():
    parts = measured()
    for number, seed in enumerate(SEEDS):
        parts.pruning[f"wanda/seed-{seed}"]["selection_accuracy_percent"]["compensated"] = 87.0 + number
    content = aggregation.aggregate(parts)
    wanda, magnitude = row(content, "wanda"), row(content, "magnitude")
    assert wanda["fate"]["compensated_percent"] == pytest.approx(88.0)
    assert [seed["compensated_percent"] for seed in wanda["seeds"]] == [87.0, 88.0, 89.0]
    assert magnitude["fate"]["compensated_percent"] is None
    assert list(wanda["fate"])[2:] == ["reestimated_percent", "compensated_percent", "finetuned_percent"]


def test_latency_is_a_ratio_of_times_and_throughput_of_images(results):
    wanda = row(results, "wanda")
    assert wanda["latency_ms"] == wanda["latency"]["median_ms"] == pytest.approx(1.6)
    assert wanda["latency"]["ratio"] == 0.8
    assert wanda["throughput"]["ratio"] == pytest.approx(1.25)
    assert wanda["throughput"]["ratio_interval"] == pytest.approx([1 / 0.81, 1 / 0.79])
    assert "round_ms" not in wanda["timings"][0]


def test_accuracy_of_each_class_and_its_change(results):
    magnitude, answers = row(results, "magnitude"), answers_of_test()
    hits = np.mean([drawn(f"magnitude/seed-{seed}", TEST, SHARE["magnitude"]) for seed in SEEDS], axis=0)
    expected = [100 * hits[answers == label].mean() for label in range(CLASSES)]
    assert magnitude["per_class_accuracy_percent"] == pytest.approx(expected)
    before = results["baseline"]["per_class_accuracy_percent"]
    assert magnitude["per_class_change_points"] == pytest.approx(np.subtract(expected, before))


def test_close_methods_tie_and_random_is_apart(results):
    assert [set(group["variants"]) for group in results["ranking"]] == [{"magnitude", "wanda"}, {"random"}]
    tied = next(pair for pair in results["comparisons"] if {pair["a"], pair["b"]} == {"magnitude", "wanda"})
    assert results["ranking"][0]["tie_p_holm"] == tied["p_holm"] > 0.05
    assert len(results["comparisons"]) == 3
    assert {pair["test"] for pair in results["comparisons"]} == {"two_level"}


def test_methods_are_held_against_random_before_fine_tuning(results):
    controls = {entry["variant"]: entry for entry in results["against_random"]}
    assert set(controls) == {"magnitude", "wanda"}
    assert controls["wanda"]["stage"] == "reestimated"
    assert controls["wanda"]["p_holm"] >= controls["wanda"]["p"]


def test_a_method_that_cannot_serve_the_model_is_a_row_and_a_warning(results):
    unavailable = row(results, "bn_scale")
    assert unavailable["status"] == "unavailable"
    assert unavailable["reason"] == "the model has no BatchNorm layer"
    assert unavailable["accuracy_percent"] is None
    assert {"code": "unavailable", "variant": "bn_scale", "reason": unavailable["reason"]} in results["warnings"]


def test_the_data_sets_warnings_are_passed_on(results):
    assert results["warnings"][0] == {"code": "few_images", "images": TEST}


def test_the_title_that_a_baseline_gives_its_data_set_is_taken(results):
    assert results["dataset"]["title"] == "Digits"
    parts = measured()
    parts.settings["data"]["title"] = "El yazısı"
    assert aggregation.aggregate(parts)["dataset"]["title"] == "El yazısı"


def test_a_single_seed_and_a_control_that_is_off_are_warned_of():
    parts = measured()
    parts.settings["seeds"] = [0]
    parts.benchmark["controls"] = {"aa": {"ratio": 1.05, "interval": [1.03, 1.07], "within": False}}
    codes = [warning["code"] for warning in aggregation.aggregate(parts)["warnings"]]
    assert {"single_seed", "timing_noise"} <= set(codes)


def test_a_loss_that_is_not_a_number_becomes_null(results):
    assert row(results, "wanda")["history"][0]["epochs"][1] == {
        "epoch": 2, "train_loss": None, "selection_accuracy_percent": 91.5
    }  # fmt: skip


def test_nothing_trained_leaves_no_curves():
    parts = measured(baseline_history=measured().baseline_history[:0])
    assert aggregation.aggregate(parts)["baseline"]["history"] is None


def test_hits_scored_on_another_test_split_are_refused():
    parts = measured()
    parts.dataset["splits"]["test"]["labels"] = answers_of_test()[::-1].tolist()
    with pytest.raises(BudamaError, match="another test split"):
        aggregation.aggregate(parts)


def test_a_missing_seed_is_told_by_its_label():
    parts = measured()
    del parts.benchmark["rows"]["wanda/seed-1"]
    with pytest.raises(BudamaError, match="wanda/seed-1"):
        aggregation.aggregate(parts)


def test_hits_survive_packing():
    hits = np.random.default_rng(0).random(1001) < 0.5
    assert (unpacked(packed(hits), 1001) == hits).all()


def test_results_have_every_key_of_the_contract():
    parts = measured(exports={})
    for section, keys in (("pruning", contract.Pruning), ("finetune", contract.Finetune)):
        parts.settings[section] = dict.fromkeys(keys.__annotations__) | parts.settings[section]
    assert list(contract.missing(aggregation.aggregate(parts))) == []


def test_results_have_the_keys_of_the_sample_that_reports_are_built_on(results):
    sample = json.loads((ROOT / "tests/data/results_sample.json").read_text(encoding="utf-8"))
    assert set(results) == set(sample)
    for section in ("model", "dataset", "baseline", "controls"):
        assert set(results[section]) == set(sample[section]), section
    assert set(results["variants"][0]) == set(sample["variants"][0])
    for part in ("fate", "latency", "throughput"):
        assert set(row(results, "wanda")[part]) == set(sample["variants"][0][part]), part
    for part in ("ranking", "comparisons", "against_original", "against_random"):
        assert set(results[part][0]) == set(sample[part][0]), part


def test_tables_have_a_row_a_variant_and_the_baseline_first(results, tmp_path):
    rows.write(results, tmp_path)
    with open(tmp_path / "results.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [one["variant"] for one in read] == ["baseline", *METHODS]
    assert float(read[1]["selection_as_pruned_percent"]) == 40.0
    assert float(read[1]["selection_finetuned_percent"]) == 94.0
    assert float(read[1]["selection_reestimated_percent"]) > 80
    assert (read[1]["rank"], read[3]["rank"], read[0]["rank"]) == ("1", "3", "")
    table = parquet.read_table(tmp_path / "results.parquet")
    assert table.column_names == list(read[0])
    assert table.column("parameters").to_pylist() == [1000, 800, 800, 800, None]
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["scenario"] == "invented"


@pytest.mark.parametrize(
    "argument", ["wanda", "wanda=x", "wanda/seed-x=a", "/seed-0=a", "wanda/seed-0=", "wanda/seed-0"]
)
def test_a_label_without_seed_or_path_is_told(argument):
    with pytest.raises(BudamaError, match="must be VARIANT/seed-N=PATH"):
        labels.paths([argument], "--pruning")


def test_a_label_given_twice_is_told():
    with pytest.raises(BudamaError, match="wanda/seed-0 twice"):
        labels.paths(["wanda/seed-0=a", "wanda/seed-0=b"], "--pruning")


def test_a_row_tells_how_its_first_seed_s_export_did(results):
    assert row(results, "magnitude")["onnx"] == {"images": 64, "top1_equal": 64}
    assert results["baseline"]["onnx"] is None
    own = {"baseline": {"status": "ok", "formats": {"onnx": {"images": 64, "top1_equal": 63}}}}
    assert aggregation.aggregate(measured(exports=own))["baseline"]["onnx"]["top1_equal"] == 63
    assert row(aggregation.aggregate(measured(exports={})), "magnitude")["onnx"] is None


def test_recorded_results_have_the_keys_of_measured_ones(results):
    record = from_record("ts3")
    assert set(record) == set(results)
    assert set(record["variants"][0]) == set(row(results, "wanda"))
    assert set(record["model"]) == set(results["model"])
    assert set(record["dataset"]) == set(results["dataset"])


# The stage as a program -----------------------------------------------------------------------------------------------


def stage(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(STAGE), *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> list[str]:
    """Arguments that name the files of the invented scenario."""
    folder, parts = tmp_path_factory.mktemp("stages"), measured()

    def file(name: str, value) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
        return path

    def table(name: str, entries: pd.DataFrame) -> Path:
        entries.to_csv(folder / name, index=False)
        return folder / name

    pruning, finetuned = [], []
    for label, entry in parts.pruning.items():
        pruning.append(f"{label}={file(f'{label}/pruning.json', entry)}")
        finetuned.append(f"{label}={folder / label}")
        file(f"{label}/metrics.json", parts.metrics[label])
        file(f"{label}/export.json", parts.exports[label])
        table(f"{label}/history.csv", parts.histories[label])
    return [
        "--spec", json.dumps({"settings": parts.settings}), "--dataset", str(file("dataset.json", parts.dataset)),
        "--baseline-metrics", str(file("metrics.json", parts.baseline_metrics)),
        "--baseline-history", str(table("history.csv", parts.baseline_history)),
        "--benchmark", str(file("benchmark.json", parts.benchmark)), "--pruning", *pruning, "--finetuned", *finetuned,
        "--exported", *finetuned,
    ]  # fmt: skip


def test_the_stage_writes_what_the_library_gives(written, results, tmp_path):
    done = stage(*written, "--output-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(json.dumps(results))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.csv", "results.json", "results.parquet"]


def test_the_stage_never_imports_torch():
    code = (
        "import sys, aggregate, budama.results.aggregation, budama.results.recorded; sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=STAGE.parent)
    assert done.returncode == 0, done.stderr


def test_the_stage_renders_a_record_from_its_scenario_alone(tmp_path):
    done = stage("--scenario", ROOT / "config/scenarios/ts2_recorded.yaml", "--output-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "results.json").read_text())["ranking"][0]["variants"] == ["wanda"]


def test_a_stage_without_its_inputs_says_which_in_one_line(tmp_path):
    spec = json.dumps({"settings": measured().settings})
    done = stage("--spec", spec, "--output-dir", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: aggregate needs --dataset, --baseline-metrics")
    assert len(done.stderr.splitlines()) == 1
