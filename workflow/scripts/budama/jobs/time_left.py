"""How long a run still takes: its jobs played through on its cores, each as long as others like it took."""

import heapq
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from statistics import mean

Kind = tuple[str, str | None]  # a rule, and the scenario or baseline that it works for


@dataclass
class Durations:
    """Seconds that jobs took, by their kind. The newest know best: those of this run come before earlier ones."""

    earlier: dict[Kind, list[float]] = field(default_factory=dict)
    now: dict[Kind, list[float]] = field(default_factory=dict)

    def of(self, kind: Kind) -> float | None:
        """Mean seconds of the kind; else as its rule took for others, by how much faster or slower these are in the
        rules that both have run; None for a rule that was never seen."""
        known = {one: mean(seconds) for one, seconds in (self.earlier | self.now).items()}
        if kind in known:
            return known[kind]
        rule, owner = kind
        others = [other for one, other in known if one == rule]
        return mean(known[rule, other] * _factor(known, owner, other) for other in others) if others else None


def _factor(known: Mapping[Kind, float], owner: str | None, other: str | None) -> float:
    """How many times as long the jobs of `owner` take as those of `other`; 1 where they have no rule in common."""
    shared = [rule for rule, one in known if one == owner and (rule, other) in known]
    theirs = sum(known[rule, other] for rule in shared)
    return sum(known[rule, owner] for rule in shared) / theirs if theirs else 1.0


def remaining(
    running: Mapping[Hashable, float],
    ahead: Mapping[Hashable, float],
    needs: Mapping[Hashable, Collection[Hashable]],
    cores: int,
    threads: Mapping[Hashable, int],
) -> float:
    """Seconds until all jobs are done.

    `running` and `ahead` give the seconds that each job still takes; `needs` the jobs that one waits for; `threads` how
    many of the `cores` each keeps busy. A job starts as soon as what it needs is done and its cores are free.
    """
    taken = {job: min(cores, threads.get(job, 1)) for job in [*running, *ahead]}
    free = cores - sum(taken[job] for job in running)
    ends = [(seconds, number, job) for number, (job, seconds) in enumerate(running.items())]
    heapq.heapify(ends)
    unfinished, waiting, time = set(taken), list(ahead), 0.0
    while True:
        started: list[Hashable] = []
        for job in waiting:
            if taken[job] <= free and not unfinished.intersection(needs.get(job, ())):
                free -= taken[job]
                heapq.heappush(ends, (time + ahead[job], len(running) + len(unfinished) + len(started), job))
                started.append(job)
        waiting = [job for job in waiting if job not in started]
        if not ends:
            return time
        time, _, job = heapq.heappop(ends)
        unfinished.discard(job)
        free += taken[job]
