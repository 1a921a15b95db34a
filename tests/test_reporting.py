"""What a report claims: no sentence that the numbers do not bear out."""

import pytest
from reports import said, section, single


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
    pair = content["comparisons"][0] | {"p": p, "p_holm": p, "distinguishable": distinguishable}
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
        content["ranking"].append({"rank": rank, "ratio": 0.3, "variants": group, "tie_p_holm": tie})
        rank += len(group)
    return content


def test_nothing_is_called_best_inside_the_noise():
    text = said(leaders(0.4, False))
    assert (
        "Magnitude** ya da **Taylor** seçilebilir: ikisi ayırt edilemez (%92.00 ve %91.50; Holm düzeltmeli p = 0.40"
        in text
    )
    assert "En yüksek doğruluk (%92.00)" not in text
    assert "**Magnitude Pruning:** En iyi doğruluk-verimlilik dengesi" not in text


def test_a_clear_leader_is_named_with_its_p():
    text = said(leaders(0.002, True))
    assert "Doğruluk için **Magnitude** seçilmelidir" in text
    assert "Taylor'dan (%91.50) farkı rastlantıyla açıklanamaz (Holm düzeltmeli p = 0.002)" in text
    assert "**1.** **Magnitude Pruning** - En yüksek doğruluk (%92.00)" in text
    assert "**2.** **Taylor Pruning** - İkinci en yüksek doğruluk (%91.50)" in text


def test_without_tests_of_differences_no_leader_is_claimed():
    content = leaders(0.002, True) | {"comparisons": []}
    text = said(content)
    assert "Farkların anlamlılığı sınanmadı" in text
    assert "seçilmelidir: %" not in text


def test_a_group_whose_members_differ_among_themselves_is_not_called_indistinguishable():
    content = leaders(0.4, False)
    names = [row["variant"] for row in sorted(content["variants"], key=lambda r: -r["accuracy_percent"])]
    content["ranking"] = [{"rank": 1, "ratio": 0.3, "variants": names, "tie_p_holm": 0.1}]
    assert "Hiçbiri ilkinden ayırt edilemez" in said(content)


@pytest.mark.parametrize(
    ("interval", "sentence"),
    [
        ([-0.9, -0.2], "doğruluğu orijinalin altına düştü: -0.55 puan"),
        ([-0.3, 0.2], "ile orijinal arasında fark gösterilemedi"),
        ([0.1, 0.6], "orijinalin üstüne çıktı"),
    ],
)
def test_the_leader_is_set_against_the_original(interval, sentence):
    content = leaders(0.4, False)
    for claim in content["against_original"]:
        claim |= {"difference_points": sum(interval) / 2, "interval": interval}
        claim["distinguishable"] = not interval[0] < 0 < interval[1]
    assert sentence in said(content)


def test_a_method_that_does_not_beat_random_is_named():
    content = single()
    entry = content["against_random"][0]
    content["against_random"] = [
        entry | {"variant": f"{method}-0.3", "difference_points": gap, "p_holm": p, "distinguishable": p < 0.05}
        for method, gap, p in (("wanda", 0.1, 0.4), ("taylor", 5.0, 1e-5), ("coverage", -4, 1e-5))
    ]
    text = said(content)
    assert "Fine-tuning öncesinde Wanda rastgele budamadan ayırt edilemedi" in text
    assert "Taylor geçti (+5.00 puan; Holm düzeltmeli p < 0.001)" in text
    assert "Coverage rastgele budamadan daha düşük kaldı (-4.00 puan; Holm düzeltmeli p < 0.001)" in text


def test_batchnorm_may_gain_or_cost():
    content = single()
    for row in content["variants"]:
        if row["status"] == "ok":
            row["fate"] |= {"as_pruned_percent": 50.0, "reestimated_percent": 40.0}
    assert "BatchNorm'un yeniden kestirilmesi ortalama 10.0 puan kaybettirdi" in said(content)


def test_what_compensation_changed_is_said_and_fine_tuning_is_measured_from_there():
    content = single()
    assert "telafi" not in said(content), "results of earlier versions know nothing of it"
    content["pruning"]["compensate"] = "one_pass"
    for row in content["variants"]:
        if row["status"] == "ok":
            row["fate"] |= {"reestimated_percent": 40.0, "compensated_percent": 53.0, "finetuned_percent": 60.0}
            row["fate"]["compensated_percent"] = None if row["method"] == "scratch" else 53.0
            row["seeds"] = [seed | {"kept_epoch": 1} for seed in row["seeds"]]
    text = said(content)
    assert "Silinen kanalların kalanlarca telafisi buna ortalama 13.0 puan ekledi." in text
    assert "Fine-tuning bunun üstüne ortalama 7.0 puan kazandırdı." in text
    assert "En küçük kareler (tek geçiş)" in text
    assert "telafi edildi" in section(text, "Doğruluğun Seyri")


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


def test_more_than_the_original_is_never_kept_and_a_control_is_never_recommended():
    content = single()
    by = {row["method"]: row for row in content["variants"]}
    before = content["baseline"]["accuracy_percent"]
    for method, gain in (("wanda", 0.4), ("random", 0.3)):
        by[method] |= {"accuracy_percent": before + gain, "accuracy_change_points": gain}
        by[method]["retention_percent"] = 100 * (before + gain) / before
    names = [by[method]["variant"] for method in ("wanda", "random")]
    rest = [row["variant"] for row in content["variants"] if row["variant"] not in names and row["status"] == "ok"]
    content["ranking"] = [
        {"rank": 1, "ratio": 0.3, "variants": names, "tie_p_holm": 0.8},
        *({"rank": 3 + i, "ratio": 0.3, "variants": [name], "tie_p_holm": None} for i, name in enumerate(rest)),
    ]
    text = said(content)
    assert "Doğruluk için **Wanda** seçilebilir" in text
    assert "orijinale göre +0.40 puan" in text
    assert "**Random Pruning:** En iyi" not in text
    assert "birlikte en iyi denge" not in text
    assert "Random kontrolü de ondan ayırt edilemez" in text
    assert "%100.4" not in text


def test_with_one_seed_models_are_spoken_of_and_not_methods():
    content = leaders(0.002, True)
    for claim in [*content["comparisons"], *content["against_original"], *content["against_random"]]:
        claim |= {"of": "models", "test": "mcnemar", "seeds": 1}
    content["seeds"] = [0]
    text = said(content)
    assert "Ölçülen modellerin en doğrusu **Magnitude** ile budanandır" in text
    assert "iki yöntem için birden çok tohum (seed) gerekir" in text
    assert "seçilmelidir: %" not in text
    assert "<code>seeds: [0, 1, 2]</code>" in text
    assert "yöntemler değil, modeller karşılaştırıldı" in text


def test_a_report_of_one_method_compares_no_sizes():
    content = single()
    kept = next(row for row in content["variants"] if row["method"] == "wanda")
    content |= {"variants": [kept], "comparisons": [], "against_random": []}
    content["against_original"] = [c for c in content["against_original"] if c["variant"] == kept["variant"]]
    content["ranking"] = [{"rank": 1, "ratio": 0.3, "variants": [kept["variant"]], "tie_p_holm": None}]
    text = said(content)
    assert "Boyut: model 1.05 MiB yerine" in text
    assert "fark yok" not in text
    assert "fark etmiyor" not in section(text, "Kısaca")
