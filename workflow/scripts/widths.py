"""Measure which channel counts are fast on this machine, for `pruning.round_to: auto`.

Writes widths.json: a convolution's time at every width. Each pruning chooses by it what suits its model's layers.
"""

from budama import cli, files, provenance
from budama.progress import log


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_settings(parser, "widths")
    cli.add_compute(parser)
    parser.add_argument("--output", required=True, metavar="FILE", help="widths.json")
    args = parser.parse_args()
    settings = cli.settings(args)

    from budama import rounding, widths

    device = cli.device(args)
    measured = widths.measure(device, **settings["layer"])
    files.write_json(args.output, {**measured, "environment": provenance.environment()})
    log(f"layers of {widths.WIDEST} channels or more: round_to {rounding.recommended(measured, widths.WIDEST)}")


if __name__ == "__main__":
    cli.run(main)
