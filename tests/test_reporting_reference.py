"""Every number of the reference report stands in ours, in the same section."""

import re

import pytest
from reports import DATA, document, from_record, section, table

from budama.reporting import render

REFERENCE = (DATA / "ts3_reference_report.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@pytest.fixture(scope="module")
def ts3() -> str:
    return render.markdown(*document(from_record("ts3"), from_record("ts2")))


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
    tie = "En yüksek doğruluk; ayırt edilemez (%75.55 ve %75.54; Holm düzeltmeli p = 0.97)"
    assert f"**1–2.** **Magnitude Pruning** ve **Taylor Pruning** - {tie}" in ranking
    assert "**3.** **Wanda Pruning** - Üçüncü sırada (%74.50)" in ranking
    assert "**4.** **Coverage Pruning** - En düşük doğruluk (%72.13)" in ranking


def test_the_comparison_with_ts2_names_what_differed(ts3):
    text = section(ts3, "TS2 ile Karşılaştırma")
    assert (
        "TS3'te daha düşük pruning oranı (%20 yerine %10) ve daha uzun fine-tuning (5 yerine 10 epoch) kullanıldı"
        in text
    )
    assert (
        "TS3'te klasik yöntemlerle budanan modeller (Magnitude, Taylor) modern yöntemlerle budananlardan "
        "(Wanda, Coverage) daha yüksek doğruluk verdi" in text
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
