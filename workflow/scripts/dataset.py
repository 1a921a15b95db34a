"""Find or download a baseline's images, check each once, and fix disjoint splits by content.

Writes dataset.json: which image trains, calibrates, selects and tests, and what was left out, with the reason.
"""

from budama import files
from budama.data.manifest import build_manifest
from budama.jobs import command_line
from budama.progress import log


def main() -> None:
    parser = command_line.parser(__doc__)
    command_line.add_settings(parser, "dataset")
    parser.add_argument("--output", required=True, metavar="FILE", help="dataset.json")
    parser.add_argument("--threads", type=int, metavar="N", help="threads that check images (default: all)")
    args = parser.parse_args()
    manifest = build_manifest(command_line.settings(args), command_line.threads(args))
    files.write_json(args.output, manifest)
    counts = ", ".join(f"{count} {name}" for name, count in manifest["counts"].items())
    parts = ", ".join(f"{split} from {folder}/" for split, folder in manifest["parts"].items())
    if parts:
        log(f"{manifest['title']}: {parts}" + "; what is missing is cut from train" * (len(manifest["parts"]) < 3))
    if manifest["skipped"]["count"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in manifest["skipped"]["reasons"].items())
        log(f"{manifest['title']}: skipped: {reasons} (dataset.json names them)")
    log(f"{manifest['title']}: {manifest['classes']} classes, {counts}; {len(manifest['unreadable'])} unreadable")


if __name__ == "__main__":
    command_line.run(main)
