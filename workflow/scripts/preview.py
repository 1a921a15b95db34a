"""Prune the untrained structure: what a scenario will give in parameters, MiB and MACs. No data, no weights.

Writes preview.json: the model before, and after each ratio. Layer-wise pruning depends on the structure alone, so its
figures are those of the run; with `scope: global` they are an estimate by magnitude on random weights.
"""

from budama import files
from budama.jobs import command_line
from budama.progress import log

UNITS = {"size_mib": {"MiB": 1, "KiB": 1024}, "gmacs": {"G": 1, "M": 1e3, "k": 1e6}}


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
    from budama.pruning import unprunable

    for layer in result["unpruned_layers"]:
        log(f"not pruned: {unprunable.told(layer)}")
    before = result["before"]
    for after in result["after"]:
        size, macs = (between(before[key], after[key], UNITS[key]) for key in UNITS)
        log(
            f"ratio {after['ratio']:g}: {size} ({after['size_change_percent']:+.1f} %), {macs} "
            f"({after['gmacs_change_percent']:+.1f} %)" + (", an estimate" if after["estimate"] else "")
        )


def between(before: float, after: float, units: dict[str, float]) -> str:
    """4.13 → 3.34 G: in the largest unit of which the first number has a tenth or more; else in the smallest."""
    unit = next((name for name, factor in units.items() if before * factor >= 0.1), list(units)[-1])
    return f"{before * units[unit]:.2f} → {after * units[unit]:.2f} {unit}"


if __name__ == "__main__":
    command_line.run(main)
