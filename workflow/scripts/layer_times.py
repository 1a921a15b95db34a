"""Measure how long each layer takes at the widths that pruning may leave, for `pruning.match: latency`.

Writes layer_times.json: layers' times by width, and those of the whole model and the narrowest. No data, no weights. A
share of time that the scenario asks for and that this machine cannot tell or reach is refused here, before anything is
trained.
"""

from budama import files
from budama.jobs import command_line, provenance
from budama.progress import log


def main() -> None:
    parser = command_line.parser(__doc__)
    command_line.add_settings(parser, "layer_times")
    command_line.add_compute(parser)
    parser.add_argument(
        "--ratios", metavar="R", type=float, nargs="*", default=[], help="shares of time that will be asked for"
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="layer_times.json")
    args = parser.parse_args()
    settings = command_line.settings(args)

    from budama.pruning import by_time, layer_times
    from budama.pruning.time_table import TimeTable

    device = command_line.device(args)
    measured = layer_times.measure(settings["model"], settings["data"], settings["pruning"], settings["timing"], device)
    table = TimeTable(measured)
    log(f"up to {100 * table.most:.1f} % of the time can go; timing is sure to {100 * table.noise:.1f} points")
    for ratio in args.ratios:
        by_time.check_reach(table, ratio)
    files.write_json(args.output, {**measured, "environment": provenance.environment()})


if __name__ == "__main__":
    command_line.run(main)
