"""What a machine says of itself, and that what it does not say stops nothing."""

import os
import platform

import pytest

from budama import machine


def test_this_machine_is_described():
    assert machine.cores() <= set(range(os.cpu_count()))
    assert machine.cpu().strip()
    assert machine.memory_gib() > 0.1
    assert all(isinstance(name, str) for name in machine.gpus())


@pytest.mark.skipif(platform.machine() != "x86_64", reason="another kind of processor")
def test_the_processors_instructions_are_known():
    assert "sse2" in machine.cpu_flags()


def test_a_card_that_is_not_there_tells_nothing():
    assert machine.gpu_energy_mj("00000000-0000-0000-0000-000000000000") is None
    assert machine.gpu_clocks("00000000-0000-0000-0000-000000000000") == {}


def test_a_system_without_affinity_and_cpuinfo_is_described_too(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine, "_cpuinfo", lambda: "")
    machine.cpu_flags.cache_clear()
    try:
        assert len(machine.cores()) == os.cpu_count()
        assert machine.cpu_flags() == frozenset()
        assert isinstance(machine.cpu(), str)
        assert not machine.multiplies_bfloat16()
    finally:
        machine.cpu_flags.cache_clear()
