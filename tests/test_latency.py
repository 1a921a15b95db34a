"""The benchmark's promises. What it makes of times is tested with a clock whose times are known: a processor's own
are another's business, too. With the real clock, only what no other program can spoil is asserted."""

import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

from budama import machine
from budama.errors import BudamaError
from budama.measuring import latency, stopwatch
from budama.measuring import precision as precisions
from budama.measuring.latency import compare, median_ratio
from budama.measuring.resources import MIB, clocks, energy_mj_per_image, peak_memory_mib
from budama.measuring.stopwatch import free_threads

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.skipif(len(machine.cores()) < 2, reason="one core")
def test_a_core_that_another_process_keeps_busy_gets_no_thread():
    core = max(machine.cores())
    code = f"import os; os.sched_setaffinity(0, {{{core}}})\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        try:
            other.stdout.readline()
            cores = len(machine.cores())
            assert 1 <= free_threads(cores) < cores
            assert free_threads(1) == 1
        finally:
            other.kill()


def network(width: int = 16, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, 10),
        ).eval()


def images(count: int = 1, size: int = 32) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


class Known(nn.Module):
    """A model whose latency is known."""

    def __init__(self, milliseconds: float):
        super().__init__()
        self.milliseconds = milliseconds
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x * self.weight


class Busy(Known):
    """A model that takes its time, at least."""

    def forward(self, x):
        end = time.perf_counter() + self.milliseconds / 1000
        while time.perf_counter() < end:
            pass
        return super().forward(x)


@pytest.fixture
def moody(monkeypatch):
    """A machine that slows down by half while it measures, with every call off by some percent; no call waits."""
    generator, calls = np.random.default_rng(0), iter(range(10**6))

    def call(model, batch):
        drift = 1 + 0.5 * min(1, next(calls) / 1000)
        return model.milliseconds * drift * float(np.exp(0.03 * generator.standard_normal())), 0.0

    monkeypatch.setattr(latency, "clock_for", lambda device: call)


def test_a_model_of_half_the_latency_has_ratio_one_half_and_its_interval_says_so(moody):
    models = {"baseline": Known(2.0), "half": Known(1.0)}
    run = compare(models, images(), rounds=20, warmup_rounds=2)
    half = run.timings["half"]
    assert half.ratio == pytest.approx(0.5, abs=0.01)
    assert half.ratio_interval[0] <= 0.5 <= half.ratio_interval[1]
    assert 1.0 < half.median_ms < 1.5 < half.p95_ms
    assert half.images_per_second == pytest.approx(1000 / half.median_ms)
    assert run.timings["baseline"].ratio == 1.0


def test_models_are_compared_with_other_references_of_the_run_too(moody):
    models = {"baseline": Known(2.0), "other": Known(4.0), "half": Known(1.0)}
    run = compare(models, images(), rounds=20, warmup_rounds=2, references=["other"])
    ratio, (low, high) = run.against["other"]["half"]
    assert ratio == pytest.approx(0.25, abs=0.005)
    assert low <= 0.25 <= high
    assert run.against["other"]["other"] == (1.0, (1.0, 1.0))
    assert "against" not in run.to_json()


def test_a_slow_model_beside_a_quick_one_is_not_called_as_often(moody, monkeypatch):
    called, known = dict.fromkeys((0.1, 20.0), 0), latency.clock_for(None)

    def call(model, batch):
        called[model.milliseconds] += 1
        return known(model, batch)

    monkeypatch.setattr(latency, "clock_for", lambda device: call)
    compare({"baseline": Known(0.1), "slow": Known(20.0)}, images(), rounds=7, warmup_rounds=1)
    assert 4 <= called[20.0] / called[0.1] * 2 * 64 <= 4.5, "64 calls of the quick ones, 4 of the slow one"


def test_the_baseline_and_its_copy_take_the_same_time(moody):
    run = compare({"baseline": Known(1.0)}, images(), rounds=20, warmup_rounds=2)
    assert run.aa.ratio == pytest.approx(1, abs=0.01)
    assert run.aa.within


def test_the_copy_shows_what_a_procedure_that_prefers_one_model_would_do(monkeypatch):
    """The control's purpose: a clock that favours whichever model it has seen first is found out."""
    first = []

    def unfair(model, batch):
        first.append(id(model))
        return (1.0 if id(model) == first[0] else 1.1), 0.0

    monkeypatch.setattr(latency, "clock_for", lambda device: unfair)
    run = compare({"baseline": Known(1.0)}, images(), rounds=9, warmup_rounds=1)
    assert abs(run.aa.ratio - 1) > 0.05
    assert not run.aa.within


def test_models_of_equal_structure_have_equal_latency(moody):
    models = {"baseline": Known(1.0), "wanda": Known(0.7), "magnitude": Known(0.7)}
    run = compare(models, images(4), rounds=20, warmup_rounds=3)
    a, b = (np.array(run.timings[name].round_ms, dtype=float) for name in ("wanda", "magnitude"))
    ratio, (low, high) = median_ratio(a, b)
    assert low <= 1 <= high
    assert ratio == pytest.approx(1, abs=0.01)


def test_the_real_clock_sees_at_least_the_time_that_a_call_took():
    milliseconds, waited = stopwatch.cpu_call(Busy(3.0), images())
    assert milliseconds >= 3.0
    assert waited >= 0


def test_the_real_clock_measures_real_models():
    run = compare({"baseline": network(), "thin": network(8)}, images(), rounds=7, warmup_rounds=1, limit_seconds=4)
    assert all(timing.median_ms > 0 and timing.ratio > 0 for timing in run.timings.values())
    assert run.aa.interval[0] <= run.aa.ratio <= run.aa.interval[1]
    assert run.rounds >= latency.LEAST_ROUNDS


def test_a_leftover_hook_is_refused():
    hooked = network()
    hooked[0].register_forward_hook(lambda *_: None)
    with pytest.raises(BudamaError, match=r"hook was left on 0 \(forward_hooks\)"):
        compare({"baseline": network(), "hooked": hooked}, images())


@pytest.mark.parametrize("register", ["register_forward_pre_hook", "register_full_backward_hook"])
def test_every_kind_of_hook_is_refused(register):
    hooked = network()
    getattr(hooked, register)(lambda *_: None)
    with pytest.raises(BudamaError, match="the model itself"):
        compare({"baseline": network(), "hooked": hooked}, images())


def test_a_gradient_hook_is_refused():
    hooked = network()
    hooked[0].weight.register_hook(lambda g: g)
    with pytest.raises(BudamaError, match="gradient hook"):
        compare({"baseline": hooked}, images())


def test_a_model_that_cannot_run_becomes_a_row_and_the_others_are_measured():
    broken = nn.Sequential(nn.Conv2d(5, 8, 3))
    run = compare({"baseline": network(), "broken": broken}, images(), rounds=7, warmup_rounds=1, limit_seconds=2)
    assert run.timings["broken"].error.startswith("RuntimeError")
    assert run.timings["broken"].median_ms is None
    assert run.timings["baseline"].median_ms > 0


def test_a_baseline_that_cannot_run_leaves_a_reason_everywhere():
    run = compare({"baseline": nn.Conv2d(5, 8, 3), "good": network()}, images())
    assert "the baseline failed" in run.timings["good"].error
    assert run.aa is None


def test_bfloat16_is_measured_and_the_models_stay_float32():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run = compare({"baseline": model}, images(), rounds=7, warmup_rounds=1, precision="bfloat16", limit_seconds=2)
    assert run.timings["baseline"].median_ms > 0
    assert all(torch.equal(before[name], value) and value.dtype == before[name].dtype
               for name, value in model.state_dict().items())  # fmt: skip
    assert model[0].weight.is_contiguous()


def test_slow_calls_stop_at_the_time_limit_but_not_before_the_least_rounds(monkeypatch):
    monkeypatch.setattr(latency, "SLOW_CALL_MS", 5.0)
    run = compare({"baseline": Busy(10.0)}, images(), rounds=500, warmup_rounds=1, limit_seconds=0.2)
    assert run.calls == 1
    assert latency.LEAST_ROUNDS <= run.rounds < 60


def test_calls_that_waited_for_a_core_are_set_aside(monkeypatch):
    """Every third call is ten times longer because it 'queued'; the ratio and the median must not know."""
    count = iter(range(10**6))

    def disturbed_call(model, batch):
        return (10.0, 9.0) if next(count) % 3 == 0 else (model.milliseconds, 0.0)

    monkeypatch.setattr(latency, "clock_for", lambda device: disturbed_call)
    run = compare({"baseline": Known(1.0), "slow": Known(1.5)}, images(), rounds=9, warmup_rounds=1)
    assert run.timings["slow"].ratio == pytest.approx(1.5)
    assert run.timings["slow"].median_ms == pytest.approx(1.5)
    assert run.timings["slow"].p95_ms == pytest.approx(10.0)
    assert run.timings["slow"].undisturbed_percent == pytest.approx(67, abs=2)


def test_where_every_call_is_disturbed_all_of_them_count(monkeypatch):
    monkeypatch.setattr(latency, "clock_for", lambda device: lambda model, batch: (2 * model.milliseconds, 1.0))
    run = compare({"baseline": Known(1.0), "slow": Known(1.5)}, images(), rounds=9, warmup_rounds=1)
    assert run.timings["slow"].ratio == pytest.approx(1.5)
    assert run.timings["slow"].undisturbed_percent == 0


def test_the_interval_of_a_ratio_covers_the_truth():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        b = 1 + 0.1 * rng.random(31)
        low, high = median_ratio(0.8 * b * np.exp(0.02 * rng.standard_normal(31)), b, seed=trial)[1]
        covered += low <= 0.8 <= high
    assert covered / 200 >= 0.9


def test_peak_memory_is_weights_input_and_the_two_largest_neighbouring_activations():
    model, batch = network(16), images(4)
    own = 4 * (sum(p.numel() for p in model.parameters()) + 2 * 16 + batch.numel()) + 8  # + num_batches_tracked
    activation = 4 * 16 * 32 * 32 * 4
    assert peak_memory_mib(model, batch) * MIB == pytest.approx(own + 2 * activation, rel=1e-6)


def test_a_cpu_tells_no_energy_and_clocks_are_numbers():
    assert energy_mj_per_image(network(), images()) is None
    assert all(value > 0 for value in clocks(torch.device("cpu")).values())


@pytest.mark.long
def test_torch_compile_is_measured_or_says_why_not():
    run = compare({"baseline": network()}, images(), rounds=7, warmup_rounds=1, compile=True, limit_seconds=5)
    timing = run.timings["baseline"]
    assert timing.median_ms or timing.error


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"cuda_graph": True}, "a CUDA graph needs a GPU of NVIDIA's"),
        ({"precision": "tfloat32"}, "tfloat32 needs a GPU of NVIDIA's"),
    ],
)
def test_what_needs_a_gpu_says_so_on_a_cpu(how, told):
    run = compare({"baseline": network(), "thin": network(8)}, images(), **how)
    assert [timing.error for timing in run.timings.values()] == [told, told]
    assert (run.aa, run.rounds) == (None, 0)
    assert (run.cuda_graph, run.precision) == (how.get("cuda_graph", False), how.get("precision", "float32"))


def test_float32_is_float32_while_it_is_timed_and_the_callers_setting_comes_back():
    flags = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [flag.allow_tf32 for flag in flags]
    for precision, expected in (("float32", False), ("tfloat32", True), ("bfloat16", False)):
        with precisions.arithmetic(precision):
            assert [flag.allow_tf32 for flag in flags] == [expected, expected]
        assert [flag.allow_tf32 for flag in flags] == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_cuda_events_time_the_models():
    run = compare({"baseline": network(64), "thin": network(8)}, images(64, 64).cuda(), rounds=20, warmup_rounds=3)
    assert run.aa.ratio == pytest.approx(1, abs=0.05)
    assert run.timings["thin"].ratio < 1
    assert peak_memory_mib(network(64).cuda(), images(64, 64).cuda()) > 64 * 64 * 64 * 64 * 4 / MIB
