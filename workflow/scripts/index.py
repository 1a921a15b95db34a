"""Render the page over everything: every results.json and table of published results in; index.html, the leaderboard
as CSV and Parquet out.

python workflow/scripts/index.py --output-dir reports --results-dir results/scenarios --published published.json
"""

from pathlib import Path

from budama import files
from budama.errors import BudamaError
from budama.jobs import command_line
from budama.progress import log
from budama.reporting import board, entries, overview, render
from budama.reporting.language import Language
from budama.reporting.view import Results
from budama.results import leaderboard, published


def main() -> None:
    parser = command_line.parser(__doc__)
    parser.add_argument("--output-dir", metavar="DIR", required=True, type=Path, help="reports lie in folders below it")
    parser.add_argument("--results-dir", metavar="DIR", type=Path, help="folder of every scenario that ever ran here")
    parser.add_argument("--published", metavar="FILE", nargs="*", default=[], help="tables of others (JSON)")
    parser.add_argument("--language", choices=("tr", "en"), default="tr")
    parser.add_argument("--decimal", choices=(".", ","))
    parser.add_argument("results", metavar="RESULTS", nargs="*", type=Path, help="results.json that have to be there")
    args = parser.parse_args()
    language = Language(args.language, args.decimal)
    found = [Results.read(path, language) for path in args.results]
    found += _others(args.results_dir, args.results, language) if args.results_dir else []
    rows = [entry for results in found for entry in entries.of_results(results)]
    rows += [entry for path in args.published for entry in published.read(path)]
    scenarios = overview.entries(found, args.output_dir)
    links = {results.scenario: overview.link(results.scenario, args.output_dir) for results in found}
    page = render.index(scenarios, language, board.board(rows, found, links, language) if rows else None)
    files.write_text(args.output_dir / "index.html", page)
    leaderboard.write(rows, args.output_dir)
    log(f"wrote {args.output_dir / 'index.html'}: {len(found)} scenarios, {len(rows)} rows of the leaderboard")


def _others(folder: Path, known: list[Path], language: Language) -> list[Results]:
    """What lies on the disk beside the `known` files; what cannot be read is named and left out."""
    found = []
    for path in sorted(folder.glob("*/results.json")):
        if path.resolve() not in {one.resolve() for one in known}:
            try:
                found.append(Results.read(path, language))
            except BudamaError as error:
                log(f"left out: {error}")
    return found


if __name__ == "__main__":
    command_line.run(main)
