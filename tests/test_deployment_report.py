"""The section of forms: one table, sentences that are true when int8 is slower, and the file to take."""

import json

import numpy as np
import pytest
from invented_run import TEST, answers_of_test, drawn, measured
from reports import ROOT, from_record, single

from budama.reporting import outline, render
from budama.reporting.language import Language
from budama.reporting.view import Results
from budama.results import aggregation
from budama.significance.hits import packed, unpacked


def form(precision, *, runtime="onnxruntime", accuracy=90.0, change=0.0, loss=0.0, time=0.5, size=1.0, **more):
    """A form of results.json; `time` over the original in PyTorch, which takes 2 ms."""
    pytorch = (runtime, precision) == ("pytorch", "float32")
    claim = {"change_points": loss, "p_holm": 0.001 if loss else 1.0, "distinguishable": bool(loss), "models": 3}
    return {
        "runtime": runtime, "precision": precision, "status": "ok", "reason": None, "kept": None, "device": "cpu",
        "accuracy_percent": accuracy, "error_points": 0.3, "change_points": change,
        "against_float32": None if pytorch else claim, "seeds": 3, "size_mib": size, "size_ratio": size,
        "latency_ms": 2 * time, "latency_ratio": time, "latency_ratio_interval": [time * 0.98, time * 1.02],
        "runtime_ratio": 2 * time, "runtime_ratio_interval": [2 * time * 0.98, 2 * time * 1.02],
        "images_per_second": 500 / time, "peak_memory_mib": 10.0, "memory_ratio": 1.0, **more,
    }  # fmt: skip


def content(**int8):
    """One ratio; the original and the first two variants have four forms each, int8's as they are asked for."""
    found = single()
    for row in (found["baseline"], *found["variants"][:2]):
        row["deployments"] = [
            form("float32", runtime="pytorch", time=1.0),
            form("float32"),
            form("float16", time=0.52, size=0.5, change=-0.1),
            form("int8", **{"time": 0.2, "size": 0.27, "change": -0.4, **int8}),
        ]
    return found


def said(found, code="tr", limit=None):
    language = Language(code, ".")
    return render.markdown(outline.build(Results(found, language), [], limit), language)


def section(text, title="Dağıtım"):
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def test_reports_without_forms_have_no_such_section():
    assert "## Dağıtım" not in said(single())


def test_one_table_has_every_form_of_every_model():
    text = section(said(content()))
    lines = [line for line in text.splitlines() if "ONNX Runtime int8 |" in line]
    assert len(lines) == 3
    assert "0.200 [0.196, 0.204]" in lines[0]
    assert "0.400 [0.392, 0.408]" in lines[0]
    assert text.count("| PyTorch float32 |") == 3


@pytest.mark.parametrize(("code", "title", "slow", "fast"), [
    ("tr", "Dağıtım", "ölçülebilir biçimde yavaş", "ölçülebilir biçimde hızlı"),
    ("en", "Deployment", "measurably slower", "measurably faster"),
])  # fmt: skip
@pytest.mark.parametrize(("time", "kind"), [(0.2, "fast"), (0.9, "slow"), (0.505, None)])
def test_int8_is_called_slower_where_it_is_and_faster_where_it_is(code, title, slow, fast, time, kind):
    text = section(said(content(time=time), code), title)
    line = next(line for line in text.splitlines() if line.startswith("- ONNX Runtime int8"))
    assert (slow in line, fast in line) == (kind == "slow", kind == "fast")


def test_what_int8_loses_is_told_and_what_loses_nothing_too():
    assert "kendi float32 modelinden 3.20 puan kaybediyor" in section(said(content(loss=-3.2)))
    assert "doğruluğu düşürdüğü hiçbir durumda gösterilemedi" in section(said(content()))


def test_the_fastest_and_the_smallest_within_a_point_are_named_with_their_ties():
    text = section(said(content()))
    fastest = next(line for line in text.splitlines() if line.startswith("- En hızlı"))
    assert "ONNX Runtime int8" in fastest.split(";")[0]
    assert fastest.count("ONNX Runtime int8") == 3, "three forms of equal time, none of which is the one"
    smallest = next(line for line in text.splitlines() if line.startswith("- En küçük"))
    assert smallest.count("ONNX Runtime int8") == 3
    # int8 beyond a point is not recommended, however fast and small it is.
    text = section(said(content(change=-1.2)))
    assert "ONNX Runtime float32" in next(line for line in text.splitlines() if line.startswith("- En hızlı"))
    assert "ONNX Runtime float16" in next(line for line in text.splitlines() if line.startswith("- En küçük"))


def test_a_control_is_never_the_file_to_take():
    found = content()
    control = next(row for row in found["variants"] if row["method"] == "random")
    control["deployments"] = [form("float32", runtime="pytorch"), form("int8", time=0.01, size=0.01)]
    text = section(said(found))
    assert "0.010 [0.010, 0.010]" in text
    for wish in ("- En hızlı", "- En küçük"):
        assert "Random" not in next(line for line in text.splitlines() if line.startswith(wish))


def test_below_a_latency_the_most_accurate_is_named():
    found = content(accuracy=85.0)
    found["variants"][0]["deployments"][3]["accuracy_percent"] = 89.0
    text = section(said(found, limit=0.5))
    line = next(line for line in text.splitlines() if line.startswith("- 0.5 ms altında en doğru"))
    assert "%89.00" in line
    assert "ayırt edilemeyen" not in line
    assert "0.1 ms altında hiçbir biçim yok" in section(said(content(), limit=0.1))
    assert "altında en doğru" not in section(said(content()))


def test_what_could_not_be_made_has_its_reason_in_the_report_s_language():
    lost = {"status": "unavailable", "reason": "activations reach 1e+06; float16 holds 65504 at most"}
    lost |= dict.fromkeys(("accuracy_percent", "against_float32", "latency_ms", "latency_ratio", "size_mib"))
    found = content()
    found["variants"][0]["deployments"][2] |= lost
    text = section(said(found))
    assert "aktivasyonlar 1e+06 değerine çıkıyor; float16 en çok 65504 tutabilir" in text


def shipped(label, accuracy):
    """A row of benchmark.json with two forms: PyTorch in float32, and int8 that is wrong for some images more."""
    row = measured().benchmark["rows"][label]
    own = unpacked(row["hits"], row["images"])
    less = own & drawn(f"{label} int8", TEST, accuracy)
    common = {"status": "ok", "reason": None, "kept": None, "images": TEST, "top1_equal": 0, "device": "cpu"}
    timed = {"batch_size": 1, "median_ms": 1.0, "images_per_second": 1000.0, "error": None}
    timed |= dict.fromkeys(("ratio", "runtime_ratio", "pytorch_ratio"), 0.5)
    timed |= {f"{key}_interval": [0.4, 0.6] for key in ("ratio", "runtime_ratio", "pytorch_ratio")}
    forms = [
        {"runtime": runtime, "precision": precision, "hits": packed(hits), "correct": int(hits.sum()),
         "accuracy_percent": 100 * float(hits.mean()), "size_mib": size, "latency": timed, "throughput": timed,
         "peak_memory_mib": 8.0, **common}
        for runtime, precision, hits, size in (
            ("pytorch", "float32", own, None), ("onnxruntime", "float32", own, 4.0), ("onnxruntime", "int8", less, 1.0),
        )
    ]  # fmt: skip
    return {**row, "deployments": forms}, own, less


def test_rows_have_forms_with_what_they_lose_against_their_own_float32_image_by_image():
    parts = measured()
    found = {label: shipped(label, 0.85) for label, row in parts.benchmark["rows"].items() if "hits" in row}
    rows = {**parts.benchmark["rows"], **{label: row for label, (row, _, _) in found.items()}}
    results = aggregation.aggregate(measured(benchmark={**parts.benchmark, "rows": rows}))
    row = next(one for one in results["variants"] if one["variant"] == "magnitude")
    whole, file, int8 = row["deployments"]
    labels = [label for label in found if label.startswith("magnitude/")]
    before, after = (np.mean([found[label][part] for label in labels], axis=0) for part in (1, 2))
    assert len(answers_of_test()) == len(before)
    assert int8["accuracy_percent"] == pytest.approx(100 * after.mean())
    assert int8["error_points"] == pytest.approx(100 * after.std(ddof=1) / TEST**0.5)
    claim = int8["against_float32"]
    assert claim["change_points"] == pytest.approx(100 * (after.mean() - before.mean()))
    assert claim["distinguishable"]
    assert file["against_float32"]["change_points"] == 0
    assert not file["against_float32"]["distinguishable"]
    assert whole["against_float32"] is None
    assert int8["change_points"] == pytest.approx(int8["accuracy_percent"] - results["baseline"]["accuracy_percent"])
    assert (int8["size_ratio"], int8["memory_ratio"], int8["latency_ratio"]) == (0.25, 1.0, 0.5)
    assert (whole["size_mib"], whole["size_ratio"]) == (
        row["size_mib"],
        row["size_mib"] / results["baseline"]["size_mib"],
    )


@pytest.mark.parametrize(("name", "samples"), [("ts7", "5,000"), ("ts9", "5,000")])
def test_recorded_precisions_are_shown_number_by_number_and_the_report_says_how_they_were_timed(name, samples):
    record = json.loads((ROOT / f"config/scenarios/recorded/{name}.json").read_text(encoding="utf-8"))
    text = said(from_record(name))
    own = section(text)
    rows = [record["baseline"], *record["methods"].values()]
    asked = [one for row in rows for one in (row, row["precisions"]["float16"])]
    lines = [line for line in own.splitlines() if line.startswith("| **")]
    assert len(lines) == len(asked) == 10
    for line, one in zip(lines, asked, strict=True):
        cells = [cell.strip() for cell in line.split("|")]
        assert cells[3:6] == [f"{one['size_mib']:.2f}", f"{one['accuracy_percent']:.2f}", f"{one['latency_ms']:.3f}"]
    for row in rows:
        assert f"{row['parameters']:,}" in text
    assert f"{samples} test görüntüsünde" in own
    assert "eşzamanlanmadan" in own
    assert "- En hızlı" not in own, "times that cannot be compared recommend nothing"
