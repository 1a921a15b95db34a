"""A scenario's pruning by one method: the baseline's checkpoint in, the pruned one out, with what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from budama.data import batching
from budama.data.dataset import Data
from budama.measuring.evaluation import Evaluation, evaluate
from budama.networks import checkpoint, models
from budama.progress import log
from budama.pruning import calibration, compensation, criteria, gram, pruner, refitting, unprunable
from budama.significance import hits

if TYPE_CHECKING:
    from budama.pruning.working_copy import Record, WorkingCopy
    from budama.results.contracts import Compensation, Pruned, Unavailable


def prune(
    baseline: str | Path,
    statistics: str | Path,
    data: Data,
    settings: dict,
    device: torch.device,
    output: str | Path,
    trained: str | Path | None = None,
) -> Pruned | Unavailable:
    """Prune the checkpoint `baseline`, write the checkpoint `output`, and return the content of pruning.json.

    `statistics`: of the calibration, calibration.safetensors. `settings`: those of the stage prune, with `widths`
    (widths.json) where `round_to` is "auto", and `layer_times` (layer_times.json) where `match` is "latency".
    `trained`: in a turn after the first, the checkpoint to prune further, of which statistics are collected anew. Where
    the method cannot serve the model, checkpoint and content say why.
    """
    asked = {key: value for key, value in settings.items() if key not in ("calibration", "layers", "layer_times")}
    if "layers" in settings:  # pruning.json's `layers` are the model's
        asked["layers_asked"] = settings["layers"]
    try:
        done = _prune(baseline, statistics, data, settings, device, output, trained)
    except criteria.Unavailable as reason:
        log(f"{settings['method']} cannot serve this model: {reason}")
        checkpoint.save_unavailable(output, str(reason))
        return cast("Unavailable", {"status": "unavailable", "reason": str(reason), **asked})
    return cast("Pruned", {"status": "ok", "reason": None, **done, **asked})


def _prune(baseline, statistics, data: Data, settings: dict, device: torch.device, output, trained=None) -> dict:
    recipe = checkpoint.structure(baseline)["recipe"]
    model = checkpoint.load(baseline, device, data)
    start = checkpoint.structure(trained) if trained else {}
    if "unavailable" in start:
        raise criteria.Unavailable(start["unavailable"])
    batches = calibration.batches(data, settings["calibration"], device)
    threshold = settings["calibration"]["coverage_threshold"]

    def recalibrate(partly_pruned: nn.Module) -> calibration.Statistics:
        if settings["reestimate_batchnorm"]:
            calibration.reestimate_batchnorm(partly_pruned, batches)
        return calibration.collect(partly_pruned, batches, threshold=threshold, device=device)

    def fresh() -> nn.Module:
        return models.build(recipe["model"], data.classes, data.input_shape, weights=False, seed=settings["seed"])

    def compensate(before: WorkingCopy, after: WorkingCopy, gone: Record) -> Compensation:
        renewed = settings["reestimate_batchnorm"]
        done = compensation.compensate(before, after, batches, renewed=renewed)
        if settings["compensate"] == "sequential":
            done["refitting"] = refitting.refit(model, gone.kept, after, batches, renewed=renewed)
        if renewed:  # the next cut is measured on what this one left
            calibration.reestimate_batchnorm(after.model, batches)
        return done

    def moments(current: WorkingCopy) -> dict[str, torch.Tensor]:
        return gram.moments(current.model, current.groups, (images for images, _ in batches))

    whole = None
    if trained:
        whole, model = model, checkpoint.load(trained, device, data)
        seen = calibration.collect(model, batches, threshold=threshold, device=device)
    else:
        seen = calibration.Statistics.load(statistics)
    pruned = pruner.prune(
        model, data.input_shape, data.classes, settings["method"], settings, seen, recalibrate, fresh,
        whole=whole, kept=start.get("kept"),
        compensate=compensate if settings.get("compensate", "off") != "off" else None, moments=moments,
    )  # fmt: skip
    selection = batching.batches(data, "selection", settings["calibration"]["batch_size"], device=device)
    plain = pruned.model if pruned.uncompensated is None else pruned.uncompensated
    outcomes = {"as_pruned": evaluate(plain, selection, device=device)}
    outcomes["reestimated"] = outcomes["as_pruned"]
    if settings["reestimate_batchnorm"]:
        calibration.reestimate_batchnorm(plain, batches)
        outcomes["reestimated"] = evaluate(plain, selection, device=device)
    if plain is not pruned.model:
        outcomes["compensated"] = evaluate(pruned.model, selection, device=device)
    checkpoint.save(output, pruned.model.cpu(), recipe=recipe, kept=pruned.kept)
    return _described(settings["method"], seen, pruned, outcomes)


def _described(
    method: str, statistics: calibration.Statistics, pruned: pruner.Pruned, outcomes: dict[str, Evaluation]
) -> dict:
    """What pruning.json says of a model that was pruned; `outcomes`: on the selection split, by what was done."""
    accuracies = {when: outcome.accuracy_percent for when, outcome in outcomes.items()}
    for layer in pruned.whole:
        log(f"not pruned: {unprunable.told(layer)}")
    for done in pruned.compensations:
        for left in done["left"]:
            log(f"not compensated: {left['name']} ({left['reason']})")
        for kept in done["refitting"]["left"] if "refitting" in done else ():
            log(f"not refitted: {kept['name']} ({kept['reason']})")
    log(f"{method}: " + ", ".join(f"{when} {value:.2f} %" for when, value in accuracies.items()))
    told: dict = {"compensation": pruned.compensations} if pruned.compensations else {}
    if pruned.time:
        told["time"] = pruned.time
    if pruned.own:
        told["own_ratios"] = pruned.own
    return {
        "calibration_images": statistics.images,
        "ratio_used": pruned.ratio_used,
        "round_to_used": pruned.round_to,
        "achieved": {f"{what}_percent": 100 * share for what, share in pruned.achieved.items()},
        "parameters": pruned.after.parameters,
        "size_mib": pruned.after.size_mib,
        "gmacs": pruned.after.gmacs,
        "selection_accuracy_percent": accuracies,
        "selection_hits": {when: hits.packed(outcome.hits) for when, outcome in outcomes.items()},
        "selection_images": outcomes["as_pruned"].images,
        "layers": pruned.layers,
        "unpruned_layers": pruned.whole,
        **told,
    }
