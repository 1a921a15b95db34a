"""What every stage's command line has in common.

A stage takes its settings either way: ``--spec JSON`` (from Snakemake: ``params.spec``) or, by hand, ``--scenario FILE
[--variant V] [--seed N]`` / ``--baseline FILE``. `settings` returns the same plain dict in both cases.
"""

import argparse
import atexit
import errno
import faulthandler
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from budama import files, machine
from budama.errors import BudamaError
from budama.jobs import allocator
from budama.settings import stages

INTERRUPTED, TERMINATED = 130, 143


def parser(doc: str) -> argparse.ArgumentParser:
    """An argument parser whose description is the stage script's docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_settings(parser: argparse.ArgumentParser, stage: str) -> None:
    """Add the arguments that `settings` reads: ``--spec``, or the files and names that `stage` is configured by."""
    group = parser.add_argument_group("settings", "either --spec, or a file (with its variant and seed)")
    group.add_argument("--spec", metavar="JSON", help="the settings as JSON (Snakemake passes params.spec)")
    group.add_argument("--scenario", metavar="FILE", help="scenario file, config/scenarios/NAME.yaml")
    if stage in stages.BASELINE_STAGES:
        group.add_argument("--baseline", metavar="FILE", help="baseline file, config/baselines/NAME.yaml")
    if stage in stages.VARIANT_STAGES:
        group.add_argument("--variant", metavar="NAME", help="variant: a method, or method-ratio in a grid")
        group.add_argument("--seed", metavar="N", type=int, help="seed (default: the scenario's first)")
        group.add_argument("--turn", metavar="T", type=int, help="turn of pruning.cycles, from 1 (default: the last)")
    if stage == "finetune":
        group.add_argument("--rate", metavar="R", type=float, help="learning rate, one of finetune.learning_rate")
    parser.set_defaults(stage=stage)


def settings(args: argparse.Namespace) -> dict:
    """The stage's settings (see `stages.stage_settings`) from the parsed arguments. Raises BudamaError."""
    given = [name for name in ("spec", "scenario", "baseline") if getattr(args, name, None) is not None]
    if len(given) != 1:
        known = "--spec, --scenario or --baseline" if hasattr(args, "baseline") else "--spec or --scenario"
        raise BudamaError(f"{args.stage}: give one of {known}" + (f", not {len(given)} of them" if given else ""))
    if args.spec is not None:
        return _from_spec(args.spec)
    return stages.stage_settings(
        args.stage,
        scenario=stages.load_scenario(args.scenario) if args.scenario else None,
        baseline=stages.load_baseline(args.baseline) if getattr(args, "baseline", None) else None,
        variant=getattr(args, "variant", None),
        seed=getattr(args, "seed", None),
        rate=getattr(args, "rate", None),
        turn=getattr(args, "turn", None),
    )


def add_compute(parser: argparse.ArgumentParser) -> None:
    """Add ``--threads`` and ``--device``, which every stage that uses torch takes."""
    group = parser.add_argument_group("compute")
    group.add_argument("--threads", metavar="N", type=int, help="CPU threads (default: all)")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name what a training writes, and where an interrupted one left its progress."""
    parser.add_argument("--output", required=True, metavar="DIR", help="the checkpoint")
    parser.add_argument("--metrics", required=True, metavar="FILE", help="metrics.json")
    parser.add_argument("--history", required=True, metavar="FILE", help="history.csv, a row an epoch")
    parser.add_argument("--progress", metavar="DIR", help="progress of an interrupted run (default: beside --output)")


def progress_folder(args: argparse.Namespace) -> Path:
    """Where a training keeps its progress until its outputs are in place."""
    return Path(args.progress) if args.progress else Path(args.output).with_name("progress")


def threads(args: argparse.Namespace) -> int:
    """The number of CPU threads to use: ``--threads``, or every CPU that this process may run on."""
    if args.threads is None:
        return len(machine.cores())
    if args.threads < 1:
        raise BudamaError(f"--threads is {args.threads}; it must be 1 or more")
    return args.threads


def device(args: argparse.Namespace):
    """Set torch's CPU threads and return the torch.device that ``--device`` names, or raise BudamaError."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,4})?", args.device):
        raise BudamaError(f"--device is {args.device}; it must be auto, cpu, cuda or cuda:N")
    import torch

    allocator.prepare()
    torch.set_num_threads(threads(args))
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count:  # else convolutions called float32 would be TensorFloat-32's, with 10 bits of fraction instead of 23
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if args.device == "auto":
        return torch.device("cuda" if count else "cpu")
    kind, _, number = args.device.partition(":")
    if kind == "cuda" and int(number or 0) >= count:
        raise BudamaError(
            f"--device is {args.device}, but this machine has {count or 'no'} usable GPU; use --device cpu"
        )
    return torch.device(args.device)


def run(main: Callable[[], object]) -> None:
    """Call `main` and exit: 0, or 1 with ``error: …`` lines on stderr where the user or the machine is at fault.

    Where a library crashes, stderr says by which signal, and which line of Python was running.
    """
    faulthandler.enable(2)  # where it writes is of the process, whatever sys.stderr is
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that half-written files are removed
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # bars of other people's downloads are for terminals, not for logs
    try:
        main()
        _end()
    except BudamaError as error:
        _fail(*error.lines)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except MemoryError:
        _fail("not enough memory")
    except OSError as error:
        if files.disk_is_full(error):
            _fail(f"{error.filename or 'disk'}: no space left on it")
        if error.filename and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            _fail(f"{error.filename}: {error.strerror}")
        raise


def _end() -> None:
    """End the process, whose work is done and on the disk, at once: taking torch apart takes Python 0.3 s a job."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _fail(*lines: str) -> None:
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
    sys.exit(1)


def _from_spec(text: str) -> dict:
    """The settings in a spec: `provenance.spec` puts them under "settings", beside what decides freshness alone."""
    try:
        spec = json.loads(text)
    except json.JSONDecodeError as error:
        raise BudamaError(f"--spec is not JSON ({error.msg}, column {error.colno})") from None
    if not isinstance(spec, dict):
        raise BudamaError("--spec must be a JSON object")
    return spec.get("settings", spec)
