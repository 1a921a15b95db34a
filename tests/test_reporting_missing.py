"""What a report says where something was not measured, is not known or is missing."""

import json

import pytest
from reports import from_record, said, section, single, table

from budama.errors import BudamaError
from budama.reporting import contract, overview
from budama.reporting.language import Language
from budama.reporting.view import Results


def test_what_was_not_measured_is_left_out_or_said_to_be():
    content = from_record("ts3")
    for row in (content["baseline"], *content["variants"]):
        row |= {"latency_ms": None, "gmacs": None, "gmacs_change_percent": None}
    content["warnings"] = []
    text = said(content)
    assert "ölçülmedi" in table(text)["Wanda Pruning"]
    assert "Çıkarım süresi ölçülmedi" in text
    for title in (
        "Doğruluğun Seyri",
        "Katman Bazlı Kanal Dağılımı",
        "Fine-Tuning Eğrileri",
        "Sınıf Bazlı",
        "Veri Ayrımı",
    ):
        assert f"# {title}" not in text


def test_a_class_without_test_images_neither_wins_nor_loses():
    content = single()
    for row in content["variants"]:
        if row["status"] == "ok":
            row["per_class_change_points"] = [None, *row["per_class_change_points"][1:]]
    text = section(said(content), "Sınıf Bazlı Kazanç ve Kayıplar")
    assert "T-shirt" not in text
    assert "nan" not in text.split()


def test_classes_that_keep_all_lose_nothing_and_chance_has_a_share_where_every_image_is_a_hit():
    content = single()
    content["baseline"]["accuracy_percent"] = 100.0
    for row in content["variants"]:
        if row["status"] == "ok":
            row["per_class_change_points"] = [-60.0] + [0.0] * (len(row["per_class_change_points"]) - 1)
    text = section(said(content), "Sınıf Bazlı Kazanç ve Kayıplar")
    assert "Yöntemlerin ortalamasında hiçbir sınıf kazanmıyor" in text
    assert "kabaca ±0.0 puan" not in text


def test_results_of_which_hardly_anything_was_measured_render():
    content = from_record("ts3")
    for key in ("pruning", "finetune", "calibration"):
        content[key] = dict.fromkeys(content[key])
    content["dataset"]["counts"] = dict.fromkeys(content["dataset"]["counts"])
    content |= {"comparisons": [], "warnings": [], "configuration": {}}
    for row in (content["baseline"], *content["variants"]):
        row |= dict.fromkeys(("parameters", "size_mib", "gmacs", "latency_ms"))
        row |= dict.fromkeys(key for key in row if key.endswith("change_percent"))
    text = said(content)
    assert "Wanda" in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda content: content.pop("ranking"), "ranking"),
        (lambda content: content["dataset"]["counts"].pop("test"), "dataset.counts.test"),
        (lambda content: content["variants"][1].pop("latency"), "variants[1].latency"),
        (lambda content: content["variants"][0]["seeds"][2].pop("seed"), "variants[0].seeds[2].seed"),
        (lambda content: content.update(baseline=None), "baseline.variant"),
        (lambda content: content.update(variants={}), "variants"),
    ],
)
def test_results_that_lack_a_key_are_told_in_one_line(tmp_path, change, key):
    content = single()
    change(content)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    with pytest.raises(BudamaError) as told:
        Results.read(path, Language("tr"))
    assert told.value.lines == [f"{path}: has no {key}; it must be a results.json that the aggregate stage wrote"]


def test_results_of_an_earlier_version_can_be_compared_with_and_listed(tmp_path):
    """Before differences were tested over seeds: McNemar alone, two intervals, nothing said of the original."""
    content = single()
    del content["against_original"]
    for row in (content["baseline"], *content["variants"]):
        del row["accuracy_interval_over"]
        row["accuracy_bootstrap"] = None
    for claim in (*content["comparisons"], *content["against_random"]):
        for key in ("interval", "of", "seeds"):
            del claim[key]
    for claim in content["against_random"]:
        del claim["distinguishable"]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    earlier = Results.read(path, Language("tr"))
    assert overview.entries([earlier], tmp_path)[0]["name"]
    text = said(from_record("ts3"), earlier.content)
    assert "ile Karşılaştırma" in text


@pytest.mark.parametrize("content", [single(), from_record("ts3")], ids=["measured", "recorded"])
def test_results_have_every_key_of_the_contract(content):
    assert list(contract.missing(content)) == []


def test_a_method_the_catalogue_does_not_know_goes_by_its_name():
    content = single()
    for row in content["variants"]:
        if row["method"] == "wanda":
            row["method"] = "my_method"
    assert "**my_method**" in said(content)
