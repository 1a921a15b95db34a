"""Prune the untrained structure: what a scenario will give in parameters, MiB and MACs. No data, no weights.

Writes preview.json: the model before, and after each ratio. Layer-wise pruning depends on the structure alone, so its
figures are those of the run; with `scope: global` they are an estimate by magnitude on random weights.
"""

from budama import files
from budama.jobs import command_line
from budama.progress import log

UNITS = {"size_mib": {"MiB": 1, "KiB": 1024}, "gmacs": {"G": 1, "M": 1e3, "k": 1e6}}
STEMS = {"size_mib": "size", "gmacs": "gmacs"}


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
    for line in [*layer_table(result), "", *table(result)]:
        log(line)


def layer_table(result: dict) -> list[str]:
    """The output channels of every layer before and after each ratio, in aligned columns."""
    names = [f"ratio {after['ratio']:g}" for after in result["after"]]
    rows = [("layer", "channels", *names)]
    for index, layer in enumerate(result["after"][0]["layers"]):
        rows.append((layer["name"], str(layer["before"]), *(str(a["layers"][index]["after"]) for a in result["after"])))
    return _aligned(rows)


def table(result: dict) -> list[str]:
    """The figures before and after each ratio, in aligned columns."""
    before = result["before"]
    units = {key: unit_of(before[key], UNITS[key]) for key in UNITS}
    rows = [(result["model"], "parameters", f"size ({units['size_mib']})", f"MACs ({units['gmacs']})", "channels")]
    rows.append(("before", f"{before['parameters']:,}", *(_shown(before, key, units) for key in UNITS), ""))
    for after in result["after"]:
        costs = (
            f"{_shown(after, key, units)} ({after[f'{stem}_change_percent']:+.1f} %)" for key, stem in STEMS.items()
        )
        parameters = f"{after['parameters']:,} ({after['parameters_change_percent']:+.1f} %)"
        name = f"ratio {after['ratio']:g}" + (", an estimate" if after["estimate"] else "")
        rows.append((name, parameters, *costs, f"{-after['channels_removed_percent']:+.1f} %"))
    return _aligned(rows)


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for first, *others in rows:
        lines.append("  ".join([first.ljust(widths[0]), *(o.rjust(w) for o, w in zip(others, widths[1:]))]).rstrip())
    return lines


def unit_of(before: float, units: dict[str, float]) -> str:
    """The largest unit of which the number has a tenth or more; else the smallest."""
    return next((name for name, factor in units.items() if before * factor >= 0.1), list(units)[-1])


def _shown(figures: dict, key: str, units: dict[str, str]) -> str:
    return f"{figures[key] * UNITS[key][units[key]]:.2f}"


if __name__ == "__main__":
    command_line.run(main)
