"""The estimate of the time that a run still takes."""

import random

import pytest

from budama.jobs.time_left import Durations, remaining


@pytest.mark.parametrize(
    ("cores", "threads", "seconds"),
    [
        (1, 1, 100),  # ten jobs of 10 s one after the other
        (2, 1, 50),
        (4, 1, 30),  # three rounds: 4, 4 and 2 of them
        (4, 4, 100),
        (4, 8, 100),  # Snakemake gives no job more cores than there are
    ],
)
def test_jobs_that_do_not_wait_share_the_cores(cores, threads, seconds):
    jobs = dict.fromkeys(range(10), 10.0)
    assert remaining({}, jobs, {}, cores, dict.fromkeys(jobs, threads)) == seconds


def test_a_chain_takes_its_sum_whatever_the_cores():
    needs = {"prune": ["calibrate"], "finetune": ["prune"], "benchmark": ["finetune"], "report": ["benchmark"]}
    ahead = {"prune": 5.0, "finetune": 60.0, "benchmark": 30.0, "report": 2.0}
    assert remaining({"calibrate": 3.0}, ahead, needs, 8, {}) == 100
    assert remaining({}, ahead, {"prune": ["a job that is done"], **needs}, 8, {}) == 97


def test_the_one_running_job_is_not_taken_for_the_run():
    """One job runs, ten wait for it and then run side by side: this is not eleven in a row."""
    ahead = dict.fromkeys(range(10), 20.0)
    assert remaining({"baseline": 5.0}, ahead, {job: ["baseline"] for job in ahead}, 10, {}) == 25


def test_a_kind_is_known_by_its_scenario_else_by_its_rule_and_how_slow_the_scenario_is():
    now = {("prune", "a"): [2.0, 4.0], ("dataset", "b"): [1.0]}
    known = Durations({("prune", "a"): [100.0], ("finetune", "a"): [60.0]}, now)
    assert known.of(("prune", "a")) == 3  # this run before earlier ones
    assert known.of(("prune", "new")) == 3
    assert known.of(("finetune", "new")) == 60
    assert known.of(("benchmark", "a")) is None
    slow = Durations({}, {("prune", "a"): [2.0], ("finetune", "a"): [10.0], ("prune", "b"): [6.0]})
    assert slow.of(("finetune", "b")) == 30
    assert Durations().of(("prune", "a")) is None


@pytest.mark.parametrize("cores", [1, 2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_after_a_third_of_the_jobs_the_estimate_is_within_a_factor_of_two(cores, seed):
    """Two scenarios, one of them ten times as slow; every job up to 30 % off its kind. One of the small scenario's
    models is through. The benchmark, of a rule never seen, is in neither sum: "more than" is said then."""
    draw = random.Random(seed)
    kinds, needs, took = {}, {}, {}
    for scenario, slow in (("small", 1), ("large", 10)):
        kinds |= {(scenario, "dataset"): ("dataset", scenario), (scenario, "baseline"): ("baseline", scenario)}
        needs |= {(scenario, "baseline"): [(scenario, "dataset")]}
        trained = []
        for i in range(8):
            prune, tune = (scenario, "prune", i), (scenario, "finetune", i)
            kinds |= {prune: ("prune", scenario), tune: ("finetune", scenario)}
            needs |= {prune: [(scenario, "baseline")], tune: [prune]}
            trained.append(tune)
        kinds[(scenario, "benchmark")] = ("benchmark", scenario)
        needs[(scenario, "benchmark")] = trained
        base = {"dataset": 2, "baseline": 30, "prune": 4, "finetune": 20, "benchmark": 15}
        took |= {job: slow * base[kinds[job][0]] * draw.uniform(0.7, 1.3) for job in kinds if job[0] == scenario}
    done: list = [("small", stage) for stage in ("dataset", "baseline")] + [("large", "dataset")]
    done += [("small", "prune", 0), ("small", "finetune", 0)]
    while len(done) < len(kinds) / 3:  # in an order in which they may run
        ready = [job for job in kinds if job not in done and all(one in done for one in needs.get(job, ()))]
        done.append(draw.choice(ready))
    now: dict = {}
    for job in done:
        now.setdefault(kinds[job], []).append(took[job])
    durations = Durations({}, now)
    ahead = [job for job in kinds if job not in done and kinds[job][0] != "benchmark"]
    estimate = remaining({}, {job: durations.of(kinds[job]) or 0.0 for job in ahead}, needs, cores, {})
    truth = remaining({}, {job: took[job] for job in ahead}, needs, cores, {})
    assert truth / 2 < estimate < 2 * truth
