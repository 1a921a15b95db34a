"""Score the channels of the baseline by one method, remove the lowest, and re-estimate BatchNorm.

Reads dataset.json, the baseline's checkpoint and calibration.safetensors; writes the pruned checkpoint and
pruning.json. A method that cannot serve the model writes both with the reason, and the scenario goes on.
"""

from budama import files
from budama.errors import BudamaError
from budama.jobs import command_line


def main() -> None:
    parser = command_line.parser(__doc__)
    command_line.add_settings(parser, "prune")
    command_line.add_compute(parser)
    parser.add_argument("--dataset", required=True, metavar="FILE", help="dataset.json")
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the baseline's checkpoint")
    parser.add_argument("--calibration", required=True, metavar="FILE", help="calibration.safetensors")
    parser.add_argument(
        "--trained", metavar="FOLDER", help="checkpoint of the turn before, from pruning.cycles' second on"
    )
    parser.add_argument("--widths", metavar="FILE", help="widths.json, where pruning.round_to is auto")
    parser.add_argument("--layer-times", metavar="FILE", help="layer_times.json, where pruning.match is latency")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="the pruned checkpoint")
    parser.add_argument("--report", required=True, metavar="FILE", help="pruning.json")
    args = parser.parse_args()
    settings = command_line.settings(args)

    from budama.data.dataset import open_data
    from budama.pruning import stage

    device = command_line.device(args)
    if settings["round_to"] == "auto":
        settings["widths"] = measured_widths(args.widths)
    if settings.get("match") == "latency":
        settings["layer_times"] = times_of_layers(args.layer_times)
    data = open_data(files.read_json(args.dataset))
    if settings.get("turn", 1) > 1 and args.trained is None:
        raise BudamaError(f"turn {settings['turn']} prunes what the one before trained: --trained must name its model")
    report = stage.prune(args.model, args.calibration, data, settings, device, args.output, args.trained)
    files.write_json(args.report, report)


def measured_widths(path: str | None) -> dict:
    """What `round_to: auto` chooses by."""
    if path is None:
        raise BudamaError("pruning.round_to is auto: --widths must name the file that widths.py wrote on this machine")
    return files.read_json(path)


def times_of_layers(path: str | None) -> dict:
    """What `match: latency` goes by."""
    if path is None:
        raise BudamaError(
            "pruning.match is latency: --layer-times must name the file that layer_times.py wrote on this machine"
        )
    return files.read_json(path)


if __name__ == "__main__":
    command_line.run(main)
