"""Put together what a scenario measured: one row a variant, with intervals and tests of what can be told apart.

Reads the JSON and CSV files of the other stages, or, where a scenario's results were recorded elsewhere, the settings
alone; writes results.csv, results.parquet and results.json. Needs no torch.
"""

from budama.errors import BudamaError
from budama.jobs import command_line
from budama.results import labels, rows

MEASURED = ("dataset", "baseline_metrics", "baseline_history", "benchmark", "pruning", "finetuned")


def main() -> None:
    parser = command_line.parser(__doc__)
    command_line.add_settings(parser, "aggregate")
    parser.add_argument("--dataset", metavar="FILE", help="dataset.json")
    parser.add_argument("--baseline-metrics", metavar="FILE", help="metrics.json of the baseline")
    parser.add_argument("--baseline-history", metavar="FILE", help="history.csv of the baseline")
    parser.add_argument("--calibration", metavar="FILE", help="calibration.json")
    parser.add_argument("--benchmark", metavar="FILE", help="benchmark.json")
    parser.add_argument("--pruning", nargs="+", metavar="VARIANT/seed-N=FILE", help="pruning.json of each seed")
    parser.add_argument("--finetuned", nargs="+", metavar="VARIANT/seed-N=DIR", help="folders of metrics and history")
    parser.add_argument(
        "--exported", nargs="*", default=[], metavar="LABEL=DIR", help="exports of VARIANT/seed-N, and of baseline"
    )
    parser.add_argument("--output-dir", required=True, metavar="DIR", help="where the three files go")
    args = parser.parse_args()
    settings = command_line.settings(args)
    rows.write(recorded(settings) if settings["recorded"] else measured(settings, args), args.output_dir)


def recorded(settings: dict) -> dict:
    from budama.results.recorded import aggregate

    return aggregate(settings)


def measured(settings: dict, args) -> dict:
    from budama.results import aggregation
    from budama.results.measured import read

    missing = [f"--{name.replace('_', '-')}" for name in MEASURED if not getattr(args, name)]
    if missing:
        raise BudamaError(f"aggregate needs {', '.join(missing)}; only a scenario with recorded results needs none")
    parts = read(
        settings,
        dataset=args.dataset,
        benchmark=args.benchmark,
        baseline_metrics=args.baseline_metrics,
        baseline_history=args.baseline_history,
        calibration=args.calibration,
        pruning=labels.paths(args.pruning, "--pruning"),
        finetuned=labels.paths(args.finetuned, "--finetuned"),
        exported=labels.paths(args.exported, "--exported", "baseline"),
    )
    return aggregation.aggregate(parts)


if __name__ == "__main__":
    command_line.run(main)
