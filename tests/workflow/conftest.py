"""One finished run of a small scenario, shared by the tests here; each works on a copy of its own."""

import fcntl
import os
from pathlib import Path

import chain
import pytest


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A folder in which `snakemake --cores 2` has run to its end; `trace/` has the modules that each stage loaded."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # one run for all workers
    folder = base / "finished"
    with open(base / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "reports/index.html").exists():
            (folder / "trace").mkdir(parents=True)
            trace = {"PYTHONPATH": str(Path(__file__).parent / "trace"), "BUDAMA_TRACE": str(folder / "trace")}
            done = chain.run(chain.lay_out(folder), **trace)
            assert done.returncode == 0, done.stderr[-8000:]
    return folder


@pytest.fixture
def work(finished, tmp_path) -> Path:
    """A copy of the finished run, to edit."""
    return chain.copy(finished, tmp_path / "work")
