"""budama: structured channel pruning of vision models, benchmarked."""
