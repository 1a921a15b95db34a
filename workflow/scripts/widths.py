"""Measure which channel counts are fast on this machine, for `pruning.round_to: auto`.

Writes widths.json: a convolution's time at every width. Each pruning chooses by it what suits its model's layers.
"""

from budama import files
from budama.jobs import command_line, provenance
from budama.progress import log


def main() -> None:
    parser = command_line.parser(__doc__)
    command_line.add_settings(parser, "widths")
    command_line.add_compute(parser)
    parser.add_argument("--output", required=True, metavar="FILE", help="widths.json")
    args = parser.parse_args()
    settings = command_line.settings(args)

    from budama.measuring import widths
    from budama.pruning import rounding

    device = command_line.device(args)
    measured = widths.measure(device, **settings["layer"])
    files.write_json(args.output, {**measured, "environment": provenance.environment()})
    log(f"layers of {widths.WIDEST} channels or more: round_to {rounding.recommended(measured, widths.WIDEST)}")


if __name__ == "__main__":
    command_line.run(main)
