"""What a report says: every number of the reference report, and no sentence that the numbers do not bear out."""

import json
import re

import pytest
from reports import DATA, document, from_record, sample, single

from budama.errors import BudamaError
from budama.reporting import contract, render
from budama.reporting.language import Language
from budama.reporting.view import Results

REFERENCE = (DATA / "ts3_reference_report.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@pytest.fixture(scope="module")
def ts3() -> str:
    return render.markdown(*document(from_record("ts3"), from_record("ts2")))


def said(content: dict, *others: dict, **options) -> str:
    return render.markdown(*document(content, *others, **options))


def table(text: str) -> dict[str, list[str]]:
    """The rows of the first Markdown table, by method."""
    lines = text[text.index("| Yöntem") :].splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines[2 : next(i for i, x in enumerate(lines) if not x)]
    ]
    return {re.sub(r"[*◆]", "", row[0]).strip(): row[1:] for row in rows}


def section(text: str, title: str) -> str:
    """From a heading to the next of any level."""
    return re.split(r"^#+ .*$", text[text.index(f"# {title}") :], maxsplit=2, flags=re.MULTILINE)[1]


# Every number of the reference ----------------------------------------------------------------------------------------


def test_the_table_has_all_cells_of_the_reference(ts3):
    expected, found = table(REFERENCE), table(ts3)
    assert list(found) == list(expected)
    assert len(expected) == 5
    assert all(len(row) == 7 for row in expected.values())
    for name, row in expected.items():
        for cell, own in zip(row, found[name]):
            assert (own.startswith("-"), NUMBER.findall(own)) == (cell.startswith("-"), NUMBER.findall(cell)), (
                name,
                cell,
                own,
            )


@pytest.mark.parametrize(
    "title",
    [
        "Model ve Veri Seti",
        "Pruning Parametreleri",
        "Model Optimizasyonu",
        "Doğruluk-Verimlilik Dengesi",
        "TS2 ile Karşılaştırma",
        "Performans Sıralaması",
    ],
)
def test_every_number_of_a_reference_section_stands_in_the_same_section(ts3, title):
    without_ranks = re.sub(r"^\d+\. ", "", section(REFERENCE, title), flags=re.MULTILINE)
    wanted = [n for n in NUMBER.findall(re.sub(r"TS\d", "", without_ranks)) if n != "2"]
    assert wanted
    assert not [number for number in wanted if number not in NUMBER.findall(section(ts3, title))]


def test_the_sections_come_in_the_order_of_the_reference(ts3):
    titles = re.findall(r"^#+ (.*)$", REFERENCE, re.MULTILINE)
    found = [t for t in re.findall(r"^#+ (.*)$", ts3, re.MULTILINE) if t in titles]
    assert found == titles


def test_methods_are_described_as_in_the_reference(ts3):
    for line in section(REFERENCE, "Test Edilen Yöntemler").strip().splitlines():
        assert line in ts3


def test_the_ranking_is_a_tie_where_the_reference_ranked_noise(ts3):
    ranking = section(ts3, "Performans Sıralaması")
    tie = "En yüksek doğruluk; ayırt edilemez (%75.55 ve %75.54; p = 0.97)"
    assert f"**1–2.** **Magnitude Pruning** ve **Taylor Pruning** - {tie}" in ranking
    assert "**3.** **Wanda Pruning** - Üçüncü sırada (%74.50)" in ranking
    assert "**4.** **Coverage Pruning** - En düşük doğruluk (%72.13)" in ranking


def test_the_comparison_with_ts2_names_what_differed(ts3):
    text = section(ts3, "TS2 ile Karşılaştırma")
    assert "TS3'te daha düşük pruning oranı (%10 vs %20) ve daha uzun fine-tuning (10 vs 5 epoch) kullanıldı" in text
    assert (
        "TS3'te klasik yöntemler (Magnitude, Taylor) modern yöntemlerden (Wanda, Coverage) daha yüksek doğruluk verdi"
        in text
    )


def test_recorded_times_are_quoted_with_the_warning_and_its_reason(ts3):
    claim = next(line for line in ts3.splitlines() if "çıkarım süresi azalırken" in line)
    assert (
        "Magnitude ve Taylor yöntemlerinde çıkarım süresi azalırken, Coverage ve Wanda yöntemlerinde artmış görünüyor"
        in claim
    )
    assert "karşılaştırılamaz" in claim
    warning = next(line for line in ts3.splitlines() if line.startswith("> **⚠ Çıkarım süreleri karşılaştırılamaz"))
    for reason in ("0.014 ms ile 1.34 ms", "Coverage ve Wanda", "kancaların (hook)", "eşzamanlama"):
        assert reason in warning
    assert "Hız için bu rapordan sonuç çıkarılmamalıdır" in ts3
    assert "## Çıkarım Süresi" not in ts3


# Only what the numbers bear out ---------------------------------------------------------------------------------------


def with_latency(ratio: float, low: float, high: float) -> dict:
    content = single()
    for row in content["variants"]:
        if row["status"] == "ok":
            row["latency"] |= {"ratio": ratio, "ratio_interval": [low, high]}
            row["latency_ms"] = 2.31 * ratio
    return content


@pytest.mark.parametrize(
    ("times", "true", "false"),
    [
        ((0.80, 0.79, 0.81), "çıkarım süresi azalmıştır (-%20.0)", "artmıştır"),
        ((1.20, 1.19, 1.21), "çıkarım süresi artmıştır (+%20.0)", "azalmıştır"),
        ((0.99, 0.97, 1.02), "orijinalden ayırt edilemez (-%1.0)", "azalmıştır"),
        ((0.997, 0.9965, 0.9975), "azalmıştır (-%0.3)", "artmıştır"),
        (
            (0.9985, 0.998, 0.999),
            "orijinalden ayırt edilemez",
            "azalmıştır",
        ),  # outside its own interval, inside the A/A control's
    ],
)
def test_a_time_rose_fell_or_cannot_be_told_apart(times, true, false):
    text = said(with_latency(*times))
    assert true in text
    assert false not in section(text, "Model Optimizasyonu")


@pytest.mark.parametrize(
    ("size", "sentence"),
    [(0.8, "%20.0 model boyutu azalması"), (1.25, "%25.0 model boyutu artışı"), (1.0, "Model boyutu değişmedi")],
)
def test_a_size_rose_fell_or_stayed(size, sentence):
    content = single()
    for row in content["variants"]:
        if row["status"] == "ok":
            row |= {"size_mib": 1.05 * size, "size_change_percent": 100 * (size - 1)}
    assert sentence in said(content)


def leaders(p: float, distinguishable: bool) -> dict:
    """Magnitude 0.5 points ahead of Taylor, with this p between them; the others far behind."""
    content = single()
    content["variants"] = [r for r in content["variants"] if r["method"] in ("magnitude", "taylor", "coverage")]
    by = {row["method"]: row for row in content["variants"]}
    for method, accuracy in (("magnitude", 92.0), ("taylor", 91.5), ("coverage", 80.0)):
        by[method]["accuracy_percent"] = accuracy
    a, b, c = (by[m]["variant"] for m in ("magnitude", "taylor", "coverage"))
    pair = {"ratio": 0.3, "p": p, "p_holm": p, "distinguishable": distinguishable, "test": "mcnemar"}
    far = pair | {"p": 1e-9, "p_holm": 1e-9, "distinguishable": True}
    content["comparisons"] = [
        pair | {"a": a, "b": b, "difference_points": 0.5},
        far | {"a": a, "b": c, "difference_points": 12.0},
        far | {"a": b, "b": c, "difference_points": 11.5},
    ]
    groups = [[a], [b], [c]] if distinguishable else [[a, b], [c]]
    content["ranking"], rank = [], 1
    for group in groups:
        tie = p if len(group) > 1 else None
        content["ranking"].append({"rank": rank, "ratio": 0.3, "variants": group, "tie_p": tie, "tie_p_holm": tie})
        rank += len(group)
    return content


def test_nothing_is_called_best_inside_the_noise():
    text = said(leaders(0.4, False))
    assert "Magnitude** ya da **Taylor** seçilebilir: ikisi ayırt edilemez (%92.00 ve %91.50; p = 0.40)" in text
    assert "En yüksek doğruluk (%92.00)" not in text
    assert "**Magnitude Pruning:** En iyi doğruluk-verimlilik dengesi" not in text


def test_a_clear_leader_is_named_with_its_p():
    text = said(leaders(0.002, True))
    assert "Doğruluk için **Magnitude** seçilmelidir" in text
    assert "Taylor'dan (%91.50) farkı gürültünün dışındadır (p = 0.002)" in text
    assert "**1.** **Magnitude Pruning** - En yüksek doğruluk (%92.00)" in text
    assert "**2.** **Taylor Pruning** - İkinci en yüksek doğruluk (%91.50)" in text


def test_without_tests_of_differences_no_leader_is_claimed():
    content = leaders(0.002, True) | {"comparisons": []}
    text = said(content)
    assert "Farkların anlamlılığı sınanmadı" in text
    assert "seçilmelidir: %" not in text


def test_a_tie_by_correction_alone_says_so():
    content = leaders(0.03, False)
    content["ranking"][0]["tie_p_holm"] = 0.09
    assert "ayırt edilemez (%92.00 ve %91.50; Holm düzeltmeli p = 0.090)" in said(content)


def test_a_group_whose_members_differ_among_themselves_is_not_called_indistinguishable():
    content = leaders(0.4, False)
    names = [row["variant"] for row in sorted(content["variants"], key=lambda r: -r["accuracy_percent"])]
    content["ranking"] = [{"rank": 1, "ratio": 0.3, "variants": names, "tie_p": 0.1, "tie_p_holm": 0.1}]
    assert "Hiçbiri ilkinden ayırt edilemez" in said(content)


@pytest.mark.parametrize(
    ("interval", "sentence"),
    [
        ([-0.9, -0.2], "kaybı ölçülebilir büyüklüktedir"),
        ([-0.3, 0.2], "ile orijinal ayırt edilemez"),
        ([0.1, 0.6], "orijinalin üstüne çıktı"),
    ],
)
def test_the_leader_is_set_against_the_original(interval, sentence):
    content = leaders(0.4, False)
    for row in content["variants"]:
        row["change_interval"] = interval
    assert sentence in said(content)


def test_a_method_that_does_not_beat_random_is_named():
    content = single()
    content["against_random"] = [
        {
            "variant": "wanda-0.3",
            "stage": "reestimated",
            "difference_points": 0.1,
            "p": 0.4,
            "p_holm": 0.4,
            "difference_interval": [-0.5, 0.7],
        },
        {
            "variant": "taylor-0.3",
            "stage": "reestimated",
            "difference_points": 5.0,
            "p": 1e-5,
            "p_holm": 1e-5,
            "difference_interval": [4, 6],
        },
        {
            "variant": "coverage-0.3",
            "stage": "reestimated",
            "difference_points": -4,
            "p": 1.0,
            "p_holm": 1.0,
            "difference_interval": [-5, -3],
        },
    ]
    text = said(content)
    assert "Wanda rastgele budamadan ayırt edilemedi" in text
    assert "Taylor geçti (+5.00 puan; p < 0.001)" in text
    assert "Coverage rastgele budamadan daha düşük kaldı (-4.00 puan)" in text


def test_batchnorm_may_gain_or_cost():
    content = single()
    for row in content["variants"]:
        if row["status"] == "ok":
            row["fate"] |= {"as_pruned_percent": 50.0, "reestimated_percent": 40.0}
    assert "BatchNorm'un yeniden kestirilmesi ortalama 10.0 puan kaybettirdi" in said(content)


def test_a_failed_control_warns_and_a_missing_one_is_said():
    content = single()
    content["controls"]["aa"] = {"ratio": 1.08, "interval": [1.05, 1.10], "within": False}
    assert "A/A denetimi başarısız" in said(content)
    content["controls"]["aa"] = None
    assert "A/A denetimi yapılmadı" in said(content)
    content["controls"]["aa"] = {"ratio": 1.004, "interval": [1.002, 1.006], "within": True}
    text = said(content)
    assert "1 bu aralığın içinde" not in text
    assert "%0.40" in text


# What is missing, and other scenarios ---------------------------------------------------------------------------------


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
    assert "Hiçbir sınıf kazanmıyor" in text
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


@pytest.mark.parametrize("content", [single(), from_record("ts3")], ids=["measured", "recorded"])
def test_results_have_every_key_of_the_contract(content):
    assert list(contract.missing(content)) == []


def test_a_method_the_catalogue_does_not_know_goes_by_its_name():
    content = single()
    for row in content["variants"]:
        if row["method"] == "wanda":
            row["method"] = "my_method"
    assert "**my_method**" in said(content)


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
