"""What a report says of times: milliseconds, changes and verdicts follow from one estimate and one rule."""

import pytest
from reports import said, section, single, table

from budama.reporting.language import Language
from budama.reporting.view import Results


def disturbed(median: float, ratio: float, interval: tuple[float, float], band: tuple[float, float]) -> dict:
    """An original of 31.7 ms, and models whose own medians are of other, quieter rounds than their paired ratios."""
    content = single()
    content["controls"]["aa"] = {"ratio": 1.0, "interval": list(band), "within": True}
    content["baseline"]["latency"] |= {"median_ms": 31.7, "p95_ms": 40.0}
    content["baseline"]["latency_ms"] = 31.7
    for row in content["variants"]:
        if row["status"] == "ok":
            times = {"median_ms": median, "p95_ms": 2 * median, "ratio": ratio, "ratio_interval": list(interval)}
            row["latency"] |= times
            row["latency_ms"] = median
    return content


def with_throughput(ratio: float, interval: tuple[float, float]) -> dict:
    content = single()
    for row in content["variants"]:
        if row["status"] == "ok":
            row["throughput"] |= {"ratio": ratio, "ratio_interval": list(interval), "images_per_second": 5.0}
    return content


def test_milliseconds_of_disturbed_rounds_follow_from_the_ratio_that_is_shown():
    text = said(disturbed(14.7, 0.884, (0.86, 0.91), (0.99, 1.01)))
    rows = table(text[text.index("## Çıkarım Süresi") :])
    assert rows["Magnitude"][:2] == ["28.02", "56.05"]  # 31.7 ms × 0.884, and twice that
    assert "14.7" not in text
    assert "-%11.6" in text
    compared = table(text[text.index("| Yöntem | Doğruluk") :])
    assert compared["Magnitude Pruning"][4] == "28.02"


def test_a_ratio_that_leaves_out_one_and_is_no_difference_says_why():
    text = said(disturbed(25.0, 0.9, (0.722, 0.991), (0.95, 1.06)))
    why = "güven aralığı 1'i içermiyor, ama A/A denetiminin aralığıyla ([0.950, 1.060]) kesişiyor"
    for title in ("Çıkarım Süresi", "Model Optimizasyonu"):
        assert why in text[text.index(f"# {title}") :]
    assert "hem A/A denetiminin aralığının ([0.950, 1.060]) dışındaysa" in text
    assert "[0.722, 0.991]" in text
    assert why not in said(disturbed(25.0, 0.9, (0.722, 0.991), (0.995, 1.01)))  # a real difference needs no excuse
    assert why not in said(disturbed(25.0, 1.0, (0.98, 1.02), (0.95, 1.06)))


@pytest.mark.parametrize(
    ("ratio", "interval", "sentence"),
    [
        (1.25, (1.2, 1.3), "tümünde arttı (+%25.0)"),
        (0.8, (0.79, 0.81), "tümünde azaldı (-%20.0)"),
        (1.002, (1.001, 1.003), "hiçbirinde orijinalden ayırt edilemez (+%0.2)"),  # inside the A/A band
    ],
)
def test_throughput_gained_or_lost_is_in_the_summary(ratio, interval, sentence):
    summary = section(said(with_throughput(ratio, interval)), "Kısaca")
    assert f"Saniyede işlenen görüntü (batch 64, orijinalde 900): {sentence}." in summary


def test_images_per_second_follow_from_their_ratio():
    results = Results(with_throughput(1.25, (1.2, 1.3)), Language("tr"))
    assert {row["throughput"]["images_per_second"] for row in results.rows} == {1125.0}
    again = Results(results.content, Language("tr"))
    assert {row["throughput"]["images_per_second"] for row in again.rows} == {1125.0}
