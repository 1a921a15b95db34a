"""Train a pruned model again, with the baseline as teacher where `distill` is above 0.

Reads dataset.json and the checkpoints of the pruned model and the baseline; writes a checkpoint, history.csv (a row an
epoch) and metrics.json. Started again after an interruption, it goes on from its last finished epoch. On several GPUs:
torchrun --nproc-per-node N finetune.py …
"""

from budama import cli, files, outcome


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_settings(parser, "finetune")
    parser.add_argument("--dataset", required=True, metavar="FILE", help="dataset.json")
    parser.add_argument("--model", required=True, metavar="DIR", help="checkpoint of the pruned model")
    parser.add_argument("--teacher", metavar="DIR", help="checkpoint of the baseline; read where distill is above 0")
    outcome.add_outputs(parser)
    cli.add_compute(parser)
    args = parser.parse_args()
    settings = cli.settings(args)
    manifest, progress = files.read_json(args.dataset), outcome.progress_dir(args)

    from budama import checkpoint, distributed, resume, training
    from budama.datasets.opened import open_data

    with distributed.job(cli.device(args)) as device:
        structure = checkpoint.structure(args.model)
        if "unavailable" in structure:
            if distributed.writes():
                checkpoint.save_unavailable(args.output, structure["unavailable"])
                outcome.write_unavailable(args, settings["seed"], structure["unavailable"])
            return
        data, distill = open_data(manifest), settings["finetune"]["distill"] > 0
        model = checkpoint.load(args.model, data=data)
        teacher = checkpoint.load(args.teacher, data=data) if args.teacher and distill else None
        result = training.train(
            model, data, settings["finetune"], seed=settings["seed"], device=device,
            augment=manifest["augment"], teacher=teacher, progress_dir=progress,
            inputs=outcome.inputs("finetune", settings, args.dataset),
        )  # fmt: skip
        if distributed.writes():
            checkpoint.save(args.output, model.cpu(), recipe=structure["recipe"], kept=structure["kept"])
            outcome.write(args, settings["seed"], result)
            resume.discard(progress)


if __name__ == "__main__":
    cli.run(main)
