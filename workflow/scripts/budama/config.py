"""Scenario and baseline files: being written."""

BASELINE_STAGES = ("dataset", "baseline", "calibrate")
VARIANT_STAGES = ("prune", "finetune")
