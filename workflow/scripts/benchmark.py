"""Measure every model of a scenario in one process, alone on the machine: accuracy by image, cost, and speed.

Reads dataset.json, the checkpoints of the baseline and of all fine-tuned models, and their exports; writes
benchmark.json. This is the
one stage that looks at the test split. All models take turns in the timing, beside a copy of the baseline that shows
how far the clock can be trusted.
"""

from pathlib import Path

from budama import files
from budama.errors import BudamaError
from budama.jobs import command_line, provenance
from budama.results import labels


def main() -> None:
    parser = command_line.parser(__doc__)
    command_line.add_settings(parser, "benchmark")
    command_line.add_compute(parser)
    parser.add_argument("--dataset", required=True, metavar="FILE", help="dataset.json")
    parser.add_argument("--baseline", dest="unpruned", required=True, metavar="DIR", help="the baseline's checkpoint")
    parser.add_argument("--model", nargs="+", default=[], metavar="VARIANT/seed-N=DIR", help="fine-tuned checkpoints")
    parser.add_argument(
        "--exported", nargs="*", default=[], metavar="LABEL=DIR", help="exports of these, and of baseline"
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="benchmark.json")
    args = parser.parse_args()
    settings = command_line.settings(args)
    folders = {"baseline": Path(args.unpruned), **labels.paths(args.model, "--model")}
    wanted = [labels.label(variant, seed) for variant, seed in settings["variants"]]
    missing = [label for label in wanted if label not in folders]
    if missing:
        raise BudamaError(f"--model has no {missing[0]}; it must name the checkpoint of every variant and seed")

    from budama.data.dataset import open_data
    from budama.measuring import benchmarking

    device = command_line.device(args)
    data = open_data(files.read_json(args.dataset))
    measured = benchmarking.run(
        folders, data, settings["benchmark"], device, labels.paths(args.exported, "--exported", "baseline")
    )
    files.write_json(args.output, {"environment": provenance.environment(), **measured})


if __name__ == "__main__":
    command_line.run(main)
