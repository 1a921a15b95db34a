"""What someone who had never seen a report asked, misread, or found contradicted by the next figure."""

import copy

import pytest
from reports import document, from_record, only, said, section, single, tied

from budama.reporting.sections import beyond

TIED = ("wanda", "taylor", "random")


def row(content: dict, method: str) -> dict:
    return next(one for one in content["variants"] if one["method"] == method)


def test_the_ratio_says_of_what_it_is_a_share():
    content = single()
    assert "(oran, her katmanda çıkarılan kanalların payıdır)" in said(content)
    content["pruning"]["scope"] = "global"
    assert "(oran, bütün modelde çıkarılan kanalların payıdır)" in said(content)
    content["pruning"]["match"] = "macs"
    assert "(oran, eksilen çarp-topla işlemlerinin payıdır)" in said(content)
    assert "(the share of multiply-accumulates that go)" in said(content, code="en")


def test_the_unpruned_control_is_counted():
    content = only(*TIED)
    content["unpruned"] = copy.deepcopy(row(content, "wanda")) | {"variant": "original_ft", "method": "original_ft"}
    assert "2 yöntem ve 2 kontrol karşılaştırıldı" in said(content)


def test_a_loss_that_was_not_shown_is_still_bounded():
    content = only("wanda", "taylor")
    claim = next(one for one in content["against_original"] if one["variant"] == content["ranking"][0]["variants"][0])
    claim |= {"difference_points": -0.4, "interval": [-2.4, 0.7], "distinguishable": False, "p_holm": 0.32}
    assert "2.40 puanlık bir kayıp dışlanamaz" in section(said(content), "Kısaca")
    claim["interval"] = [0.1, 0.7]
    assert "dışlanamaz" not in section(said(content), "Kısaca")


def test_the_smallest_is_named_with_what_it_costs():
    text = said(from_record("ts4"))
    shown = next(line for line in section(text, "Kısaca").splitlines() if "Boyut için" in line)
    lost = next(one for one in from_record("ts4")["variants"] if one["method"] == "magnitude")["accuracy_change_points"]
    assert lost < -9
    assert f"**Magnitude**: 97.70 MiB yerine 81.44 MiB (-%16.6); doğruluk orijinale göre {lost:.2f} puan" in (
        shown.replace("−", "-")
    )


def test_no_balance_is_the_best_that_a_control_has_too():
    text = section(said(tied(only(*TIED))), "Doğruluk-Verimlilik Dengesi")
    assert "en iyi denge" not in text.lower()
    assert text.count("orijinal performans korundu") == 3


def test_a_recommended_method_that_a_lower_control_reaches_is_told():
    """Groups are not transitive: the second of a tie may not be told apart from a control below the group."""
    content = only(*TIED)
    names = [one["variant"] for one in sorted(content["variants"], key=lambda one: -one["accuracy_percent"])]
    first, second = (name for name in names if not name.startswith("random"))
    content["ranking"] = [
        {"rank": 1, "ratio": 0.3, "variants": [first, second], "tie_p_holm": 0.4},
        {"rank": 3, "ratio": 0.3, "variants": ["random-0.3"], "tie_p_holm": None},
    ]
    for claim in content["comparisons"]:
        claim["distinguishable"] = {claim["a"], claim["b"]} == {first, "random-0.3"}
    label = {"wanda-0.3": "Wanda", "taylor-0.3": "Taylor"}[second]
    assert f"Ama {label}, Random kontrolünden de ayırt edilemez." in section(said(content), "Kısaca")
    assert f"But {label} cannot be told apart from the control Random either." in said(content, code="en")
    for claim in content["comparisons"]:
        claim["distinguishable"] = "random-0.3" in (claim["a"], claim["b"])
    assert "kontrolünden de ayırt edilemez" not in said(content)


def test_methods_that_were_not_told_apart_from_random_say_by_how_much_and_where():
    content = only(*TIED)
    for claim, gap, p in zip(content["against_random"], (24.3, 8.3), (0.09, 0.5), strict=False):
        claim |= {"difference_points": gap, "p_holm": p, "distinguishable": False}
    text = section(said(content), "Performans Sıralaması")
    assert "ayırt edilemedi (seçim kümesinde, +8.30 … +24.30 puan; Holm düzeltmeli en küçük p = 0.090)" in text


def test_another_order_on_the_selection_split_is_told_of_a_tie():
    content = tied(only("wanda", "taylor"))
    first, other = sorted(content["variants"], key=lambda one: -one["accuracy_percent"])
    first["fate"]["finetuned_percent"], other["fate"]["finetuned_percent"] = 92.0, 93.5
    assert "orada en yüksek" in said(content)
    assert "(%93.50)" in said(content)
    assert "ki %92.00" in said(content)
    other["fate"]["finetuned_percent"] = 91.0
    assert "orada en yüksek" not in said(content)


def test_new_weights_are_no_bound_and_no_colour_of_the_classes():
    content = single()
    content["configuration"]["baseline"] = {"model": {"weights": None}, "train": {"epochs": 25}}
    assert "5 epoch eğitildi (orijinal: 25 epoch); bu, yapının ulaşabileceği doğruluk değildir" in said(content)
    content["configuration"]["baseline"]["model"]["weights"] = "DEFAULT"
    assert "(orijinal: 25 epoch)" not in said(content)
    classes = next(figure for figure in document(content)[0].figures if figure.name == "classes")
    assert "Sıfırdan" not in classes.svg
    assert "Wanda" in classes.svg


@pytest.mark.parametrize("lost", [("wanda",), ("wanda", "taylor")])
def test_probabilities_that_became_less_reliable_are_in_the_summary(lost):
    content = only("wanda", "taylor")
    for one in content["variants"]:
        one["trust"]["claim"] |= {"distinguishable": one["method"] in lost, "change_points": 1.0}
        one["trust"]["ece_percent"] = {"wanda": 2.0, "taylor": 2.8}[one["method"]]
    content["baseline"]["trust"]["ece_percent"] = 1.0
    shown = section(said(content), "Kısaca")
    expected = {1: "olan: Wanda (ECE %1.00 yerine %2.00)", 2: "tümünde orijinalinkilerden daha az güvenilir (ECE %1.00"}
    assert expected[len(lost)] in shown
    content["variants"][0]["trust"]["claim"]["change_points"] = -1.0
    assert "(ECE %1.00 yerine %2.00)" not in section(said(content), "Kısaca")


def test_table_and_figure_have_one_sign(monkeypatch):
    content = single()
    drawn = []
    monkeypatch.setattr(beyond.plots, "lines", lambda panels, *rest, **options: drawn.append(panels))
    next(figure for figure in document(content)[0].figures if figure.name == "reliability").draw()
    line = next(line for line in drawn[0][0][1] if line.method == "wanda")
    bins = {one["confidence_percent"]: one["accuracy_percent"] for one in row(content, "wanda")["trust"]["reliability"]}
    assert line.y == [x - bins[x] for x in line.x]
    assert "Güven - doğruluk (puan)" in said(content).replace("−", "-")
