"""Beyond top-1 in results.json: probabilities, answers that change, what is taken for what, and corrupted images."""

import numpy as np
import pytest
from invented_run import CLASSES, SEEDS, TEST, answers_of_test, drawn, measured

from budama.results import aggregation
from budama.results.rows import table
from budama.significance import each_model
from budama.significance.hits import labels_digest, packed, packed_classes, unpacked

ANSWERS = answers_of_test()


def named_by(label: str, hits: np.ndarray) -> np.ndarray:
    """For what a model takes each image: a miss is called one of the two next classes."""
    further = 1 + drawn(f"{label} misses", TEST, 0.5)
    return np.where(hits, ANSWERS, (ANSWERS + further) % CLASSES)


def trust_of(ece: float, change: float | None, error: float = 0.1) -> dict:
    return {
        "top5_percent": None, "nll": 0.2 + ece / 100, "confidence_percent": 95 + ece, "ece_percent": ece,
        "ece_interval": [ece - 0.2, ece + 0.2], "ece_calibrated_percent": 0.5, "ece_calibrated_at_most_percent": 0.9,
        "ece_change_points": change, "ece_change_error_points": None if change is None else error,
        "reliability": [{"images": TEST, "confidence_percent": 95.0 + ece, "accuracy_percent": 95.0}],
    }  # fmt: skip


def corruptions_of(accuracy: float, change: float | None, error: float = 0.4) -> dict:
    return {
        "accuracy_percent": {"contrast": [accuracy + 2, accuracy, accuracy - 2]}, "mean_percent": accuracy,
        "change_points": change, "change_error_points": None if change is None else error,
    }  # fmt: skip


@pytest.fixture(scope="module")
def run():
    """wanda's models are all less calibrated than the original, one of magnitude's is better; random suffers most."""
    found = measured()
    for label, row in found.benchmark["rows"].items():
        if row["status"] == "ok":
            hits = unpacked(row["hits"], TEST)
            row["misses"] = packed_classes(named_by(label, hits)[~hits])
            method, _, seed = label.partition("/seed-")
            change = {"baseline": None, "wanda": 1.0, "magnitude": [-1.0, 1.0, 1.0][int(seed or 0)], "random": 0.1}
            row["trust"] = trust_of(1 + (change[method] or 0), change[method])
            worse = {"baseline": None, "random": -9.0 - int(seed or 0)}.get(method, -0.2)
            row["corruptions"] = corruptions_of(70 + (worse or 0), worse)
    return found


@pytest.fixture(scope="module")
def results(run) -> dict:
    return aggregation.aggregate(run)


def row(results: dict, name: str) -> dict:
    return next(one for one in results["variants"] if one["variant"] == name)


def test_answers_that_change_are_those_of_a_plain_loop(run, results):
    original = run.predictions("baseline")
    found, counts = row(results, "wanda")["answers"], []
    models = [run.predictions(f"wanda/seed-{seed}") for seed in SEEDS]
    for named in models:
        changed = to_wrong = to_right = 0
        for new, old, label in zip(named, original, ANSWERS):
            changed += new != old
            to_wrong += old == label != new
            to_right += new == label != old
        counts.append((changed, to_wrong, to_right))
    mean = 100 * np.mean(counts, axis=0) / TEST
    keys = ("changed_percent", "right_to_wrong_percent", "wrong_to_right_percent")
    assert [found[key] for key in keys] == pytest.approx(mean.tolist())
    pairs = [np.mean(models[a] != models[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert found["seeds_disagree_percent"] == pytest.approx(100 * np.mean(pairs))
    change = found["wrong_to_right_percent"] - found["right_to_wrong_percent"]
    assert change == pytest.approx(row(results, "wanda")["accuracy_change_points"])
    first = found["left"][0]
    left = np.mean([((named != original) & (original == first["class_index"])).sum() for named in models])
    assert first["images"] == pytest.approx(left)
    assert first["of"] == (original == first["class_index"]).sum()
    shares = [one["images"] / one["of"] for one in found["left"]]
    assert shares == sorted(shares, reverse=True)
    assert results["baseline"]["answers"] is None


def test_what_is_taken_for_what_is_counted(run, results):
    for name, labels in (("baseline", ["baseline"]), ("wanda", [f"wanda/seed-{seed}" for seed in SEEDS])):
        own = results["baseline"] if name == "baseline" else row(results, name)
        wanted = np.zeros((CLASSES, CLASSES))
        for label in labels:
            for actual, named in zip(ANSWERS, run.predictions(label)):
                wanted[actual, named] += 1 / len(labels)
        assert np.allclose(own["confusion"], wanted, atol=1e-6)
        for pair in own["confused"]:
            assert pair["images"] == pytest.approx(wanted[pair["actual"], pair["taken_for"]])
            assert pair["of"] == pytest.approx(TEST / CLASSES)
        images = [pair["images"] for pair in own["confused"]]
        assert images == sorted(images, reverse=True)
        assert sum(images) == pytest.approx(wanted.sum() - np.trace(wanted))
    assert results["dataset"]["class_images"] == [TEST // CLASSES] * CLASSES


def test_only_what_holds_for_every_trained_model_is_claimed(results):
    wanda, magnitude, random = (row(results, name)["trust"] for name in ("wanda", "magnitude", "random"))
    assert wanda["claim"] == {
        "change_points": pytest.approx(1.0), "p_holm": pytest.approx(0, abs=1e-9), "distinguishable": True, "models": 3
    }  # fmt: skip
    assert magnitude["claim"]["p_holm"] == 1.0, "one of the models went the other way"
    assert not random["claim"]["distinguishable"]
    assert wanda["ece_percent"] == pytest.approx(2.0)
    assert magnitude["ece_of_seeds"] == [0.0, 2.0]
    assert results["baseline"]["trust"]["claim"] is None
    assert results["baseline"]["trust"]["ece_of_seeds"] is None


def test_corrupted_images_are_means_over_the_models(results):
    random = row(results, "random")["corruptions"]
    assert random["mean_percent"] == pytest.approx(60.0)
    assert random["accuracy_percent"] == {"contrast": pytest.approx([62.0, 60.0, 58.0])}
    assert random["claim"]["change_points"] == pytest.approx(-10.0)
    assert random["claim"]["distinguishable"]
    assert not row(results, "wanda")["corruptions"]["claim"]["distinguishable"]


def test_where_classes_are_unequal_their_mean_counts_each_alike():
    """A model that has learnt one class: 84 of 85 images, and a balanced accuracy of a half."""
    found = measured()
    labels = np.zeros(TEST, dtype=np.int64)
    labels[:24] = 1
    found.dataset["splits"]["test"]["labels"] = labels.tolist()
    found.dataset["classes"], found.dataset["class_names"] = 3, ["many", "few", "none"]
    rows = found.benchmark["rows"]
    found.benchmark["labels_digest"] = labels_digest(labels)
    for one in rows.values():
        if one["status"] == "ok":
            one |= {"hits": packed(labels == 0), "accuracy_percent": 100 * float((labels == 0).mean())}
    results = aggregation.aggregate(found)
    assert results["baseline"]["accuracy_percent"] == pytest.approx(98.8)
    assert results["baseline"]["balanced_accuracy_percent"] == pytest.approx(50.0)
    assert results["dataset"]["class_images"] == [TEST - 24, 24, 0]


def test_results_of_an_earlier_benchmark_have_none_of_it(run):
    earlier = aggregation.aggregate(measured())
    for one in (earlier["baseline"], row(earlier, "wanda")):
        assert (one["trust"], one["answers"], one["corruptions"], one["confused"]) == (None,) * 4
        assert one["balanced_accuracy_percent"] > 0


def test_the_table_has_the_columns(results):
    found = table(results).set_index("variant")
    assert found.loc["wanda", "ece_percent"] == pytest.approx(2.0)
    assert found.loc["wanda", "changed_percent"] == pytest.approx(row(results, "wanda")["answers"]["changed_percent"])
    assert found.loc["random", "corrupted_accuracy_percent"] == pytest.approx(60.0)


@pytest.mark.parametrize("models", [1, 3])
def test_equal_models_are_rarely_called_different(models):
    """Of 2,000 tests of models that differ by chance alone about 5 % are claimed, and far fewer of three at once."""
    random = np.random.default_rng(0)
    claimed = np.mean([each_model.p([(change, 1.0) for change in random.normal(size=models)]) < 0.05
                       for _ in range(2000)])  # fmt: skip
    assert claimed == pytest.approx(0.05, abs=0.015) if models == 1 else claimed < 0.005
