"""Does `match: latency` give the time that was asked for? Prune by it, then time the result anew in fresh processes.

    python benchmarks/latency_target.py --models demo resnet18 --threads 1 2 --targets 0.2 0.4 --runs 5
    python benchmarks/latency_target.py --models demo --threads 1 --targets 0.2 --runs 1 --rounds 15     # small

A run is a whole one: layers are timed and the model is pruned in a process of their own; the pruned model is then timed
in another, beside the unpruned one and a copy of that. A line a run: the share of time that was asked for, predicted
from layers' times, achieved when pruning, and measured afterwards with its interval; the control (A/A); how many copies
were timed; seconds. A target that the machine cannot tell or reach is a line with the reason.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow/scripts"
MODELS = {
    "demo": ({"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 14, "width": 16}}, (1, 8, 8)),
    "resnet18": ({"source": "torchvision", "name": "resnet18", "arguments": {}}, (3, 64, 64)),
}
CLASSES, POINTS = 10, 0.03  # a target counts as met within so much
HEAD = (
    "| model | threads | asked | run | predicted | achieved | measured anew | A/A | copies | s |\n" + "|---" * 10 + "|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--targets", nargs="+", type=float, default=[0.2, 0.4])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--scope", default="layerwise", choices=("layerwise", "global", "isomorphic"))
    parser.add_argument("--one", nargs=2, metavar=("STEP", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps({"prune": prune, "check": check}[args.one[0]](args, Path(args.one[1]))))
        return
    print(HEAD, flush=True)
    found: list[bool | None] = []
    for name in args.models:
        for threads in args.threads:
            for target in args.targets:
                for run in range(1, args.runs + 1):
                    line, near = one_run(args, name, threads, target, run)
                    print(line, flush=True)
                    found.append(near)
    refused = found.count(None)
    told = f"within {100 * POINTS:g} points when measured anew; {refused} refused as out of reach or within the noise"
    print(f"\n{found.count(True)} of {len(found) - refused} runs {told}")


def one_run(args, name: str, threads: int, target: float, run: int) -> tuple[str, bool | None]:
    """A line of the table, and whether the target was met; None where it was refused."""
    start = time.monotonic()
    head = f"| {name} | {threads} | {100 * target:.0f} % | {run} |"
    with tempfile.TemporaryDirectory() as folder:
        found = [in_fresh_process(args, step, folder, name, threads, target) for step in ("prune", "check")]
    refused = next((one["refused"] for one in found if "refused" in one), None)
    if refused:
        return f"{head} {refused} | | | | | {time.monotonic() - start:.0f} |", None
    told, anew = found
    low, high = anew["interval"]
    cells = [
        f"{told['predicted_percent']:.1f} %", f"{told['achieved_percent']:.1f} ± {told['noise_points']:.1f} %",
        f"{100 * anew['gone']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]", f"{anew['aa']:.3f}", str(told["timed"]),
    ]  # fmt: skip
    near = abs(anew["gone"] - target) <= POINTS
    return f"{head} {' | '.join(cells)} | {time.monotonic() - start:.0f} |", near


def in_fresh_process(args, step: str, folder: str, name: str, threads: int, target: float) -> dict:
    """What a step prints."""
    command = [sys.executable, __file__, "--one", step, folder, "--models", name, "--threads", str(threads)]
    command += ["--targets", str(target), "--rounds", str(args.rounds), "--scope", args.scope]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def prune(args, folder: Path) -> dict:
    """Time the layers and prune; the model is left in the folder."""
    _, model, shape = prepared(args)
    from budama.errors import BudamaError
    from budama.networks import checkpoint
    from budama.pruning import layer_times, pruner

    timing = {"batch_size": 1, "precision": "float32", "channels_last": True, "rounds": args.rounds}
    try:
        measured = layer_times.of_model(model, shape, CLASSES, {}, timing)
        asked = {"ratio": args.targets[0], "match": "latency", "scope": args.scope, "layer_times": measured}
        pruned = pruner.prune(model, shape, CLASSES, "magnitude", asked)
    except BudamaError as error:
        return {"refused": str(error)}
    recipe = {"model": {"weights": None, **MODELS[args.models[0]][0]}, "classes": CLASSES, "input_shape": list(shape)}
    checkpoint.save(folder / "pruned", pruned.model, recipe=recipe, kept=pruned.kept)
    return dict(pruned.time)


def check(args, folder: Path) -> dict:
    """Time the pruned model against the unpruned one."""
    if not (folder / "pruned").exists():
        return {}
    torch, model, shape = prepared(args)
    from budama.measuring import latency
    from budama.networks import checkpoint

    pruned = checkpoint.load(folder / "pruned")
    images = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
    run = latency.compare({latency.BASELINE: model, "pruned": pruned}, images, rounds=2 * args.rounds, seed=99)
    low, high = run.timings["pruned"].ratio_interval
    return {"gone": 1 - run.timings["pruned"].ratio, "interval": [1 - high, 1 - low], "aa": run.aa.ratio}


def prepared(args):
    """torch with its threads, the model and its input."""
    sys.path.insert(0, str(SCRIPTS))
    import torch

    from budama.networks import models

    torch.set_num_threads(args.threads[0])
    description, shape = MODELS[args.models[0]]
    return torch, models.build({"weights": None, **description}, CLASSES, shape, weights=False, seed=0).eval(), shape


if __name__ == "__main__":
    main()
