"""Measure which channel counts are fast on this machine, for `pruning.round_to: auto`.

Writes widths.json: a convolution's time at every width, and `round_to`, the multiple that is worth keeping to, or 1.
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

    from budama import widths

    device = cli.device(args)
    measured = widths.measure(device, **settings["layer"])
    round_to = widths.recommended(measured)
    files.write_json(args.output, {"round_to": round_to, **measured, "environment": provenance.environment()})
    log(f"round_to: {round_to}" + ("" if round_to > 1 else ", no multiple is worth keeping to here"))


if __name__ == "__main__":
    cli.run(main)
