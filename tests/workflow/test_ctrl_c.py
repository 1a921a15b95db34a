"""Ctrl-C ends a run with one line that says how to go on; a job that fails by itself does not."""

import os
import signal
import subprocess
import time

import chain
import pytest

from budama.jobs.interruption import AGAIN

# As the rules have it: a job that trains for a minute, once it is asked to, and one that fails.
SNAKEFILE = f"""
import sys
sys.path.insert(0, {str(chain.ROOT / "workflow/scripts")!r})
from budama.jobs import interruption

if workflow.is_main_process:
    interruption.watch()

onerror: print("explained", [job.rule.name for job in workflow.scheduler.failed if not interruption.pressed()])

rule long:
    output: "long"
    shell: "touch begun; sleep 60; touch {{output}}"

rule fails:
    output: "fails"
    shell: "false"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    return tmp_path


def start(folder, target):
    command = [str(chain.SNAKEMAKE), "--cores", "1", target]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def test_ctrl_c_ends_with_one_line_that_says_how_to_go_on(folder):
    with start(folder, "long") as run:
        while not (folder / "begun").exists():
            assert run.poll() is None
            time.sleep(0.1)
        os.killpg(run.pid, signal.SIGINT)
        said = run.communicate(timeout=60)[0]
    assert run.returncode != 0
    assert said.rstrip().splitlines()[-1] == AGAIN
    assert said.count(AGAIN) == 1
    assert "start the same command again" in AGAIN
    assert "explained []" in said
    assert "Traceback" not in said


def test_a_failed_job_is_no_interruption(folder):
    with start(folder, "fails") as run:
        said = run.communicate(timeout=60)[0]
    assert run.returncode != 0
    assert AGAIN not in said
    assert "explained ['fails']" in said


def test_where_ctrl_c_is_ignored_it_stays_so(folder):
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from budama.jobs import interruption;"
        " interruption.watch(); import os; os.kill(os.getpid(), signal.SIGINT); print('goes on')"
    )
    told = {**os.environ, "PYTHONPATH": str(chain.ROOT / "workflow/scripts")}
    done = subprocess.run([chain.SNAKEMAKE.parent / "python", "-c", code], env=told, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "goes on\n", "")
