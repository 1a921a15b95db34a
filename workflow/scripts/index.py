"""Render the page over all scenarios: their results.json in; index.html, sorted and filterable, out.

python workflow/scripts/index.py --output reports/index.html results/scenarios/*/results.json
"""

from pathlib import Path

from budama import files
from budama.jobs import command_line
from budama.progress import log
from budama.reporting import overview, render
from budama.reporting.language import Language
from budama.reporting.view import Results


def main() -> None:
    parser = command_line.parser(__doc__)
    parser.add_argument("--output", metavar="FILE", required=True, help="the page; reports lie in folders beside it")
    parser.add_argument("--language", choices=("tr", "en"), default="tr")
    parser.add_argument("--decimal", choices=(".", ","), default=".")
    parser.add_argument("results", metavar="RESULTS", nargs="*", help="results.json of each scenario")
    args = parser.parse_args()
    language = Language(args.language, args.decimal)
    found = [Results.read(path, language) for path in args.results]
    page = render.index(overview.entries(found, Path(args.output).parent), language)
    files.write_text(args.output, page)
    log(f"wrote {args.output}")


if __name__ == "__main__":
    command_line.run(main)
