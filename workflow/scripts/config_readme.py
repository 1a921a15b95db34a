"""Write config/README.md from the schemas: every key, its unit, its default, and what is allowed."""

from collections.abc import Iterator
from pathlib import Path

from budama import cli, files, schema

README = Path(__file__).parents[2] / "config" / "README.md"

INTRO = """\
# Configuration

This page is generated from `workflow/schemas/` by `python workflow/scripts/config_readme.py`; edit the schemas, not it.

budama measures how much smaller and faster a vision model gets when whole channels are removed, by which method, and at
what cost in accuracy. Three kinds of files say what it does:

| file | says |
|---|---|
| `config/config.yaml` | which scenarios to run |
| `config/scenarios/NAME.yaml` | a **scenario**: what is pruned, how, and how it is judged |
| `config/baselines/NAME.yaml` | a **baseline**: a model, its data, and how the baseline is made; scenarios share it |

To run your own: copy a baseline and a scenario file, name your model, your images and your methods, put the scenario's
name into `config/config.yaml` (or on the command line), and start Snakemake. The report is
`reports/SCENARIO/ozet_rapor.html`.

```bash
snakemake --cores 8 --use-conda                                # the scenarios in config/config.yaml
snakemake --cores 8 --use-conda --config scenarios='[demo, TS3]'
```

A scenario needs few keys; the others have defaults:

```yaml
scenario: my_scenario
baseline: digits_resnet              # config/baselines/digits_resnet.yaml
pruning: {methods: [wanda, magnitude, random], ratio: 0.3}
finetune: {epochs: 5}
seeds: [0, 1, 2]
```

All files are checked before anything runs. A mistake is told in one line, and all mistakes of a file at once:
`config/scenarios/ts3.yaml: pruning.ratio is 1.4; it must be between 0 and 0.95`. Files are read by the rules of YAML
1.2: `1e-3` is a number, `yes` is a word; anchors and tags are not read. How many cores, how much memory and which GPU a
job gets stands in `profiles/`, not here.
"""

PAGES = [
    ("config", "config/config.yaml"),
    ("scenario", "Scenario: config/scenarios/NAME.yaml"),
    ("training", "Training: a scenario's finetune, a baseline's train"),
    ("baseline", "Baseline: config/baselines/NAME.yaml"),
    ("recorded", "Recorded results: the JSON file that a scenario names under recorded"),
]


def render() -> str:
    """The page as Markdown."""
    return INTRO + "".join(f"\n## {title}\n{''.join(_sections(schema.load(name), ''))}" for name, title in PAGES)


def _sections(part: dict, name: str) -> Iterator[str]:
    """A table of the keys in `part`, then one for each of its sections."""
    heading = f"\n### {name}\n" if name else ""
    needed = dict.fromkeys(part.get("then", {}).get("required", []), "**needed** without `recorded`")
    needed.update(dict.fromkeys(part.get("required", []), "**needed**"))
    rows = [_row(key, inner, needed.get(key, "")) for key, inner in part["properties"].items()]
    head = "| key | unit | default | allowed | meaning |\n|---|---|---|---|---|\n"
    yield f"{heading}\n{part['description']}\n\n{head}{''.join(rows)}"
    for key, inner in part["properties"].items():
        row = inner.get("additionalProperties")
        if "properties" in inner and inner.get("title") != "Training":
            yield from _sections(inner, f"{name}.{key}".lstrip("."))
        elif isinstance(row, dict):
            yield from _sections({**row, "description": inner["description"]}, f"{key}.METHOD")


def _row(key: str, part: dict, needed: str) -> str:
    default = needed
    if "properties" in part:
        target = "Training" if part.get("title") == "Training" else "its section"
        allowed = f"a section: see {target}"
    else:
        allowed = schema.describe(part)
        default = needed or f"`{schema.show(part['default'])}`"
    cells = [f"`{key}`", part.get("unit", ""), default, allowed, part.get("description", "")]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def main() -> None:
    cli.parser(__doc__).parse_args()
    files.write_text(README, render())


if __name__ == "__main__":
    cli.run(main)
