"""Several learning rates in the real Snakemake: a job each, one that chooses, and nothing stale without need."""

import chain
from edits import put

from budama import files

CHOSEN = "results/scenarios/small/wanda/seed-0"


def test_every_rate_is_trained_the_best_is_kept_and_another_rate_reruns_no_other(work):
    """A rate of 100 diverges, which is told of the rate, and ends no run."""
    rates = put("scenarios/small.yaml", "finetune.learning_rate", [100, 0.01])
    for key, value in (("batch_size", 16), ("weight_decay", 1)):  # each step makes the weights a hundred times larger
        put("scenarios/small.yaml", f"finetune.{key}", value)(work)
    rates(work)
    done = chain.run(work, f"{CHOSEN}/metrics.json")
    assert done.returncode == 0, done.stderr[-4000:]
    metrics = files.read_json(work / CHOSEN / "metrics.json")
    tried = {one["learning_rate"]: one["selection_accuracy_percent"] for one in metrics["learning_rates"]}
    assert tried[100.0] is None
    assert metrics["learning_rate"] == 0.01
    assert metrics["selection_accuracy_percent"] == tried[0.01]
    own = files.read_json(work / CHOSEN / "rate-0.01/metrics.json")
    assert {key: metrics[key] for key in own} == own
    for file in ("model/model.safetensors", "history.csv"):
        assert files.sha256(work / CHOSEN / file) == files.sha256(work / CHOSEN / "rate-0.01" / file)
    assert chain.plan(work, f"{CHOSEN}/metrics.json") == set()
    put("scenarios/small.yaml", "finetune.learning_rate", [0.01, 0.02, 100])(work)
    assert chain.plan(work, f"{CHOSEN}/metrics.json") == {"finetune wanda/seed-0/rate-0.02", "finetune wanda/seed-0"}
