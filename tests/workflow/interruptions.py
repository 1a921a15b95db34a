"""How a run of Snakemake is interrupted, again and again, and goes on each time."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import chain
import psutil
from outcomes import TOPS, check_whole
from safetensors import safe_open

from budama import files
from budama.training import resume

STAGE = re.compile(r"workflow/scripts/(\w+)\.py$")
ENDS_WITHIN = 300
# What a run is asked for where a stage is to be interrupted, and within how many seconds after its start.
SMALL = "results/scenarios/small"
AIMS = {
    "dataset": (["results/baselines/digits/dataset.json"], 0.3),
    "baseline": (["results/baselines/digits/model"], 6),
    "calibrate": (["results/baselines/digits/calibration.safetensors"], 5),
    "prune": ([f"{SMALL}/wanda/pruned", f"{SMALL}/random/seed-0/pruned"], 6),
    "finetune": ([f"{SMALL}/wanda/seed-0/model", f"{SMALL}/random/seed-0/model"], 6),
    "export": ([f"{SMALL}/{at}/export" for at in ("original", "wanda/seed-0", "random/seed-0")], 10),
    "benchmark": ([f"{SMALL}/benchmark.json"], 10),
    "aggregate": ([f"{SMALL}/results.json", "results/scenarios/elsewhere/results.json"], 1),
    "preview": ([f"{SMALL}/preview.json"], 5),
    "report": (["reports/small/ozet_rapor.pdf", "reports/elsewhere/ozet_rapor.pdf"], 1.5),
    "index": (["reports/index.html"], 0.5),
}


def stages(run: psutil.Process) -> list[tuple[str, psutil.Process]]:
    """The stages that run below Snakemake, and their processes."""
    found = []
    for child in run.children(recursive=True):
        try:
            command = child.cmdline()
        except psutil.Error:
            continue
        if len(command) > 1 and (script := STAGE.match(command[1])):
            found.append((script[1], child))
    return found


# --- ways to interrupt: the run is Snakemake and leads its process group, the victim is one stage of it ---


def _stage(sign):
    return lambda run, victim: victim.send_signal(sign)


def _snakemake(sign):
    return lambda run, victim: run.send_signal(sign)


def _everything(sign):
    return lambda run, victim: os.killpg(run.pid, sign)


FULL = "disk full"
KINDS = {
    "stage TERM": _stage(signal.SIGTERM),
    "stage KILL": _stage(signal.SIGKILL),
    "Snakemake INT": _snakemake(signal.SIGINT),
    "Snakemake TERM": _snakemake(signal.SIGTERM),
    "Snakemake KILL": _snakemake(signal.SIGKILL),  # its stages live on
    "all INT": _everything(signal.SIGINT),  # Ctrl-C
    "all TERM": _everything(signal.SIGTERM),  # a machine that is shut down
    "all KILL": _everything(signal.SIGKILL),  # as after a power cut
    FULL: None,
}


class FullDisk:
    """The folder's file system filled up, where it is one of its own; else no file of the victim may grow any more."""

    def __init__(self, folder: Path, victim: psutil.Process, rng: random.Random, own: bool) -> None:
        self.ballast, self.spare = folder / ".ballast" if own else None, rng.choice([0, 4096, 32768])
        if not own:
            victim.rlimit(psutil.RLIMIT_FSIZE, (self.spare, self.spare))

    def fill(self) -> None:
        if self.ballast:
            about = os.statvfs(self.ballast.parent)
            size = about.f_bavail * about.f_frsize - self.spare
            if size > 0:
                # The victim may take the space first: then the disk is full already.
                with contextlib.suppress(OSError), open(self.ballast, "ab") as file:
                    os.posix_fallocate(file.fileno(), file.tell(), size)

    def empty(self) -> None:
        if self.ballast:
            self.ballast.unlink(missing_ok=True)


@dataclass
class Strike:
    stage: str
    kind: str
    struck: list[str]  # the stages that ran at that moment
    went_on: int = 0  # epochs that the next run did not train again

    def __str__(self) -> str:
        return f"{self.kind} in {self.stage}, while {' and '.join(self.struck) or 'nothing'} ran"


@dataclass
class Interrupted:
    """A working folder whose run is struck again and again, and goes on each time by the documented command."""

    folder: Path
    said: Path  # where Snakemake's words go
    rng: random.Random
    strikes: list[Strike] = field(default_factory=list)
    resumed: list[tuple[str, int]] = field(default_factory=list)  # the job, and the epochs that it did not train again

    def strike(self, stage: str, kind: str, moment: str = "any", share: float = 1.0) -> Strike | None:
        """Run up to a stage, and interrupt it: at `any` moment, when it is `writing`, or once it has an `epoch` saved.

        `any` moment lies within that share of the seconds that the stage takes on a slow machine. None where the stage
        was over before.
        """
        saved = self._before()
        targets, within = AIMS[stage]
        with open(self.said, "w") as said:
            command = [str(chain.SNAKEMAKE), "--cores", "2", *targets]
            run = psutil.Popen(command, cwd=self.folder, stdout=said, stderr=said, start_new_session=True)
        victim = None
        while victim is None and run.poll() is None:
            victim = next((process for name, process in stages(run) if name == stage), None)
            time.sleep(0.02)
        if victim:
            with contextlib.suppress(psutil.NoSuchProcess):  # over before
                self._await(moment, share * within, victim)
        strike = Strike(stage, kind, [name for name, _ in stages(run)] if run.poll() is None else [])
        if stage not in strike.struck:
            assert run.wait(ENDS_WITHIN) == 0, self.said.read_text()[-4000:]
            self._after(saved)
            return None
        disk = None
        if kind == FULL:
            own = self.folder.stat().st_dev != self.said.stat().st_dev
            disk = FullDisk(self.folder, victim, self.rng, own)
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):  # over since
            if not disk:
                KINDS[kind](run, victim)
        until = time.monotonic() + ENDS_WITHIN
        while run.poll() is None:
            assert time.monotonic() < until, f"{strike}: Snakemake goes on"
            if disk:
                disk.fill()
            time.sleep(0.01)
        check_whole(self.folder)
        if disk:
            disk.empty()
        self._after(saved)
        self.strikes.append(strike)
        return strike

    def finish(self, *targets: str) -> None:
        """The documented command, to its end."""
        saved = self._before()
        done = chain.run(self.folder, *targets)
        assert done.returncode == 0, done.stderr[-8000:]
        self._after(saved)

    def surely(self, stage: str, kind: str, moment: str = "any") -> Strike:
        """Interrupt a stage; where it was over before, take away what it has made, and try again.

        On a fast machine a file is written between two looks: what is not met `writing` is then struck at any moment,
        earlier and earlier.
        """
        for attempt in range(16):
            if attempt == 3 and moment == "writing":
                moment = "any"
            if attempt:
                self.again(stage)
            if strike := self.strike(stage, kind, moment, 0.8**attempt):
                return strike
        raise AssertionError(f"{stage} is always over before it can be interrupted")

    def again(self, stage: str) -> None:
        """Take away what a stage has made, so that it runs again."""
        for path in (self.folder / target for target in AIMS[stage][0]):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def unlock(self) -> None:
        done = chain.run(self.folder, "--unlock")
        assert done.returncode == 0, done.stderr

    def _before(self) -> dict[Path, int]:
        if any((self.folder / ".snakemake/locks").glob("*")):
            self.unlock()
        shutil.rmtree(self.folder / "logs", ignore_errors=True)  # what is there later is of the coming run
        return epochs(self.folder)

    def _after(self, saved: dict[Path, int]) -> None:
        """Training went on from the epoch that was saved, or from a later one of a stage that outlived Snakemake."""
        for place, epoch in saved.items():
            log = self.folder / "logs" / place.relative_to("results")
            said = next((path.read_text() for path in log.glob("*.log") if path.stem in ("baseline", "finetune")), "")
            first = re.search(r"^epoch (\d+)/", said, re.MULTILINE)
            on = re.search(r"^going on after epoch (\d+)/", said, re.MULTILINE)
            # A stage that outlived Snakemake may have ended meanwhile, and taken its progress away.
            outlived = bool(self.strikes) and self.strikes[-1].kind == "Snakemake KILL"
            if first and not outlived:
                assert on, f"{place}: epoch {epoch} was saved\n{said}"
            if first and on:
                assert int(first[1]) == int(on[1]) + 1
            if on:
                assert int(on[1]) >= epoch
                self.resumed.append((place.as_posix(), int(on[1])))
                self.strikes[-1].went_on += int(on[1])

    def _await(self, moment: str, within: float, victim: psutil.Process) -> None:
        before, until = epochs(self.folder), time.monotonic() + self.rng.uniform(0, within)
        while victim.is_running() and victim.status() != psutil.STATUS_ZOMBIE:
            if moment == "any" and time.monotonic() > until:
                break
            if moment == "writing" and any(any((self.folder / top).rglob(".*.part")) for top in TOPS):
                break
            if moment == "epoch" and epochs(self.folder) != before:
                time.sleep(self.rng.uniform(0, 0.3))
                break
            time.sleep(0 if moment == "writing" else 0.002)


def epochs(folder: Path) -> dict[Path, int]:
    """The last finished epoch of every training that was interrupted, by the folder of its results."""
    found = {}
    for path in (folder / "results").rglob(resume.STATE):
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads(file.metadata()["budama"])
        except FileNotFoundError:
            continue
        found[path.parents[1].relative_to(folder)] = about["epoch"]
    return found


def remember(folder: Path, life: int, run: Interrupted) -> list[tuple[str, str, int]]:
    """Keep what a life's interruptions were, and return those of all lives: stage, kind, and epochs gone on from."""
    found = [(strike.stage, strike.kind, strike.went_on) for strike in run.strikes]
    files.write_json(folder / f"{life}.json", found)
    return [tuple(one) for path in sorted(folder.glob("*.json")) for one in files.read_json(path)]


def table(strikes: list[tuple[str, str, int]]) -> str:
    """Interruptions by stage and kind; for training also the epochs that later runs did not do again."""
    names = list(dict.fromkeys(stage for stage, _, _ in strikes))
    width = max(map(len, names)) + 2
    lines = ["".ljust(width) + "  ".join([*KINDS, "all", "epochs kept"])]
    for name in [*names, "all"]:
        own = [strike for strike in strikes if name in (strike[0], "all")]
        cells = [sum(kind == other for _, other, _ in own) for kind in KINDS]
        cells += [len(own), sum(epochs for _, _, epochs in own)]
        heads = [*KINDS, "all", "epochs kept"]
        lines.append(name.ljust(width) + "  ".join(str(cell).rjust(len(head)) for cell, head in zip(cells, heads)))
    return "\n".join(lines)
