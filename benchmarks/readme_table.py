"""README's table of what scenarios gave, out of their results.json: a row a variant, from pruning to the test images.

    python benchmarks/readme_table.py results/scenarios/cifar10/results.json [MORE ...]

Accuracies in %; the first ones are of the selection split, the last of the test images, with its 95 % interval.
Scenarios of one baseline share the original's row.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

from budama.methods import find
from budama.reporting import contract

STAGES = {
    "as_pruned_percent": "as pruned (%)",
    "reestimated_percent": "BatchNorm re-estimated (%)",
    "compensated_percent": "compensated (%)",
    "finetuned_percent": "fine-tuned (%)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="results.json of scenarios")
    args = parser.parse_args()
    contents = [json.loads(path.read_text("utf-8")) for path in args.results]
    for content in contents:
        contract.complete(content)
    print("\n".join(table(contents)))


def table(contents: list[dict]) -> list[str]:
    """Markdown lines; the stages that any of the scenarios has are the columns."""
    every = [row for content in contents for row in (*content["variants"], content["unpruned"]) if row and row["fate"]]
    stages = [stage for stage in STAGES if any(row["fate"][stage] is not None for row in every)]
    matched = contents[0]["pruning"]["match"]
    head = [matched, "method", *(STAGES[stage] for stage in stages), "**test (%)**", "change (points)"]
    lines = [f"| {' | '.join([*head, 'size (MiB)', 'MACs (M)'])} |", f"|---|---|{'---:|' * (len(stages) + 4)}"]
    lines.append(_original(contents[0], stages))
    for content in contents:
        if content["unpruned"]:
            lines.append(_row("", content["unpruned"], stages))
        for row in sorted(content["variants"], key=lambda row: row["ratio"]):
            if row["status"] == "ok":
                lines.append(_row(f"−{100 * row['ratio']:g} %", row, stages))
    return lines


def _original(content: dict, stages: list[str]) -> str:
    baseline, fate = content["baseline"], next(row["fate"] for row in content["variants"] if row["fate"])
    before = ["" for _ in stages[:-1]] + [_number(fate["baseline_percent"])]
    return _line("", "original", before, baseline, "")


def _row(ratio: str, row: dict, stages: list[str]) -> str:
    name = f"{row['method']} (control)" if find(row["method"]).control else row["method"]
    accuracies = [_number(row["fate"][stage]) for stage in stages]
    return _line(ratio, name, accuracies, row, _number(row["accuracy_change_points"], "+.2f"))


def _line(ratio: str, name: str, accuracies: list[str], row: dict, change: str) -> str:
    interval = row["accuracy_interval"]
    between = f" [{_number(interval[0])}, {_number(interval[1])}]" if interval else ""
    test = f"**{_number(row['accuracy_percent'])}**{between}"
    parts = [ratio, name, *accuracies, test, change, _number(row["size_mib"]), _number(1000 * row["gmacs"])]
    return f"| {' | '.join(parts)} |"


def _number(value: float | None, form: str = ".2f") -> str:
    return "" if value is None else f"{value:{form}}".replace("-", "−")


if __name__ == "__main__":
    main()
