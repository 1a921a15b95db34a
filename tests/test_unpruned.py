"""The control `original_ft`: the original goes through all that pruned models do, but for the pruning."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from array_data import digits
from invented_run import METHODS, SEEDS, SELECTION, TEST, drawn, measured, pruning_of
from reports import said, single

from budama.data import batching
from budama.data.dataset import open_data
from budama.errors import BudamaError
from budama.measuring.evaluation import evaluate
from budama.networks import checkpoint, models
from budama.pruning import calibration, stage
from budama.reporting import entries
from budama.reporting.language import Language
from budama.reporting.view import Results
from budama.results import aggregation, rows
from budama.settings import stages
from budama.significance.hits import packed

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
MODEL = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8, "width": 4}, "weights": None}
CALIBRATION = {"batches": 2, "batch_size": 64, "coverage_threshold": 0.25, "augment": False}
SCENARIO = """
scenario: mine
baseline: digits_resnet
pruning: {{methods: [wanda, original_ft], ratio: {ratio}}}
finetune: {{epochs: 1}}
seeds: [0, 1]
"""


def scenario_file(folder: Path, ratio: str) -> Path:
    """A scenario with its baseline beside it."""
    for part in ("scenarios", "baselines"):
        (folder / part).mkdir()
    shutil.copy(ROOT / "config/baselines/digits_resnet.yaml", folder / "baselines")
    path = folder / "scenarios/mine.yaml"
    path.write_text(SCENARIO.format(ratio=ratio))
    return path


# It is pruned by nothing ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a baseline and its statistics, and the data."""
    folder, manifest = tmp_path_factory.mktemp("unpruned"), digits()
    data = open_data(manifest)
    torch.manual_seed(0)
    model = models.build(MODEL, 10, (1, 8, 8), seed=0).train()
    with torch.no_grad():  # running statistics that belong to other images, so that re-estimating them matters
        for _ in range(20):
            model(torch.randn(64, 1, 8, 8))
    checkpoint.save(folder / "model", model.eval(), recipe={"model": MODEL, "classes": 10, "input_shape": [1, 8, 8]})
    batches = calibration.batches(data, CALIBRATION, CPU)
    calibration.collect(model, batches, threshold=0.25, device=CPU).save(folder / "calibration.safetensors")
    return folder, data


@pytest.mark.parametrize("reestimate", [False, True])
def test_the_model_keeps_all_channels_and_has_its_batchnorm_re_estimated(work, tmp_path, reestimate):
    folder, data = work
    settings = {
        "method": "original_ft", "ratio": None, "scope": "layerwise", "steps": 2, "match": "channels", "round_to": None,
        "ignore": [], "max_ratio": 0.95, "reestimate_batchnorm": reestimate, "calibration": CALIBRATION, "seed": 0,
    }  # fmt: skip
    report = stage.prune(folder / "model", folder / "calibration.safetensors", data, settings, CPU, tmp_path / "out")
    expected, found = checkpoint.load(folder / "model"), checkpoint.load(tmp_path / "out")
    selection = batching.batches(data, "selection", 64)
    before = evaluate(expected, selection).accuracy_percent
    if reestimate:
        calibration.reestimate_batchnorm(expected, calibration.batches(data, CALIBRATION, CPU))
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name]), name
    accuracies = {"as_pruned": before, "reestimated": evaluate(expected, selection).accuracy_percent}
    assert report["selection_accuracy_percent"] == pytest.approx(accuracies)
    assert report["achieved"] == {"channels_percent": 0, "macs_percent": 0, "parameters_percent": 0}
    assert all(layer["before"] == layer["after"] for layer in report["layers"])


@pytest.mark.parametrize("ratio", ["0.3", "[0.2, 0.5]"])
def test_it_is_there_once_whatever_the_ratios(tmp_path, ratio):
    scenario = stages.load_scenario(scenario_file(tmp_path, ratio))
    whole = [one for one in stages.variants(scenario) if one.method == "original_ft"]
    assert whole == [stages.Variant("original_ft", "original_ft", None)]
    assert stages.place(whole[0], 1) == "original_ft", "pruned once for all seeds"


def test_in_turns_it_is_trained_once_with_all_epochs(tmp_path):
    path = scenario_file(tmp_path, "0.3, cycles: 2")
    path.write_text(path.read_text().replace("epochs: 1", "epochs: 5"))
    settings = stages.stage_settings("finetune", stages.load_scenario(path), None, "original_ft", 0)
    assert settings["finetune"]["epochs"] == 5


def test_alone_it_is_refused_in_one_line(tmp_path):
    path = scenario_file(tmp_path, "0.3")
    path.write_text(path.read_text().replace("wanda, ", ""))
    with pytest.raises(BudamaError) as told:
        stages.load_scenario(path)
    assert told.value.lines == [
        f"{path}: pruning.methods has original_ft alone, which prunes nothing; it must have a method beside it"
    ]


# What is said of it ---------------------------------------------------------------------------------------------------


def with_control(share: float):
    """The invented run with the control, which has that share of the test images right."""
    run = measured()
    run.settings["variants"].append({"name": "original_ft", "method": "original_ft", "ratio": None})
    for seed in SEEDS:
        label = f"original_ft/seed-{seed}"
        hits = drawn(label, TEST, share)
        own = copy.deepcopy(run.benchmark["rows"]["baseline"])
        own |= {
            "accuracy_percent": 100 * hits.mean(),
            "correct": int(hits.sum()),
            "hits": packed(hits),
            "sha256": label,
        }
        run.benchmark["rows"][label] = own
        selection = pruning_of(f"wanda/seed-{seed}")
        selection["selection_accuracy_percent"] = {"as_pruned": 90.0, "reestimated": 92.5}
        selection["selection_hits"] = {"reestimated": packed(np.ones(SELECTION, dtype=bool))}
        run.pruning[label], run.metrics[label] = selection, run.metrics["wanda/seed-0"]
        run.histories[label], run.exports[label] = run.histories["wanda/seed-0"], {"status": "none"}
    return run


@pytest.fixture(scope="module")
def results() -> dict:
    return aggregation.aggregate(with_control(0.97))


def test_it_is_a_row_of_its_own_beside_the_variants(results):
    assert results["unpruned"]["variant"] == "original_ft"
    assert [row["variant"] for row in results["variants"]] == METHODS
    assert results["unpruned"]["accuracy_percent"] > results["baseline"]["accuracy_percent"]
    fate = {"baseline": 95.5, "as_pruned": 90.0, "reestimated": 92.5, "finetuned": 94.0}
    assert {stage: results["unpruned"]["fate"][f"{stage}_percent"] for stage in fate} == fate
    low, high = results["unpruned"]["accuracy_interval"]
    assert low < results["unpruned"]["accuracy_percent"] < high
    names = {name for group in results["ranking"] for name in group["variants"]}
    assert "original_ft" not in names
    assert not any("original_ft" in (one["a"], one["b"]) for one in results["comparisons"])
    assert list(rows.table(results)["variant"][:2]) == ["baseline", "original_ft"]


def test_every_variant_is_tested_against_it_with_its_seeds(results):
    found = {one["variant"]: one for one in results["against_unpruned"]}
    assert set(found) == {"magnitude", "wanda", "random"}
    for name, claim in found.items():
        own = next(row for row in results["variants"] if row["variant"] == name)
        gap = own["accuracy_percent"] - results["unpruned"]["accuracy_percent"]
        assert claim["difference_points"] == pytest.approx(gap)
        assert (claim["test"], claim["of"], claim["seeds"]) == ("two_level", "methods", 3)
        assert claim["distinguishable"] == (claim["interval"][1] < 0)
    assert found["random"]["distinguishable"]


def test_what_cannot_be_told_apart_from_the_original_may_be_from_the_trained_one():
    """The original as it is hides the loss: the trained original is 4 points better."""
    found = aggregation.aggregate(with_control(0.99))
    wanda = {key: next(one for one in found[key] if one["variant"] == "wanda") for key in
             ("against_original", "against_unpruned")}  # fmt: skip
    assert wanda["against_unpruned"]["difference_points"] < wanda["against_original"]["difference_points"] - 2
    assert wanda["against_unpruned"]["distinguishable"]


def reported(kind: str) -> dict:
    """The sample with the control: wanda is below it, above it, or not apart from it."""
    content = single()
    row = copy.deepcopy(next(one for one in content["variants"] if one["method"] == "wanda"))
    content["unpruned"] = row | {"variant": "original_ft", "method": "original_ft", "ratio": None}
    content["unpruned"] |= {key: content["baseline"][key] for key in ("gmacs", "parameters", "size_mib")}
    fate = {"baseline_percent": 93.9, "as_pruned_percent": 93.9, "reestimated_percent": 94.1, "finetuned_percent": 94.6}
    content["unpruned"] |= {"accuracy_percent": 94.25, "fate": fate}
    for one in content["variants"]:
        if one["status"] == "ok":
            change = {"below": -1.0, "level": -0.1, "above": 1.0}[kind]
            claim = {"difference_points": change, "interval": [change - 0.5, change + 0.5], "p": 0.5, "p_holm": 0.5}
            content["against_unpruned"].append({
                "variant": one["variant"], "ratio": 0.3, **claim, "distinguishable": kind != "level",
                "test": "two_level", "of": "methods", "seeds": 3,
            })  # fmt: skip
    return content


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("below", "Aynı işlemlerden geçen budanmamış modele (Orijinal+FT, %94.25) göre −1.00 puan"),
        ("level", "Aynı işlemlerden geçen budanmamış modelle (Orijinal+FT, %94.25) arasında fark gösterilemedi"),
        ("above", "Aynı işlemlerden geçen budanmamış modelden (Orijinal+FT, %94.25) bile +1.00 puan yüksek"),
    ],
)
def test_the_report_says_how_pruned_models_stand_to_it(kind, sentence):
    text = said(reported(kind)).replace("-", "−")
    assert sentence.replace("-", "−") in text
    assert "| **Orijinal + FT** | 94.25" in said(reported(kind))
    assert ". **Orijinal + FT (budanmamış)** - Hiçbir kanalı çıkarılmayan model" in said(reported(kind))
    assert "Orijinal de, kanal çıkarılmadan, aynı işlemlerden geçti (Orijinal+FT): %93.90" in said(reported(kind))
    assert "BatchNorm yenilenince %94.10, fine-tuning'den sonra %94.60" in said(reported(kind))
    assert "Orijinal olduğu gibi ölçüldü" not in said(reported(kind))


def test_without_training_it_is_called_what_it_is():
    content = reported("level")
    content["finetune"]["epochs"] = 0
    content["unpruned"]["fate"]["finetuned_percent"] = None
    text = said(content)
    assert "Orijinal+BN" in text
    assert "Orijinal+FT" not in text


def test_without_it_the_report_says_what_the_original_is_compared_as():
    assert "Orijinal olduğu gibi ölçüldü" in said(single())
    assert "<code>original_ft</code> eklenebilir" in said(single())


def test_the_leaderboard_has_it_beside_the_original():
    results = Results(reported("level"), Language("tr"))
    rows = {row["method"]: row for row in entries.of_results(results)}
    control = rows["original_ft"]
    assert (control["accuracy_percent"], control["gmacs_change_percent"]) == (94.25, 0.0)
    assert control["gmacs"] == rows[None]["gmacs"]
    assert "scope" not in control["settings"]
    assert control["settings"]["epochs"] == rows["wanda"]["settings"]["epochs"]
