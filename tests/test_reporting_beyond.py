"""The sections beyond top-1: true of results of every shape, and absent where nothing was measured."""

import pytest
from reports import from_record, said, sample, single

from budama.reporting import contract


def rows(content: dict) -> list[dict]:
    return [row for row in content["variants"] if row["status"] == "ok"]


def section(text: str, title: str) -> str:
    start = text.index(f"## {title}\n")
    return text[start : text.index("\n## ", start + 3)]


def beyond(content: dict) -> str:
    return section(said(content), "Doğruluğun Ötesi")


def test_every_number_of_the_table_is_the_results_own():
    content = single()
    text = beyond(content)
    for row in (content["baseline"], *rows(content)):
        for value in (row["trust"]["top5_percent"], row["trust"]["ece_percent"]):
            assert f" {value:.2f} " in text
        assert f" {row['trust']['nll']:.3f} " in text
        if row["answers"]:
            assert f" {row['answers']['changed_percent']:.2f} " in text


@pytest.mark.parametrize("code", ["tr", "en"])
def test_only_what_was_shown_is_said_of_calibration(code):
    content = single()
    for row in rows(content):
        row["trust"]["claim"] |= {"distinguishable": False, "p_holm": 0.4}
    alike = {"tr": "orijinalinkinden farklı olduğu gösterilemedi", "en": "calibration error differs from"}[code]
    worse = {"tr": "daha az güvenilir", "en": "Less to be believed"}[code]
    better = {"tr": "daha güvenilir olan", "en": "More to be believed"}[code]
    text = said(content, code=code)
    assert alike in text
    assert worse not in text
    rows(content)[1]["trust"]["claim"] |= {"distinguishable": True, "change_points": -1.2}
    text = said(content, code=code)
    assert f"{better}{'' if code == 'tr' else ' than the original' + chr(39) + 's probabilities'}: Wanda" in text
    assert alike not in text


def test_a_model_that_is_less_sure_than_right_is_told_so():
    content = single()
    content["baseline"]["trust"]["confidence_percent"] = content["baseline"]["accuracy_percent"] - 2.5
    assert "ortalama güveni doğruluğundan 2.50 puan düşük" in beyond(content)
    content["baseline"]["trust"]["ece_calibrated_at_most_percent"] = 3.0
    assert "%3.00 kadarını gösterebilirdi" in beyond(content)


def test_without_several_seeds_nothing_is_said_of_them():
    content = single()
    for row in rows(content):
        row["answers"]["seeds_disagree_percent"] = None
        row["trust"]["ece_of_seeds"] = None
        row["trust"]["claim"]["models"] = 1
    text = beyond(content)
    for words in ("iki eğitimi", "Tohumlar arası", "her tohumda"):
        assert words not in text


def test_equal_classes_have_no_balanced_accuracy_and_unequal_ones_do():
    content = single()
    assert "Dengeli doğruluk" not in said(content)
    content["dataset"]["class_images"] = [5500, *[500] * 9]
    text = beyond(content)
    assert "Dengeli doğruluk" in text
    assert "test görüntülerinin %55.0'ı T-shirt/top sınıfından" in text
    assert f"{content['baseline']['balanced_accuracy_percent']:.2f}" in text


def test_a_baseline_near_the_majority_is_a_warning_at_the_head():
    content = single()
    warning = {"code": "majority", "name": "Trouser", "accuracy_percent": 98.8, "share_percent": 98.8}
    content["warnings"] = [{**warning, "balanced_percent": 50.0}]
    text = said(content)
    sentence = "Orijinalin doğruluğu %98.8, her görüntüye Trouser demenin doğruluğundan (%98.8) ayırt edilemiyor"
    assert sentence in text
    assert text.index(sentence) < text.index("## ", text.index("## Kısaca") + 3), "before the first section"
    assert "dengeli doğruluğu %50.0" in text


def test_results_without_any_of_it_render_as_before():
    content = sample()
    for row in (content["baseline"], *content["variants"]):
        for key in ("balanced_accuracy_percent", "trust", "answers", "corruptions", "confused", "confusion"):
            del row[key]
    del content["dataset"]["class_images"]
    contract.complete(content)
    assert list(contract.missing(content)) == []
    for text in (said(content), said(from_record("ts3"))):
        for title in ("Doğruluğun Ötesi", "Bozulmuş Görüntüler", "Karıştırılan Sınıflar"):
            assert title not in text


def test_a_model_whose_probabilities_are_not_finite_has_dashes():
    content = single()
    row = rows(content)[0]
    row["trust"] |= dict.fromkeys(
        ("nll", "confidence_percent", "ece_percent", "ece_interval", "ece_of_seeds", "reliability", "claim")
    )
    assert next(line for line in beyond(content).splitlines() if "Coverage" in line).count(" - ") == 3


def test_corruptions_are_shown_where_they_were_asked_for():
    content = single()
    text = section(said(content), "Bozulmuş Görüntüler")
    for row in (content["baseline"], *rows(content)):
        assert f" {row['corruptions']['mean_percent']:.2f} |" in text
    less = [row for row in rows(content) if row["corruptions"]["claim"]["distinguishable"]]
    assert len(less) == 3
    assert "düşük: Coverage, Random ve Sıfırdan" in text
    for row in (content["baseline"], *content["variants"]):
        row["corruptions"] = None
    assert "Bozulmuş Görüntüler" not in said(content)


def test_the_most_confused_classes_are_the_results_own():
    content = single()
    text = section(said(content), "Karıştırılan Sınıflar")
    first, names = content["baseline"]["confused"][0], content["dataset"]["class_names"]
    assert f"{names[first['actual']]} → {names[first['taken_for']]} {first['images']:.0f} / 1,000" in text
    assert "figures/confusion-original.svg" in text
    content["baseline"]["confusion"] = None  # many classes: the pairs alone
    assert "figures/confusion-original.svg" not in said(content)


def test_of_a_perfect_model_nothing_is_confused():
    content = single()
    content["baseline"] |= {"confused": [], "confusion": [[1000.0 * (a == b) for b in range(10)] for a in range(10)]}
    text = section(said(content), "Karıştırılan Sınıflar")
    assert "| Sıra | Magnitude |" in text
