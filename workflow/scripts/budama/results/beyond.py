"""What lies beyond the share of first guesses that are right: probabilities, answers that change, what is taken for
what, and corrupted images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from budama.results.labels import label as label_of
from budama.results.measured import Measured
from budama.results.rows import mean
from budama.significance import each_model

if TYPE_CHECKING:
    from budama.reporting.row import Answers, Confused, Row, Trust, Unavailable
    from budama.results.contracts import Benchmarked

SHOWN = 10  # classes that images left, and pairs of classes that are taken for one another
MATRIX = 12  # classes up to which a whole confusion matrix is kept
AVERAGED = ("top5_percent", "nll", "confidence_percent", "ece_percent")
OF_ONE = ("ece_interval", "ece_calibrated_percent", "ece_calibrated_at_most_percent", "reliability")


def of_baseline(measured: Measured) -> dict[str, Any]:
    """Those keys of the baseline's row that are written here."""
    return _keys(measured, [measured.benchmarked("baseline")], [measured.predictions("baseline")]) | {"answers": None}


def of_variant(measured: Measured, variant: str, seeds: Sequence[int]) -> dict[str, Any]:
    """The same of a variant, whose models these seeds are; what is said of one model is said of the first."""
    labels = [label_of(variant, seed) for seed in seeds]
    predictions = [measured.predictions(label) for label in labels]
    found = _keys(measured, [measured.benchmarked(label) for label in labels], predictions)
    return found | {"answers": _answers(measured, predictions)}


def add_claims(measured: Measured, rows: Sequence[Row | Unavailable]) -> None:
    """Put into the rows whether calibration and accuracy on corrupted images differ from the original's."""
    for part, key in (("trust", "ece_change"), ("corruptions", "change")):
        for ratio in dict.fromkeys(row["ratio"] for row in rows):
            own = [row for row in rows if row["ratio"] == ratio and row.get(part)]
            known = [(row, changes) for row in own if (changes := _changes(measured, row, part, key))]
            for (row, _), claim in zip(known, each_model.claims([changes for _, changes in known])):
                row[part]["claim"] = claim  # type: ignore[literal-required]


def _changes(measured: Measured, row: Row | Unavailable, part: str, key: str) -> list[each_model.Change]:
    """Each model's change against the baseline and its error; nothing where one of them has none."""
    models: list[Any] = [measured.benchmarked(label_of(row["variant"], one["seed"])).get(part) for one in row["seeds"]]
    found = [(one[f"{key}_points"], one[f"{key}_error_points"]) for one in models if one]
    return [] if any(None in pair for pair in found) else found


def _keys(
    measured: Measured, models: Sequence[Benchmarked], predictions: Sequence[np.ndarray | None]
) -> dict[str, Any]:
    known = [one for one in predictions if one is not None]
    table = _confusion(measured, known) if known else None
    return {
        "balanced_accuracy_percent": _balanced(measured, models),
        "trust": _trust(models),
        "corruptions": _corruptions(models),
        "confused": None if table is None else _confused(table),
        "confusion": table.round(6).tolist() if table is not None and len(table) <= MATRIX else None,
    }


def _trust(models: Sequence[Benchmarked]) -> Trust | None:
    known = [one["trust"] for one in models if "trust" in one]
    if not known:
        return None
    found: Any = {key: mean([one[key] for one in known]) for key in AVERAGED}  # type: ignore[literal-required]
    errors = [one["ece_percent"] for one in known if one["ece_percent"] is not None]
    spread = [min(errors), max(errors)] if len(errors) > 1 else None
    return found | {key: known[0][key] for key in OF_ONE} | {"ece_of_seeds": spread, "claim": None}  # type: ignore


def _corruptions(models: Sequence[Benchmarked]) -> dict[str, Any] | None:
    known = [one["corruptions"] for one in models if "corruptions" in one]
    if not known:
        return None
    kinds = known[0]["accuracy_percent"]
    accuracies = {kind: np.mean([one["accuracy_percent"][kind] for one in known], axis=0).tolist() for kind in kinds}
    return {"accuracy_percent": accuracies, "mean_percent": mean([one["mean_percent"] for one in known]), "claim": None}


def _balanced(measured: Measured, models: Sequence[Benchmarked]) -> float:
    """The mean over the classes that have test images of the share of them that is right (Brodersen et al. 2010)."""
    hits = np.mean([measured.hits_of(one) for one in models], axis=0)
    images = np.bincount(measured.labels)
    right = np.bincount(measured.labels, weights=hits)
    return 100 * float(np.mean(right[images > 0] / images[images > 0]))


def _answers(measured: Measured, predictions: Sequence[np.ndarray | None]) -> Answers | None:
    """How many test images another class is named for than by the original (Hooker et al. 2019), in percent; means over
    models. Two trainings of the same method disagree, too: that is what such a number has to be seen beside (the churn
    of Milani Fard et al. 2016)."""
    original, models = measured.predictions("baseline"), [one for one in predictions if one is not None]
    if original is None or not models:
        return None
    right = original == measured.labels
    changed = [one != original for one in models]
    pairs = [float(np.mean(a != b)) for a, b in combinations(models, 2)]
    classes = measured.dataset["classes"]
    left = np.mean([np.bincount(original[one], minlength=classes) for one in changed], axis=0)
    named = np.bincount(original, minlength=classes)
    order = sorted(np.flatnonzero(left), key=lambda k: (-left[k] / named[k], k))[:SHOWN]
    return {
        "changed_percent": 100 * float(np.mean(changed)),
        "right_to_wrong_percent": 100 * float(np.mean([one & right for one in changed])),
        "wrong_to_right_percent": 100 * float(np.mean([one == measured.labels for one in models] & ~right)),
        "seeds_disagree_percent": 100 * float(np.mean(pairs)) if pairs else None,
        "left": [{"class_index": int(k), "images": float(left[k]), "of": int(named[k])} for k in order],
    }


def _confusion(measured: Measured, predictions: Sequence[np.ndarray]) -> np.ndarray:
    """[classes, classes] test images by their class and by the one that they are taken for, mean over models."""
    classes = measured.dataset["classes"]
    places = [np.bincount(measured.labels * classes + one, minlength=classes**2) for one in predictions]
    return np.mean(places, axis=0).reshape(classes, classes)


def _confused(table: np.ndarray) -> list[Confused]:
    """The pairs of classes with the most images of the first taken for the second, and how many the first has."""
    wrong = table * (1 - np.eye(len(table)))
    most = [divmod(int(place), len(table)) for place in np.argsort(-wrong, axis=None, kind="stable")[:SHOWN]]
    return [
        {"actual": a, "taken_for": b, "images": float(table[a, b]), "of": float(table[a].sum())}
        for a, b in most
        if wrong[a, b]
    ]
