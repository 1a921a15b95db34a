"""Sections that not every report has: other scenarios, warnings, rounding, exports, ratios; in both languages."""

import re

import pytest
from reports import from_record, said, sample, section, single


def test_other_data_are_not_set_side_by_side():
    text = section(said(from_record("ts3"), from_record("ts5")), "TS5 ile Karşılaştırma")
    assert "doğruluklar yan yana konamaz" in text
    assert "TS3'te daha yüksek" not in text


def test_a_scope_and_a_mixed_outcome():
    text = section(said(from_record("ts3"), from_record("ts4")), "TS4 ile Karşılaştırma")
    assert "TS3'te global yerine katman bazlı budama kullanıldı" in text
    assert "Doğruluk TS3'te Coverage, Wanda ve Magnitude için daha yüksek, Taylor için daha düşük" in text


def test_scenarios_of_one_title_go_by_their_names():
    here = from_record("ts3") | {"scenario": "TS3", "title": None}
    assert "### TS3-recorded ile Karşılaştırma" in said(here, from_record("ts3"))


@pytest.mark.parametrize("number", range(2, 7))
def test_every_recorded_scenario_renders(number):
    text = said(from_record(f"ts{number}"))
    assert f"# TS{number} Test Senaryosu - Özet Rapor" in text
    assert "None" not in text
    assert not re.search(r"\bnan\b", text)


def test_warnings_are_in_plain_words():
    content = single()
    content["warnings"] = [
        {"code": "validation_only", "images": 5000},
        {"code": "few_images", "split": "test", "images": 360},
        {"code": "unreadable_images", "count": 3, "readable": 49997},
        {"code": "duplicates", "count": 43},
        {"code": "few_calibration_images", "asked": 25600, "images": 1000},
        {"code": "single_seed", "seed": 0},
        {"code": "label_conflicts", "count": 2, "examples": ["a.png"]},
        {"code": "unexpected_classes", "classes": 9, "expected": 10},
        {"code": "timing_noise", "ratio": 1.2, "interval": [1.1, 1.3]},
        {"code": "busy_machine", "undisturbed_percent": 40.0},
        {"code": "fewer_threads", "threads": 1, "asked": 2},
        {"code": "never_heard_of", "value": 7},
    ]
    text = said(content)
    assert text.count("> **⚠") == len(content["warnings"])
    for words in (
        "3 görüntü okunamadı",
        "43 görüntü birden çok kümede",
        "yalnızca 360 görüntü",
        "tek tohumla",
        "never_heard_of (value: 7)",
    ):
        assert words in text


def with_widths(round_to: int) -> dict:
    content = single()
    content["pruning"]["round_to"] = "auto"
    content["widths"] = {
        "round_to": round_to, "batch": 1, "precision": "float32", "side": 14,
        "widths": {str(width): {"ms": 1.0, "ratio": (width / 128) ** 2, "interval": None} for width in range(96, 129)},
    }  # fmt: skip
    return content


def test_a_measured_rounding_is_told_with_the_figure_it_was_chosen_by():
    text = said(with_widths(16))
    assert "otomatik (16 sayısının katları)" in text
    assert "16 sayısının katları, bir kanal eksiklerinden çoğunlukla hızlı" in text
    assert "figures/widths.svg" in text


def test_rounding_that_gains_nothing_is_told():
    text = said(with_widths(1))
    assert "bu makinede yuvarlama kazandırmıyor" in text
    assert "kanal sayıları yuvarlanmadı" in text


def test_exports_have_a_table_of_times_and_differences():
    content = single()
    timed = {"batch_size": 1, "pytorch_ms": 0.318, "onnx_ms": 0.0472, "ratio": 0.1484, "ratio_interval": [0.14, 0.15]}
    content["variants"][0]["onnx"] = {
        "images": 144, "top1_equal": 144, "max_logit_difference": 4.9e-6, "latency": timed,
    }  # fmt: skip
    text = said(content)
    assert "| 0.318 | 0.047 | 0.148 [0.140, 0.150] | 4.9e-06 | 144/144 |" in text
    assert "| 4,9e-06 | 144/144 |" in said(content, decimal=",")
    content["unpruned"] = content["variants"][0] | {"variant": "original_ft", "method": "original_ft"}
    assert said(content).count("| 4.9e-06 | 144/144 |") == 2
    content["baseline"]["onnx"] = content["variants"][0]["onnx"] | {"top1_equal": 143}
    rows = [line for line in said(content).splitlines() if "4.9e-06" in line]
    assert [line.split("**")[1] for line in rows] == ["Orijinal", "Orijinal+FT", "Coverage"]
    assert rows[0].endswith("| 143/144 |")


def test_percentages_carry_the_sign_before_the_number():
    text = said(sample(), decimal=",")
    assert not re.search(r"\d%", text)
    assert "%18,1 model boyutu azalması" in text
    assert "10.000 test görüntüsü" in text


def test_english_has_the_same_sections_and_numbers():
    turkish, english = said(sample()), said(sample(), code="en")
    assert len(re.findall("^#", turkish, re.MULTILINE)) == len(re.findall("^#", english, re.MULTILINE))
    assert not re.search(r"%\d", english)
    assert not set("ğşıİçöü") & set(
        english.split("## Conditions of Measurement")[0].replace("Örnek (uydurma sayılar)", "")
    )


def test_a_grid_has_a_table_for_every_ratio():
    text = said(sample())
    assert text.count("| Yöntem | Doğruluk (%) |") == 2
    for ratio in ("%10", "%30"):
        assert f"### {ratio} Pruning Oranı" in text
        assert f"**{ratio} oranında:**" in text
