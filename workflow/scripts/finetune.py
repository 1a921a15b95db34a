"""Train a pruned model again, with the baseline as teacher where `distill` is above 0.

Reads dataset.json and the checkpoints of the pruned model and the baseline; writes a checkpoint, history.csv (a row an
epoch) and metrics.json. Started again after an interruption, it goes on from its last finished epoch. On several GPUs:
torchrun --nproc-per-node N finetune.py …

Where `learning_rate` is a list, nothing is trained: of the runs with each, which --tried names, the best is copied.
"""

from budama import files
from budama.jobs import command_line


def main() -> None:
    parser = command_line.parser(__doc__)
    command_line.add_settings(parser, "finetune")
    parser.add_argument("--dataset", required=True, metavar="FILE", help="dataset.json")
    parser.add_argument("--model", required=True, metavar="DIR", help="checkpoint of the pruned model")
    parser.add_argument("--teacher", metavar="DIR", help="checkpoint of the baseline; read where distill is above 0")
    parser.add_argument("--tried", nargs="+", default=[], metavar="RATE=DIR", help="runs to choose among, by rate")
    command_line.add_training(parser)
    command_line.add_compute(parser)
    args = parser.parse_args()
    settings = command_line.settings(args)
    manifest, progress = files.read_json(args.dataset), command_line.progress_folder(args)

    if isinstance(settings["finetune"]["learning_rate"], list):
        from budama.training import choice, distributed

        runs = choice.named(args.tried, settings["finetune"]["learning_rate"])
        with distributed.job(command_line.device(args)):
            if distributed.writes():
                choice.keep_best(runs, args.output, args.metrics, args.history)
        return

    from budama.data.dataset import open_data
    from budama.networks import checkpoint
    from budama.training import distributed, loop, records, resume

    with distributed.job(command_line.device(args)) as device:
        structure = checkpoint.structure(args.model)
        if "unavailable" in structure:
            if distributed.writes():
                checkpoint.save_unavailable(args.output, structure["unavailable"])
                records.write_unavailable(args.metrics, args.history, settings["seed"], structure["unavailable"])
            return
        data, distill = open_data(manifest), settings["finetune"]["distill"] > 0
        model = checkpoint.load(args.model, data=data)
        teacher = checkpoint.load(args.teacher, data=data) if args.teacher and distill else None
        try:
            result = loop.train(
                model, data, settings["finetune"], seed=settings["seed"], device=device,
                augment=manifest["augment"], teacher=teacher, progress_dir=progress,
                inputs=records.inputs("finetune", settings, args.dataset),
            )  # fmt: skip
        except loop.Diverged as error:
            if not settings.get("tried"):
                raise
            if distributed.writes():  # of several rates, one may be too high
                checkpoint.save_unavailable(args.output, str(error))
                records.write_unavailable(args.metrics, args.history, settings["seed"], str(error), status="diverged")
                resume.discard(progress)
            return
        if distributed.writes():
            checkpoint.save(args.output, model.cpu(), recipe=structure["recipe"], kept=structure["kept"])
            records.write(args.metrics, args.history, settings["seed"], result)
            resume.discard(progress)


if __name__ == "__main__":
    command_line.run(main)
