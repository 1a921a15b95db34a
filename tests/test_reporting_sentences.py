"""Sentences that a reader acts on: what is recommended, what was not shown, and reports of few methods."""

import re
from pathlib import Path

import pytest
from reports import from_record, grid, on_images, only, said, section, single, tied

from budama.reporting import overview, render
from budama.reporting.inline import to_plain
from budama.reporting.language import Language
from budama.reporting.view import Results

WORDS = {
    "tr": {"summary": "Kısaca", "speed": "Hız için **Random** seçilmelidir", "size": "Boyut için **Random**"},
    "en": {"summary": "In short", "speed": "For speed choose **Random**", "size": "For size choose **Random**"},
}
COUNTED = (
    "duplicates", "unreadable_images", "label_conflicts", "skipped_files", "more_frames", "alike_classes",
    "class_without_images",
)  # fmt: skip
NEVER = (
    r"\bvs\b",
    "eğitim tarafından",
    "gürültüdür",
    "Hız için yöntem seçimi fark etmiyor",
    "Doğruluk Kaybı",
    "Boyut Azalması",
    r"\bis noise",
)


def timed(row: dict, ratio: float) -> None:
    row["latency"] |= {"ratio": ratio, "ratio_interval": [ratio - 0.005, ratio + 0.005]}
    row["latency_ms"] = 2.31 * ratio


@pytest.mark.parametrize("code", ["tr", "en"])
def test_a_control_that_is_fastest_and_smallest_is_not_recommended(code):
    content = only("wanda", "taylor", "random")
    for row, ratio in zip(content["variants"], (0.8, 0.9, 0.5), strict=True):
        timed(row, ratio)
    assert content["variants"][-1]["method"] == "random"
    content["variants"][-1] |= {"size_mib": 0.1, "size_change_percent": -90.5}
    text = section(said(content, code=code), WORDS[code]["summary"])
    assert WORDS[code]["speed"] not in text
    assert WORDS[code]["size"] not in text
    assert WORDS[code]["speed"].replace("Random", "Wanda") in text
    assert "0.53 MiB" in text
    assert "0.10 MiB" not in text


@pytest.mark.parametrize(
    ("epochs", "stage"), [(5, "Fine-tuning sonrasında Random kontrolü de"), (0, " Random kontrolü de")]
)
def test_what_is_said_of_a_control_names_its_stage(epochs, stage):
    content = tied(only("wanda", "random"))
    content["finetune"]["epochs"] = epochs
    text = said(content)
    assert f"{stage} ondan ayırt edilemez" in text
    assert "Doğruluk için **Wanda** seçilebilir" in text
    assert "Random** seçil" not in text
    assert ("ine-tuning öncesinde" in section(text, "Performans Sıralaması")) == bool(epochs)
    content["ranking"] = [
        {"rank": i, "ratio": 0.3, "variants": [f"{name}-0.3"], "tie_p_holm": None}
        for i, name in enumerate(["random", "wanda"], 1)
    ]
    start = "Fine-tuning sonrasında en" if epochs else "En"
    assert f"{start} yüksek doğruluk bir kontroldedir (Random" in said(content)


@pytest.mark.parametrize("methods", [("wanda",), ("wanda", "random"), ("wanda", "taylor"), ("random", "scratch")])
def test_methods_and_controls_are_counted_apart(methods):
    expected = {
        ("wanda",): ("tek yöntem denendi", "one method was tried"),
        ("wanda", "random"): ("1 yöntem ve 1 kontrol karşılaştırıldı", "1 method and 1 control were compared"),
        ("wanda", "taylor"): ("2 yöntem karşılaştırıldı", "2 methods were compared"),
        ("random", "scratch"): ("yalnızca kontroller denendi", "controls alone were tried"),
    }[methods]
    for code, words in zip(("tr", "en"), expected, strict=True):
        assert words in said(only(*methods), code=code)


def test_all_tied_counts_the_methods_and_names_the_controls():
    text = said(tied(only("wanda", "taylor", "random")))
    assert "hiçbir yöntem öne çıkmıyor: 2 yöntemin tümü ayırt edilemez" in text
    assert "Fine-tuning sonrasında Random kontrolü de bunlardan ayırt edilemez" in text


@pytest.mark.parametrize(
    ("ratio", "turkish", "english"),
    [
        (0.82, "Hız: çıkarım süresi %18.0 kısalır.", "Speed: inference gets 18.0% shorter."),
        (1.0, "Hız kazancı gösterilemedi: çıkarım süresi", "No gain in speed was shown: the inference time cannot"),
        (1.2, "Hız kazancı yok: çıkarım orijinalden yavaş (süre +%20.0).", "in speed: inference is slower"),
    ],
)
def test_of_one_method_there_is_nothing_to_choose(ratio, turkish, english):
    content = only("wanda")
    timed(content["variants"][0], ratio)
    for code, words in (("tr", turkish), ("en", english)):
        text = said(content, code=code)
        assert words in section(text, WORDS[code]["summary"])
        captions = re.findall(r"^\*(?:Şekil|Figure) \d+\.\* (.*)$", text, re.MULTILINE)
        assert len(set(captions)) == len(captions) > 5


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0.82, "Hız: budanan modellerin yapısı aynıdır, biri hepsi adına ölçüldü"),
        (1.0, "Hız kazancı gösterilemedi: hiçbir yöntemin"),
    ],
)
def test_what_was_not_shown_is_not_said_to_be_nothing(ratio, words):
    content = tied(only("wanda", "taylor"))
    for row in content["variants"]:
        timed(row, ratio)
    text = said(content)
    assert words in text
    assert "tutarlı bir üstünlük gösterilemedi" in text
    for phrase in NEVER:
        assert not re.search(phrase, text), phrase


def test_no_caption_repeats_another():
    captions = re.findall(r"^\*Şekil \d+\.\* (.*)$", said(single()), re.MULTILINE)
    parts = [part for caption in captions for part in re.split(r"(?<=[.;:]) ", caption) if len(part) > 60]
    assert len(captions) > 6
    assert len(set(parts)) == len(parts)


def test_nothing_is_the_largest_loss_that_is_none():
    content = only("wanda", "taylor")
    last = content["variants"][-1 if content["ranking"][-1]["variants"][0] == content["variants"][-1]["variant"] else 0]
    assert "En fazla doğruluk kaybı" in said(content)
    last |= {"accuracy_change_points": 0.0, "retention_percent": 100.0}
    assert "En fazla doğruluk kaybı" not in said(content)


@pytest.mark.parametrize(("code", "words"), [("tr", "eğitimden gelmiş olabilir"), ("en", "may be the training's")])
def test_a_gain_without_the_control_that_was_trained_alike_may_be_the_trainings(code, words):
    content = single()
    for claim in content["against_original"]:
        claim |= {"difference_points": 2.0, "interval": [1.0, 3.0], "p_holm": 0.01, "distinguishable": True}
    assert words in said(content, code=code)
    assert words not in said(content | {"finetune": content["finetune"] | {"epochs": 0}}, code=code)
    for claim in content["against_original"]:
        claim |= {"difference_points": -2.0, "interval": [-3.0, -1.0]}
    assert words not in said(content, code=code)


def test_a_loss_has_no_sign():
    text = section(said(from_record("ts3"), from_record("ts2")), "TS2 ile Karşılaştırma")
    loss = re.search(r"en küçük doğruluk kaybı (.*) ile ölçüldü \((.*) puan\)", text)
    assert loss
    assert re.fullmatch(r"\d\.\d\d ve \d\.\d\d", loss[2])


@pytest.mark.parametrize(("code", "words"), [("tr", "görüntüler eşlenerek sınandı"), ("en", "with images paired")])
def test_scenarios_on_the_same_test_images_are_paired(code, words):
    here, there = on_images(single(), "compensated", 2.5), on_images(single(), "plain", 0)
    here["pruning"]["compensate"] = "one_pass"
    title = {"tr": "plain ile Karşılaştırma", "en": "Compared with plain"}[code]
    text = section(said(here, there, code=code), title)
    assert words in text
    assert {"tr": "telafisi kullanıldı", "en": "used compensation"}[code] in text
    assert re.search({"tr": r"yöntemin tümünde doğruluk .* daha yüksek", "en": "Accuracy is higher in"}[code], text)
    there["dataset"]["test_split"] = "another"
    text = section(said(here, there, code=code), title)
    assert words not in text
    assert {"tr": "bağımsız iki ölçüm", "en": "independent"}[code] in text


def test_one_shared_method_reads_naturally():
    here, there = from_record("ts3"), from_record("ts2")
    for content in (here, there):
        content["variants"] = [row for row in content["variants"] if row["method"] == "wanda"]
        names = [row["variant"] for row in content["variants"]]
        content["ranking"] = [
            {"rank": 1, "ratio": content["variants"][0]["ratio"], "variants": names, "tie_p_holm": None}
        ]
        content["comparisons"] = []
    text = section(said(here, there), "TS2 ile Karşılaştırma")
    assert re.search(r"Ortak tek yöntemde (doğruluk TS3'te daha|iki senaryo)", text)
    assert "Ortak 1 yöntemin" not in text


ONES = r"(?<![\d.,%])1 (\w+ )?(images|classes|seeds|methods|controls|rows|pairs|files|models|epochs|threads)\b"


def test_english_says_one_of_one():
    content = only("wanda", "random")
    content["dataset"]["counts"] = dict.fromkeys(content["dataset"]["counts"], 1) | {"test": 10}
    content["seeds"], content["finetune"]["epochs"] = [0], 1
    content["warnings"] = [
        {"code": "few_images", "split": "test", "images": 1},
        {"code": "few_calibration_images", "asked": 1, "images": 1},
        {"code": "unexpected_classes", "classes": 1, "expected": 1},
        {"code": "fewer_threads", "threads": 1, "asked": 1},
        *({"code": code, "count": 1, "split": "test", "examples": ["a", "b"]} for code in COUNTED),
    ]
    text = said(content, code="en")
    assert "A class has about 1 test image;" in text
    assert "(s)" not in text
    assert not re.search(ONES, text)
    content["dataset"]["counts"]["test"] = 1
    assert "one seed and 1 test image." in said(content, code="en")
    language = Language("en")
    assert language.say("index.intro", n=1).startswith("1 scenario reported")
    assert language.say("board.intro", n=1, groups=1).startswith("1 row, 1 pair of")
    assert "{n} rows" not in str(language.catalogue["board"]["words"])


def test_the_index_names_no_control_as_ahead():
    content = tied(only("wanda", "random"))
    names = [row["variant"] for row in content["variants"]]
    content["ranking"][0]["variants"] = sorted(names)  # random first
    entry = overview.entries([Results(content, Language("tr"))], Path("/nowhere"))[0]
    assert entry["leader"] == "Wanda"
    assert entry["accuracy"][0] == next(r["accuracy_percent"] for r in content["variants"] if r["method"] == "wanda")


def test_the_index_names_the_best_of_each_ratio():
    results = Results(grid(4, 2, 2, 3, 10, 2), Language("tr"))
    shown = overview.entries([results], Path("/nowhere"))
    assert [entry["ratio"][0] for entry in shown] == [0.1, 0.3]
    for entry in shown:
        first = results.ordered(entry["ratio"][0])[0]
        assert results.short(first) in to_plain(entry["leader"])
        assert entry["accuracy"][0] == first["accuracy_percent"]
        sizes = results.changes(results.at(entry["ratio"][0]), "size_mib")
        assert entry["size"][0] == min(sizes)
    page = render.index(shown, Language("tr"))
    assert "1 senaryo raporlandı" in page
    assert page.count("<tr data-search") == 2
