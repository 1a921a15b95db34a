"""One line at the foot of a terminal while Snakemake runs: which of how many jobs, their epochs, and the time left.

Jobs write to log files, so a terminal would not see how far they are. The line is drawn by a thread, only where
Snakemake's messages go to a terminal, and never breaks a run: an error in here ends the line and nothing else.
"""

import atexit
import re
import shutil
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from budama.jobs import time_left
from budama.jobs.time_left import Durations, Kind

EVERY_SECONDS = 1.0
ERASE = "\r\033[K"
EPOCH = re.compile(rb"^epoch (\d+)/(\d+): (loss .* (\d+) s left)?", re.MULTILINE)

_stop = threading.Event()


def show(workflow) -> None:
    """Draw the line until `hide` is called. Snakemake's own messages scroll above it."""
    with suppress(Exception):
        from snakemake.logging import ColorizingTextHandler, logger

        quiet = {level.name for level in workflow.output_settings.quiet or ()}
        handlers = [one for one in logger.handlers if isinstance(one, ColorizingTextHandler)]
        to_terminals = [one for one in handlers if one.can_color_tty()]
        if to_terminals and not quiet & {"ALL", "PROGRESS"}:
            line = _Line(workflow, to_terminals[0])
            threading.Thread(target=line.draw_until_stopped, daemon=True).start()
            atexit.register(hide)


def hide() -> None:
    """Take the line away."""
    _stop.set()
    with suppress(Exception):
        for line in _Line.drawn:
            line.end()


class _Line:
    """The line, and the handler of Snakemake's messages, which takes turns with it."""

    drawn: list["_Line"] = []  # noqa: RUF012 (there is one, or none)

    def __init__(self, workflow, handler) -> None:
        self.workflow, self.handler, self.text = workflow, handler, ""
        self.emit = handler.emit
        self.jobs = Jobs(workflow)
        handler.emit = self._message
        self.drawn.append(self)

    def draw_until_stopped(self) -> None:
        with suppress(Exception):
            while not _stop.wait(EVERY_SECONDS):
                self._draw(self.jobs.text())
        self.end()

    def end(self) -> None:
        with self.handler.lock:
            self.handler.emit = self.emit
            if self.text:
                self._draw("")

    def _message(self, record) -> None:
        """A message of Snakemake, above the line. (Its handler holds its lock here.)"""
        text = self.text
        if text:
            self._draw("")
        self.emit(record)
        self._draw(text)

    def _draw(self, text: str) -> None:
        with self.handler.lock:
            room = shutil.get_terminal_size().columns - 1
            self.text = text
            self.handler.stream.write(ERASE + (text if len(text) <= room else f"{text[: room - 1]}…"))
            self.handler.stream.flush()


class Jobs:
    """What the jobs of a run are doing, and how long they took."""

    def __init__(self, workflow) -> None:
        self.workflow = workflow
        self.seen: dict = {}
        self.took: dict = {}
        self.earlier: dict[Kind, list[float]] | None = None

    def text(self) -> str:
        running = sorted(self.workflow.scheduler.running, key=lambda job: job.jobid)
        if not running:
            return ""
        now = time.time()
        states = [self._state(job, now) for job in running]
        number = self.workflow.scheduler.finished_jobs + len(running)
        parts = [f"job {number} of {len(self.workflow.dag)}", self._left(running, states, now)]
        parts.append(", ".join(name(job) + epoch for job, (epoch, _) in zip(running, states, strict=True)))
        return " · ".join(filter(None, parts))

    def _state(self, job, now: float) -> tuple[str, float | None]:
        """The epoch of a job that trains, and the seconds that it says are left."""
        started, log = self.seen.setdefault(job, now), Path(job.log[0]) if job.log else None
        if not log or not log.exists() or log.stat().st_mtime < started - EVERY_SECONDS:
            return "", None  # not there yet, or an earlier run's
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - 4000))
            lines = list(EPOCH.finditer(file.read()))
        if not lines:
            return "", None
        number, last = int(lines[-1][1]), int(lines[-1][2])
        number = min(number + 1, last) if lines[-1][3] else number  # a finished epoch's line: the next one runs
        said = [float(line[4]) for line in lines if line[4]]
        return f" epoch {number}/{last}", max(0.0, said[-1] - (now - log.stat().st_mtime)) if said else None

    def _left(self, running: list, states: list, now: float) -> str:
        """About how long the run still takes, by its jobs so far or by earlier runs."""
        durations, left = self._durations(), {}
        for job, (_, own) in zip(running, states, strict=True):
            whole = durations.of(_kind(job))
            if own is not None:
                left[job] = own
                durations.now.setdefault(_kind(job), [now - self.seen[job] + own])  # others like it will take as long
            elif whole is not None:
                left[job] = max(0.0, whole - (now - self.seen[job]))
        dag = self.workflow.dag
        coming = [job for job in dag.needrun_jobs() if job.output and job not in running]
        ahead = {job: seconds for job in coming if (seconds := durations.of(_kind(job))) is not None}
        if not any([*left.values(), *ahead.values()]):
            return ""
        cores = self.workflow.global_resources["_cores"].value or len(running)
        on_cluster = not self.workflow.global_resources["_cores"].value
        threads = {job: 1 if on_cluster else job.threads for job in [*left, *ahead]}
        needs = {job: set(dag.dependencies[job]) for job in ahead}
        seconds = time_left.remaining(left, ahead, needs, cores, threads)
        unknown = len(left) < len(running) or len(ahead) < len(coming)
        return f"{'more than' if unknown else 'about'} {duration(seconds)} left" if seconds else ""

    def _durations(self) -> Durations:
        """What is known of earlier runs, and of this one's finished jobs."""
        dag = self.workflow.dag
        if self.earlier is None:
            self.earlier = _by_kind({job: self._took(job) for job in dag.jobs if not dag.finished(job)})
        for job in dag.jobs:
            if dag.finished(job) and job not in self.took:
                self.took[job] = self._took(job)
        return Durations(self.earlier, _by_kind(self.took))

    def _took(self, job) -> float | None:
        """Seconds that a job took when it was last finished, as Snakemake recorded it."""
        record = self.workflow.persistence.metadata(job.output[0]) if job.output else None
        return record.endtime - record.starttime if record and record.endtime and record.starttime else None


def _by_kind(took: dict) -> dict[Kind, list[float]]:
    found: dict[Kind, list[float]] = {}
    for job, seconds in took.items():
        if seconds is not None:
            found.setdefault(_kind(job), []).append(seconds)
    return found


def _kind(job) -> Kind:
    wildcards = dict(job.wildcards.items())
    return job.rule.name, wildcards.get("scenario") or wildcards.get("baseline")


def name(job) -> str:
    """`finetune demo wanda/seed-0`, or `…/rate-0.1`."""
    wildcards = dict(job.wildcards.items())
    owner = wildcards.get("scenario") or wildcards.get("baseline")
    place = wildcards.get("place") or "/seed-".join(_given(wildcards.get("variant"), wildcards.get("seed")))
    return " ".join(_given(job.rule.name, owner, place + wildcards.get("run", "")))


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `2 h 10 min`: no finer than an estimate is."""
    if seconds < 55:
        return f"{max(1, round(seconds / 5)) * 5} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60 // 10 * 10} min"


def _given(*values: str | None) -> Iterable[str]:
    return filter(None, values)
