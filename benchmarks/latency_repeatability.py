"""How far can the latency benchmark be trusted? Repeat it in fresh processes and compare what the runs say.

    python benchmarks/latency_repeatability.py --model demo --runs 5
    python benchmarks/latency_repeatability.py --model resnet50 --runs 5 --loaded 3 --output repeat.json

Each run builds a model, prunes it layer-wise by two methods, and times baseline, both pruned models and the baseline's
copy as the `benchmark` stage does. `--loaded N`: in run N another process keeps one core busy. What is looked for:
A/A (the copy against the baseline) within 1 ± 0.01 in every run; the pruned model's ratio equal between runs; the two
pruned models, equal in structure, equal in latency.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow/scripts"
MODELS = {
    "demo": ({"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 14, "width": 16}}, (1, 8, 8), 10, 0.3),
    "resnet50": ({"source": "torchvision", "name": "resnet50", "arguments": {}}, (3, 224, 224), 1000, 0.1),
}
PRUNING = {"scope": "layerwise", "steps": 1, "match": "channels", "round_to": None, "ignore": [], "max_ratio": 0.95}
BUSY = "import os, sys; hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, {0})\nwhile True: pass"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="demo")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--loaded", type=int, nargs="*", default=[], metavar="N", help="runs (from 1) beside a busy core"
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, help="JSON of all runs")
    parser.add_argument("--one", action="store_true", help="a single run, as JSON on standard output")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one_run(args)))
        return
    print(
        "| run | beside | A/A | pruned / baseline | equal structures | ms | rounds | threads | undisturbed | s |\n"
        + "|---" * 10
        + "|"
    )
    runs = [in_fresh_process(args, number) for number in range(1, args.runs + 1)]
    controls = [run["aa"]["ratio"] for run in runs]
    ratios = [run["ratio"] for run in runs]
    print(
        f"\nA/A from {min(controls):.4f} to {max(controls):.4f}; pruned / baseline from {min(ratios):.4f} to "
        f"{max(ratios):.4f}, a spread of {100 * (max(ratios) / min(ratios) - 1):.2f} %"
    )
    if args.output:
        args.output.write_text(json.dumps({"model": args.model, "batch": args.batch, "runs": runs}, indent=1) + "\n")


def in_fresh_process(args, number: int) -> dict:
    """A run in a process of its own, and its line of the table."""
    loaded = number in args.loaded
    command = [sys.executable, __file__, "--one", "--model", args.model]
    for option in ("rounds", "batch", "threads", "device"):
        if getattr(args, option) is not None:
            command += [f"--{option}", str(getattr(args, option))]
    other = subprocess.Popen([sys.executable, "-c", BUSY]) if loaded else None
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    finally:
        if other:
            other.kill()
            other.wait()
    run = json.loads(done.stdout) | {"loaded": loaded}
    low, high = run["interval"]
    print(
        f"| {number} | {'a busy core' if loaded else ''} | {run['aa']['ratio']:.4f} | {run['ratio']:.4f} "
        f"[{low:.4f}, {high:.4f}] | {run['equal']:.4f} | {run['baseline_ms']:.3f} | {run['rounds']} "
        f"| {run['threads']} | {run['undisturbed_percent']:.0f} % | {run['seconds']:.0f} |",
        flush=True,
    )
    return run


def one_run(args) -> dict:
    sys.path.insert(0, str(SCRIPTS))
    import numpy as np
    import torch

    from budama.measuring import latency
    from budama.networks import models
    from budama.pruning import pruner

    if args.threads:
        torch.set_num_threads(args.threads)
    description, shape, classes, ratio = MODELS[args.model]
    baseline = models.build({"weights": None, **description}, classes, shape, weights=False)
    named = {latency.BASELINE: baseline}
    for method in ("magnitude", "random"):
        named[method] = pruner.prune(baseline, shape, classes, method, {**PRUNING, "ratio": ratio, "seed": 0}).model
    images = torch.randn(args.batch, *shape, generator=torch.Generator().manual_seed(0)).to(args.device)
    start = time.monotonic()
    run = latency.compare(named, images, rounds=args.rounds)
    ours, theirs = (np.array(run.timings[name].round_ms, dtype=float) for name in ("magnitude", "random"))
    both = np.isfinite(ours) & np.isfinite(theirs)
    return {
        "aa": {"ratio": run.aa.ratio, "interval": run.aa.interval, "within": run.aa.within},
        "ratio": run.timings["magnitude"].ratio,
        "interval": run.timings["magnitude"].ratio_interval,
        "equal": latency.median_ratio(ours[both], theirs[both])[0] if both.any() else float("nan"),
        "baseline_ms": run.timings[latency.BASELINE].median_ms,
        "undisturbed_percent": run.timings[latency.BASELINE].undisturbed_percent,
        "rounds": run.rounds,
        "steady": run.steady,
        "threads": run.threads,
        "seconds": time.monotonic() - start,
    }


if __name__ == "__main__":
    main()
