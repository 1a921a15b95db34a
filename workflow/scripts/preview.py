"""Prune the untrained structure: what a scenario will give in parameters, MiB and MACs. No data, no weights.

Writes preview.json: the model before, and after each ratio. Layer-wise pruning depends on the structure alone, so its
figures are those of the run; with `scope: global` they are an estimate by magnitude on random weights.
"""

from budama import files
from budama.jobs import command_line
from budama.progress import log


def main() -> None:
    parser = command_line.parser(__doc__)
    command_line.add_settings(parser, "preview")
    command_line.add_compute(parser)
    parser.add_argument("--output", required=True, metavar="FILE", help="preview.json")
    args = parser.parse_args()
    settings = command_line.settings(args)

    from budama.pruning import preview

    command_line.device(args)
    result = preview.preview(settings["model"], settings["data"], settings["pruning"])
    files.write_json(args.output, result)
    before = result["before"]
    for after in result["after"]:
        log(
            f"ratio {after['ratio']:g}: {before['size_mib']:.2f} → {after['size_mib']:.2f} MiB "
            f"({after['size_change_percent']:+.1f} %), {before['gmacs']:.2f} → {after['gmacs']:.2f} G "
            f"({after['gmacs_change_percent']:+.1f} %)" + (", an estimate" if after["estimate"] else "")
        )


if __name__ == "__main__":
    command_line.run(main)
