"""What a scenario will give in parameters, size and MACs: the untrained structure, pruned without data or weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from budama.data.expectation import expected
from budama.measuring import complexity
from budama.networks import models, titles, trial
from budama.pruning import gram, pruner
from budama.pruning.working_copy import WorkingCopy

if TYPE_CHECKING:
    from budama.reporting.preview import Preview

IMAGES = 4  # of noise, for what layers read


def preview(model: dict, data: dict, settings: dict) -> Preview:
    """The figures of a scenario before and after pruning, for every ratio.

    `model` and `data` are those of the baseline, `settings` the scenario's `pruning`. Layer-wise, the removed channels'
    number does not depend on their scores, so all methods give these figures. Where it does (any other `scope`), the
    scores are magnitudes of random weights, layers read what noise becomes, and `estimate` is true; so it is for
    `round_to: auto`, which is measured in the run and counts as no rounding here, and for `match: latency`, which is
    taken for `match: macs`.
    """
    shape, classes, known = expected(data)
    untrained = models.build(model, classes, shape, weights=False)
    if model["source"] == "python":  # others are known to train
        trial.train(untrained, shape, model["name"])
    by_time, match = settings["match"] == "latency", settings["match"]
    estimate = settings["scope"] != "layerwise" or not known or settings.get("round_to") == "auto" or by_time
    if by_time:
        settings = {**settings, "match": "macs"}
    if settings.get("round_to") == "auto":
        settings = {**settings, "round_to": None}
    ratios = settings["ratio"] if isinstance(settings["ratio"], list) else [settings["ratio"]]
    noise = [torch.randn(IMAGES, *shape, generator=torch.Generator().manual_seed(0))]

    def moments(current: WorkingCopy) -> dict[str, torch.Tensor]:
        return gram.moments(current.model, current.groups, noise)

    after = []
    for ratio in ratios:
        pruned = pruner.prune(untrained, shape, classes, "magnitude", {**settings, "ratio": ratio}, moments=moments)
        figures = {**_figures(pruned.after), "channels_removed_percent": 100 * pruned.achieved["channels"]}
        for name, key in ("parameters", "parameters"), ("size", "size_mib"), ("gmacs", "gmacs"):
            figures[f"{name}_change_percent"] = 100 * (figures[key] / _figures(pruned.before)[key] - 1)
        layers = {"layers": _with_costs(pruned), "own_ratios": pruned.own}
        after.append({"ratio": ratio, "estimate": estimate, "ratio_used": pruned.ratio_used, **figures, **layers})
    criterion = "magnitude of random weights" if settings["scope"] != "layerwise" else None
    shown = {
        "model": titles.title(model),
        "input_shape": list(shape),
        "classes": classes,
        "classes_known": known,
        "scope": settings["scope"],
        "match": match,
        "criterion": criterion,
        "before": _figures(pruned.before),
        "after": after,
        "unpruned_layers": pruned.whole,
    }
    return cast("Preview", shown)


def _with_costs(pruned: pruner.Pruned) -> list[dict]:
    """The model's layers, each with what it costs before and after, where it is counted by itself."""
    counted = [{layer["name"]: layer for layer in of.layers} for of in (pruned.before, pruned.after)]
    found = []
    for layer in pruned.layers:
        costs = {
            f"{key}_{when}": own.get(layer["name"], {}).get(key)
            for when, own in zip(("before", "after"), counted)
            for key in ("gmacs", "parameters")
        }
        found.append({**layer, **costs})
    return found


def _figures(measured: complexity.Complexity) -> dict:
    return {"parameters": measured.parameters, "size_mib": measured.size_mib, "gmacs": measured.gmacs}
