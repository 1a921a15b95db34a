"""What each of several learning rates gave, for a row of results.json."""

from __future__ import annotations

from typing import TYPE_CHECKING

from budama.results.labels import label as label_of
from budama.results.measured import Measured
from budama.results.rows import mean

if TYPE_CHECKING:
    from budama.reporting.row import Rate


def of_variant(measured: Measured, variant: str) -> list[Rate] | None:
    """Accuracy on the selection split with each rate, mean over the seeds, and by which seeds it was chosen.

    None where the scenario has one rate. A rate that diverged with any seed has no accuracy.
    """
    seeds = measured.measured_seeds(variant)
    tried = {seed: measured.trained(label_of(variant, seed)).get("learning_rates") for seed in seeds}
    if not seeds or not all(tried.values()):
        return None
    found: dict[float, dict[int, float | None]] = {}
    for seed, own in tried.items():
        for one in own or []:
            found.setdefault(one["learning_rate"], {})[seed] = one["selection_accuracy_percent"]
    chosen = {seed: measured.trained(label_of(variant, seed))["learning_rate"] for seed in seeds}
    return [
        {
            "learning_rate": rate,
            "selection_accuracy_percent": mean(list(by_seed.values())),
            "diverged_seeds": [seed for seed, accuracy in by_seed.items() if accuracy is None],
            "chosen_by_seeds": [seed for seed in seeds if chosen[seed] == rate],
        }
        for rate, by_seed in sorted(found.items())
    ]
