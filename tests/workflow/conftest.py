"""One finished run of a small scenario, shared by the tests here; each works on a copy of its own."""

import fcntl

import chain
import pytest


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder in which `snakemake --cores 2` has run to its end."""
    shared = tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in __import__("os").environ else None
    shared = shared or tmp_path_factory.getbasetemp()
    with open(shared / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = shared / "finished"
        if not (folder / "reports/index.html").exists():
            folder.mkdir()
            done = chain.run(chain.lay_out(folder))
            assert done.returncode == 0, done.stderr[-8000:]
    return folder


@pytest.fixture()
def work(finished, tmp_path):
    """A copy of the finished run to edit."""
    return chain.copy(finished, tmp_path / "work")
