"""Latency of several models against a baseline, measured so that the machine's moods cannot decide the answer.

All models are timed in one process, in rounds; each round visits every model once, in shuffled order, so that drift
in clocks and temperature hits all alike. What counts is a model's time divided by the baseline's time of the same
round; the ratio reported is the median over rounds with a bootstrap interval. A copy of the baseline takes part like
any other model: its ratio (the A/A control) is 1 in truth, so what it shows is the error of the whole procedure.

A call during which a thread of this process had to queue for a core measured some other process. Such calls are set
aside wherever enough undisturbed ones remain, and the share of undisturbed calls is reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from budama.measuring import preparing
from budama.measuring.precision import arithmetic, dtype
from budama.measuring.stopwatch import Clock, clock_for, free_threads, quiet
from budama.networks import layout
from budama.networks.hooks import check_no_hooks

BASELINE = "baseline"
CONTROL = "copy of the baseline"
SAMPLE_MS = 10.0  # a sample lasts at least this long: one call of a small model is shorter than one interrupt
SLOW_CALL_MS = 300.0  # such calls are timed singly: their length hides what the model before them left in the caches
STEADY = 0.02  # warm-up ends when the medians of two successive windows of rounds differ by less
PRECISE = (
    0.005  # rounds are added until every interval reaches at most this far, relative to its ratio, or a limit ends it
)
MOST_ROUNDS = 4  # times the rounds asked for
LEAST_ROUNDS = 7
LIMIT_SECONDS = 120.0
DISTURBED = 0.02  # share of a call spent waiting for a core
CLOSE_TO_ONE = 0.01


Ratio = tuple[float, tuple[float, float]]  # and its interval


@dataclass(frozen=True)
class Timing:
    """One model at one setting; where it could not run, nothing but `error`.

    `ratio` is its time over the baseline's: below 1 it is faster. `round_ms` [rounds] are the medians of each round's
    undisturbed calls, so that `median_ratio` can compare any two models of the run.
    """

    median_ms: float | None = None
    p95_ms: float | None = None
    ratio: float | None = None
    ratio_interval: tuple[float, float] | None = None
    images_per_second: float | None = None
    undisturbed_percent: float | None = None
    round_ms: tuple[float | None, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Control:
    """The baseline's copy timed against the baseline. `within`: the interval holds 1, or the ratio lies in 1 ± 0.01."""

    ratio: float
    interval: tuple[float, float]
    within: bool


@dataclass(frozen=True)
class Run:
    """All models at one setting: batch size, precision, eager, compiled or as a CUDA graph, memory layout.

    `calls`: the baseline's in a sample; others have as many as fill the same time. `against`: by each other reference
    that was asked for, the models' times over its, with intervals.
    """

    batch_size: int
    precision: str
    compile: bool
    channels_last: bool
    timings: dict[str, Timing]
    aa: Control | None = None
    rounds: int = 0
    calls: int = 0
    warmup_rounds: int = 0
    steady: bool = False
    threads: int = 0
    cuda_graph: bool = False
    against: dict[str, dict[str, Ratio]] = field(default_factory=dict)

    def to_json(self) -> dict:
        """This run as plain JSON values, but for `against`."""
        return {key: value for key, value in asdict(self).items() if key != "against"}


def compare(
    models: Mapping[str, nn.Module],
    batch: Tensor,
    *,
    rounds: int = 30,
    warmup_rounds: int = 5,
    precision: str = "float32",
    compile: bool = False,
    cuda_graph: bool = False,
    channels_last: bool = True,
    seed: int = 0,
    limit_seconds: float = LIMIT_SECONDS,
    threads: int | None = None,
    references: Iterable[str] = (),
) -> Run:
    """Time all `models`, among them one labelled "baseline", on `batch` ([N, C, H, W], on the device to measure on).

    On a CPU, threads for which other processes leave no core are left out (`Run.threads`), unless `threads` says how
    many to use.
    The models stay as they are: copies of them are moved, converted, compiled, and captured as a CUDA graph, which a
    GPU runs without waiting for the CPU. A model that cannot run at this setting gets a Timing with its error. At least
    `rounds` rounds are measured; where `limit_seconds` ends first, at least LEAST_ROUNDS. `references`: models, beside
    the baseline, that all are compared with.

    Raises:
        BudamaError: a model carries a hook.
    """
    for model in models.values():
        check_no_hooks(model)
    channels_last = channels_last and not any(layout.is_contiguous(model) for model in models.values())
    form = torch.channels_last if channels_last and batch.dim() == 4 else torch.contiguous_format
    batch = batch.to(dtype=dtype(precision), memory_format=form)
    how = preparing.How(form, precision, compile, cuda_graph)
    asked = torch.get_num_threads()
    if threads is None:
        threads = asked if asked == 1 or batch.device.type != "cpu" else free_threads(asked)
    torch.set_num_threads(threads)  # other runtimes take as many as torch has when they are made ready
    try:
        with arithmetic(precision):
            ready, errors = preparing.prepare({**models, CONTROL: models[BASELINE]}, batch, how)
        if BASELINE in errors or CONTROL in errors:
            reason = errors.get(BASELINE) or errors.get(CONTROL)
            timings = {label: Timing(error=errors.get(label, f"the baseline failed: {reason}")) for label in models}
            return Run(len(batch), precision, compile, channels_last, timings, cuda_graph=cuda_graph)
        with arithmetic(precision), quiet():
            session = _Session(ready, batch, clock_for(batch.device), np.random.default_rng(seed))
            warmup, steady = session.warm_up(warmup_rounds, limit_seconds / 4)
            session.measure(rounds, limit_seconds)
    finally:
        torch.set_num_threads(asked)
    timings = {label: session.timing(label) if label in ready else Timing(error=errors[label]) for label in models}
    against = {
        reference: {label: session.ratio(label, reference) for label in models if label in ready}
        for reference in references
        if reference in ready
    }
    ratio, (low, high) = session.ratio(CONTROL)
    control = Control(ratio, (low, high), low <= 1 <= high or abs(ratio - 1) <= CLOSE_TO_ONE)
    return Run(
        *(len(batch), precision, compile, channels_last, timings, control),
        *(session.rounds, session.calls[BASELINE], warmup, steady, threads, cuda_graph),
        against=against,
    )


def median_ratio(a: np.ndarray, b: np.ndarray, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """Median over rounds of a/b ([rounds] each), with its 95 % percentile bootstrap interval over rounds."""
    ratios = np.asarray(a) / np.asarray(b)
    draws = np.random.default_rng(seed).integers(len(ratios), size=(2000, len(ratios)))
    low, high = np.quantile(np.median(ratios[draws], axis=1), [0.025, 0.975])
    return float(np.median(ratios)), (float(low), float(high))


def calls_of_a_sample(ms: float) -> int:
    """How many calls of `ms` milliseconds a sample has: a power of two, so that models of about the same time have as
    many, between 4 and 64."""
    return int(2 ** np.clip(np.ceil(np.log2(SAMPLE_MS / ms)), 2, 6))


@dataclass
class _Samples:
    """One model's calls by round: milliseconds [calls], and whether another process disturbed each [calls]."""

    ms: list[np.ndarray] = field(default_factory=list)
    disturbed: list[np.ndarray] = field(default_factory=list)

    def undisturbed_ms(self) -> np.ndarray:
        """[rounds]: the median of a round's undisturbed calls; NaN where it has none."""
        return np.array([np.median(ms[~bad]) if not bad.all() else np.nan for ms, bad in zip(self.ms, self.disturbed)])

    def all_ms(self) -> np.ndarray:
        """[rounds]: the median of all calls of a round."""
        return np.array([np.median(ms) for ms in self.ms])


class _Session:
    """Models that are ready to run, the order they are visited in, and what was measured so far."""

    def __init__(self, models: dict[str, Callable], batch: Tensor, clock: Clock, generator: np.random.Generator):
        self.models, self.batch, self.clock, self.generator = models, batch, clock, generator
        self.samples = {label: _Samples() for label in models}
        self.rounds = 0
        quickest = {label: min(clock(model, batch)[0] for _ in range(3)) for label, model in models.items()}
        self.slow = min(quickest.values()) > SLOW_CALL_MS
        self.calls = {label: 1 if self.slow else calls_of_a_sample(ms) for label, ms in quickest.items()}
        self.calls[CONTROL] = self.calls[BASELINE]

    def warm_up(self, least: int, limit_seconds: float) -> tuple[int, bool]:
        """Rounds until the medians of the last two windows agree; given up after four times `least` or the limit."""
        window, start = max(2, least // 2), time.monotonic()
        totals: list[float] = []
        least = max(least, 2 * window)
        while len(totals) < 4 * least:
            totals.append(sum(float(np.min(self._sample(label)[0])) for label in self._order()))
            if len(totals) >= least:
                now, before = np.median(totals[-window:]), np.median(totals[-2 * window : -window])
                if abs(now - before) <= STEADY * before:
                    return len(totals), True
                if time.monotonic() - start > limit_seconds:
                    break
        return len(totals), False

    def measure(self, rounds: int, limit_seconds: float) -> None:
        """Rounds until `rounds` are done and all ratios are known precisely, or a limit ends it."""
        start = time.monotonic()
        while True:
            for label in self._order():
                ms, disturbed = self._sample(label)
                self.samples[label].ms.append(ms)
                self.samples[label].disturbed.append(disturbed)
            self.rounds += 1
            late = time.monotonic() - start > limit_seconds
            if self.rounds >= LEAST_ROUNDS and (late or self.rounds >= MOST_ROUNDS * rounds):
                return
            if self.rounds >= max(rounds, LEAST_ROUNDS) and self.rounds % 5 == 0 and self._precise():
                return

    def ratio(self, label: str, reference: str = BASELINE) -> Ratio:
        """Time of `label` over `reference`'s, from the rounds that left both undisturbed where there are enough."""
        own, other = self.samples[label], self.samples[reference]
        a, b = own.undisturbed_ms(), other.undisturbed_ms()
        both = np.isfinite(a) & np.isfinite(b)
        if both.sum() < max(LEAST_ROUNDS, self.rounds // 3):
            return median_ratio(own.all_ms(), other.all_ms())
        return median_ratio(a[both], b[both])

    def timing(self, label: str) -> Timing:
        own = self.samples[label]
        undisturbed = own.undisturbed_ms()
        enough = np.isfinite(undisturbed).sum() >= max(LEAST_ROUNDS, self.rounds // 3)
        median = float(np.nanmedian(undisturbed if enough else own.all_ms()))
        ratio, interval = (1.0, None) if label == BASELINE else self.ratio(label)
        return Timing(
            median_ms=median,
            p95_ms=float(np.quantile(np.concatenate(own.ms), 0.95)),
            ratio=ratio,
            ratio_interval=interval,
            images_per_second=1000 * len(self.batch) / median,
            undisturbed_percent=100 * float(1 - np.concatenate(own.disturbed).mean()),
            round_ms=tuple(round(float(ms), 5) if np.isfinite(ms) else None for ms in undisturbed),
        )

    def _order(self) -> list[str]:
        return [str(label) for label in self.generator.permutation(list(self.models))]

    def _sample(self, label: str) -> tuple[np.ndarray, np.ndarray]:
        """Timed calls after an untimed one, which brings this model's weights back into the caches."""
        model = self.models[label]
        if not self.slow:
            model(self.batch)
        timed = np.array([self.clock(model, self.batch) for _ in range(self.calls[label])])
        return timed[:, 0], timed[:, 1] > DISTURBED * timed[:, 0]

    def _precise(self) -> bool:
        for label in self.models:
            ratio, (low, high) = self.ratio(label)
            if label != BASELINE and high - low > 2 * PRECISE * ratio:
                return False
        return True
