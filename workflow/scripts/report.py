"""Render a scenario's report: results.json in; ozet_rapor.md, .html, .pdf and figures/ out.

    python workflow/scripts/report.py --scenario config/scenarios/demo.yaml \\
        --results results/scenarios/demo/results.json --output-dir reports/demo

`--compare` takes the results.json of other scenarios, in the order in which the report compares with them.
"""

from pathlib import Path

from budama.errors import BudamaError
from budama.jobs import command_line, leftovers
from budama.progress import log
from budama.reporting import outline, render
from budama.reporting.language import Language
from budama.reporting.view import Results


def main() -> None:
    parser = command_line.parser(__doc__)
    command_line.add_settings(parser, "report")
    parser.add_argument("--results", metavar="FILE", required=True, help="the scenario's results.json")
    parser.add_argument("--compare", metavar="FILE", nargs="*", default=[], help="results.json of other scenarios")
    parser.add_argument("--output-dir", metavar="FOLDER", required=True, help="folder of the report")
    args = parser.parse_args()
    settings = command_line.settings(args).get("report") or {}
    language = Language(settings.get("language", "tr"), settings.get("decimal"))
    results = Results.read(args.results, language)
    others = [Results.read(path, language) for path in args.compare]
    if not results.rows:
        raise BudamaError(f"{args.results}: no variant of {results.scenario} was measured; there is nothing to report")
    results.content["warnings"] += _left_over(results, Path(args.results).parent)
    written = render.write(outline.build(results, others, settings.get("latency_limit_ms")), language, args.output_dir)
    for path in written:
        log(f"wrote {path}")


def _left_over(results: Results, folder: Path) -> list[dict]:
    """The warning of models in the results' folder that are not in the results."""
    rows = [*results.variants, *([results.unpruned] if results.unpruned else [])]
    variants, seeds = [row["variant"] for row in rows], results.content["seeds"]
    return [] if results.recorded else leftovers.warnings(results.scenario, folder, variants, seeds)


if __name__ == "__main__":
    command_line.run(main)
