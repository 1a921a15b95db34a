"""Render a preview as a page: preview.json in, onizleme.html out. Seconds, no data.

    python workflow/scripts/preview_page.py --scenario config/scenarios/demo.yaml \\
        --preview results/scenarios/demo/preview.json --output reports/demo/onizleme.html
"""

from budama import files
from budama.jobs import command_line
from budama.progress import log
from budama.reporting import preview, render
from budama.reporting.language import Language


def main() -> None:
    parser = command_line.parser(__doc__)
    command_line.add_settings(parser, "preview_page")
    parser.add_argument("--preview", required=True, metavar="FILE", help="preview.json")
    parser.add_argument("--output", required=True, metavar="FILE", help="the page")
    args = parser.parse_args()
    settings = command_line.settings(args)
    language = Language(settings["report"]["language"], settings["report"]["decimal"])
    page = preview.document(files.read_json(args.preview), settings["title"], language)
    files.write_text(args.output, render.html(page, language))
    log(f"wrote {args.output}")


if __name__ == "__main__":
    command_line.run(main)
