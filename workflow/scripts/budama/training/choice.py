"""Of fine-tuning runs that differ in their learning rate, the one to keep.

How well a pruned model recovers depends on the rate it is trained with, and each method may need another (Renda et al.
2020, section 3; Le and Hua 2021): with one rate for all, a comparison is also one of which method the rate suits. The
choice is by the selection split, so that the test split stays unseen.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from budama import files
from budama.errors import BudamaError
from budama.progress import log

if TYPE_CHECKING:
    from budama.results.contracts import Tried

TOLD = ("selection_accuracy_percent", "selection_loss", "train_seconds")


def named(arguments: Sequence[str], rates: Sequence[float]) -> dict[float, Path]:
    """{0.1: folder, …} of RATE=DIR arguments, which must name each of `rates` once; BudamaError where they do not."""
    found: dict[float, Path] = {}
    for argument in arguments:
        rate, equals, folder = argument.partition("=")
        try:
            value = float(rate)
        except ValueError:
            value = math.nan
        if not (equals and folder and value in rates and value not in found):
            raise BudamaError(f"--tried has {argument}; it must be RATE=DIR, once for each of {_listed(rates)}")
        found[value] = Path(folder)
    if missing := [rate for rate in rates if rate not in found]:
        raise BudamaError(
            f"--tried has no {missing[0]}; it must name a folder for each of {_listed(rates)}, or --rate one to train"
        )
    return {float(rate): found[rate] for rate in sorted(rates)}


def best(outcomes: Mapping[float, Mapping[str, Any]]) -> float:
    """The rate whose run has the highest accuracy on the selection split, among equals that of the lowest loss, among
    those the smallest. `outcomes`: the metrics.json of each that did not diverge."""

    def rank(rate: float) -> tuple[float, float, float]:
        loss = outcomes[rate]["selection_loss"]
        return outcomes[rate]["selection_accuracy_percent"], -math.inf if loss is None else -loss, -rate

    return max(outcomes, key=rank)


def keep_best(runs: Mapping[float, Path], output: str | Path, metrics: str | Path, history: str | Path) -> None:
    """Copy checkpoint, metrics.json and history.csv of the best of `runs`, folders by rate; metrics.json gets all.

    Raises BudamaError where every run diverged.
    """
    outcomes = {rate: files.read_json(folder / "metrics.json") for rate, folder in runs.items()}
    trained = {rate: outcome for rate, outcome in outcomes.items() if outcome["status"] == "ok"}
    unavailable = [rate for rate, outcome in outcomes.items() if outcome["status"] == "unavailable"]
    if not trained and not unavailable:
        reasons = {rate: outcome["reason"] for rate, outcome in outcomes.items()}
        raise BudamaError(f"training diverged with every finetune.learning_rate: {reasons[min(reasons)]}")
    chosen = best(trained) if trained else unavailable[0]
    content = dict(outcomes[chosen])
    if trained:
        tried = [_tried(rate, outcome) for rate, outcome in outcomes.items()]
        content |= {"learning_rate": chosen, "learning_rates": tried}
        log(f"of the learning rates {_listed(list(runs))}, {chosen:g} is the best on the selection split")
    with files.folder(output) as unfinished:
        for file in sorted((runs[chosen] / "model").iterdir()):
            shutil.copyfile(file, unfinished / file.name)
    files.write_text(history, files.read_text(runs[chosen] / "history.csv"))
    files.write_json(metrics, content)


def _tried(rate: float, outcome: Mapping[str, Any]) -> Tried:
    return {"learning_rate": rate, **{key: outcome.get(key) for key in TOLD}}  # type: ignore[typeddict-item]


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)
