"""Make the unpruned model: take pretrained weights, train them further, or train from nothing.

Reads dataset.json; writes a checkpoint, history.csv (a row an epoch) and metrics.json. Started again after an
interruption, it goes on from its last finished epoch. On several GPUs: torchrun --nproc-per-node N baseline.py …
"""

from budama import files
from budama.errors import BudamaError
from budama.jobs import command_line
from budama.training import records


def main() -> None:
    parser = command_line.parser(__doc__)
    command_line.add_settings(parser, "baseline")
    parser.add_argument("--dataset", required=True, metavar="FILE", help="dataset.json")
    records.add_outputs(parser)
    command_line.add_compute(parser)
    args = parser.parse_args()
    settings = command_line.settings(args)
    manifest, progress = files.read_json(args.dataset), records.progress_dir(args)

    from budama.data.dataset import open_data
    from budama.networks import checkpoint, models
    from budama.training import distributed, loop, resume

    with distributed.job(command_line.device(args)) as device:
        data = open_data(manifest)
        model = models.build(settings["model"], data.classes, data.input_shape, seed=settings["seed"])
        if settings["train"]["epochs"] == 0:
            check_classifier(settings["model"], models.find_classifier(model, data.classes), data.classes)
        result = loop.train(
            model, data, settings["train"], seed=settings["seed"], device=device, augment=manifest["augment"],
            progress_dir=progress, inputs=records.inputs("baseline", settings, args.dataset),
        )  # fmt: skip
        if distributed.writes():
            checkpoint.save(args.output, model.cpu(), recipe=recipe(settings["model"], manifest))
            records.write(args, settings["seed"], result)
            resume.discard(progress)


def check_classifier(model: dict, classifier: str, classes: int) -> None:
    """Refuse to keep the weights as they are where the classifier is none of theirs: nothing would ever train it."""
    from budama.networks import weights

    found = weights.classes(model, classifier)
    if found not in (None, classes):
        raise BudamaError(
            f"train.epochs is 0, but the weights {model['weights']} are for {found} classes and the data has {classes};"
            " it must be 1 or more, for the classifier's sake"
        )


def recipe(model: dict, manifest: dict) -> dict:
    """How the model is built, and what its images look like."""
    normalisation = {key: manifest.get(key) for key in ("mean", "std", "resize")}
    return {
        "model": model,
        "classes": manifest["classes"],
        "input_shape": manifest["input_shape"],
        "class_names": manifest["class_names"],
        "normalisation": {**normalisation, "image_size": manifest["input_shape"][-1]},
    }


if __name__ == "__main__":
    command_line.run(main)
