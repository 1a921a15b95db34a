"""Score the channels of the baseline by one method, remove the lowest, and re-estimate BatchNorm.

Reads dataset.json, the baseline's checkpoint and calibration.safetensors; writes the pruned checkpoint and
pruning.json. A method that cannot serve the model writes both with the reason, and the scenario goes on.
"""

import base64

from budama import files
from budama.errors import BudamaError
from budama.jobs import command_line
from budama.progress import log


def main() -> None:
    parser = command_line.parser(__doc__)
    command_line.add_settings(parser, "prune")
    command_line.add_compute(parser)
    parser.add_argument("--dataset", required=True, metavar="FILE", help="dataset.json")
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the baseline's checkpoint")
    parser.add_argument("--calibration", required=True, metavar="FILE", help="calibration.safetensors")
    parser.add_argument("--widths", metavar="FILE", help="widths.json, where pruning.round_to is auto")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="the pruned checkpoint")
    parser.add_argument("--report", required=True, metavar="FILE", help="pruning.json")
    args = parser.parse_args()
    settings = command_line.settings(args)

    from budama.networks import checkpoint
    from budama.pruning import criteria

    device = command_line.device(args)
    if settings["round_to"] == "auto":
        settings["widths"] = measured_widths(args.widths)
    asked = {key: value for key, value in settings.items() if key != "calibration"}
    try:
        outcome = prune(args, settings, device)
    except criteria.Unavailable as reason:
        log(f"{settings['method']} cannot serve this model: {reason}")
        checkpoint.save_unavailable(args.output, str(reason))
        outcome = {"status": "unavailable", "reason": str(reason)}
    files.write_json(args.report, {"status": "ok", "reason": None, **outcome, **asked})


def measured_widths(path: str | None) -> dict:
    """What `round_to: auto` chooses by."""
    if path is None:
        raise BudamaError("pruning.round_to is auto: --widths must name the file that widths.py wrote on this machine")
    return files.read_json(path)


def prune(args, settings: dict, device) -> dict:
    """Write the pruned checkpoint; return what is to be said of it."""
    from budama.data import batching
    from budama.data.dataset import open_data
    from budama.measuring.evaluation import evaluate
    from budama.networks import checkpoint, models
    from budama.pruning import calibration, pruner

    data = open_data(files.read_json(args.dataset))
    recipe = checkpoint.structure(args.model)["recipe"]
    model = checkpoint.load(args.model, device, data)
    batches = calibration.batches(data, settings["calibration"], device)
    selection = batching.batches(data, "selection", settings["calibration"]["batch_size"], device=device)
    threshold = settings["calibration"]["coverage_threshold"]

    def recalibrate(partly_pruned):
        if settings["reestimate_batchnorm"]:
            calibration.reestimate_batchnorm(partly_pruned, batches)
        return calibration.collect(partly_pruned, batches, threshold=threshold, device=device)

    def fresh():
        return models.build(recipe["model"], data.classes, data.input_shape, weights=False, seed=settings["seed"])

    statistics = calibration.Statistics.load(args.calibration)
    pruned = pruner.prune(
        model, data.input_shape, data.classes, settings["method"], settings, statistics, recalibrate, fresh
    )
    stages = {"as_pruned": evaluate(pruned.model, selection, device=device)}
    stages["reestimated"] = stages["as_pruned"]
    if settings["reestimate_batchnorm"]:
        calibration.reestimate_batchnorm(pruned.model, batches)
        stages["reestimated"] = evaluate(pruned.model, selection, device=device)
    checkpoint.save(args.output, pruned.model.cpu(), recipe=recipe, kept=pruned.kept)
    accuracies = {stage: outcome.accuracy_percent for stage, outcome in stages.items()}
    log(f"{settings['method']}: " + ", ".join(f"{stage} {value:.2f} %" for stage, value in accuracies.items()))
    return {
        "calibration_images": statistics.images,
        "ratio_used": pruned.ratio_used,
        "round_to_used": pruned.round_to,
        "achieved": {f"{what}_percent": 100 * share for what, share in pruned.achieved.items()},
        "parameters": pruned.after.parameters,
        "size_mib": pruned.after.size_mib,
        "gmacs": pruned.after.gmacs,
        "selection_accuracy_percent": accuracies,
        "selection_hits": {stage: packed(outcome.hits) for stage, outcome in stages.items()},
        "selection_images": stages["as_pruned"].images,
        "layers": pruned.layers,
    }


def packed(hits) -> str:
    """One bit an image, in base64."""
    import numpy as np

    return base64.b64encode(np.packbits(hits).tobytes()).decode()


if __name__ == "__main__":
    command_line.run(main)
