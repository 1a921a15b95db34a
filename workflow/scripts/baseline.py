"""Make the unpruned model: take pretrained weights, train them further, or train from nothing.

Reads dataset.json; writes a checkpoint, history.csv (a row an epoch) and metrics.json. Started again after an
interruption, it goes on from its last finished epoch. On several GPUs: torchrun --nproc-per-node N baseline.py …
"""

from budama import files
from budama.jobs import command_line


def main() -> None:
    parser = command_line.parser(__doc__)
    command_line.add_settings(parser, "baseline")
    parser.add_argument("--dataset", required=True, metavar="FILE", help="dataset.json")
    command_line.add_training(parser)
    command_line.add_compute(parser)
    args = parser.parse_args()
    settings = command_line.settings(args)
    manifest, progress = files.read_json(args.dataset), command_line.progress_folder(args)

    from budama.data.dataset import open_data
    from budama.networks import checkpoint, models, weights
    from budama.training import distributed, loop, records, resume

    with distributed.job(command_line.device(args)) as device:
        data = open_data(manifest)
        model = models.build(settings["model"], data.classes, data.input_shape, seed=settings["seed"])
        if settings["train"]["epochs"] == 0:
            head = models.find_classifier(model, data.classes)
            weights.check_classifier(settings["model"], model, head, data.classes)
        result = loop.train(
            model, data, settings["train"], seed=settings["seed"], device=device, augment=manifest["augment"],
            progress_dir=progress, inputs=records.inputs("baseline", settings, args.dataset),
        )  # fmt: skip
        if distributed.writes():
            checkpoint.save(args.output, model.cpu(), recipe=checkpoint.recipe_of(settings["model"], manifest))
            records.write(args.metrics, args.history, settings["seed"], result)
            resume.discard(progress)


if __name__ == "__main__":
    command_line.run(main)
