"""What a person is told when a run cannot be planned, or when one of its jobs has failed."""

import shlex
import subprocess
import sys

import pytest
from configurations import write

from budama import files
from budama.errors import BudamaError
from budama.jobs import failures, runs


def python():
    """The Python of a command for people, seen from the current folder."""
    return shlex.quote(files.shown(sys.executable))


@pytest.fixture(autouse=True)
def configuration(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    for found in (runs.find_scenario, runs.find_baseline):
        found.cache_clear()
    yield
    for found in (runs.find_scenario, runs.find_baseline):
        found.cache_clear()


def test_a_users_mistake_ends_the_process_with_its_lines_alone():
    def load(one, two=None):
        raise BudamaError("a.yaml: one", "a.yaml: two")

    with pytest.raises(SystemExit) as ended:
        failures.told(load)(1, two=2)
    assert ended.value.code == "error: a.yaml: one\nerror: a.yaml: two"


def test_what_is_right_comes_back_and_what_is_our_fault_keeps_its_traceback():
    assert failures.told(lambda one, two=0: one + two)(1, two=2) == 3
    with pytest.raises(ZeroDivisionError):
        failures.told(lambda: 1 / 0)()


def test_the_end_of_a_log_has_the_errors_that_stand_further_up(tmp_path):
    log = tmp_path / "prune.log"
    log.write_text("error: the ratio is too high\n" + "".join(f"line {number}\n" for number in range(100)))
    lines = failures.end_of_log(log)
    assert lines[0] == "error: the ratio is too high"
    assert lines[1:] == [f"line {number}" for number in range(75, 100)]


def test_a_log_that_is_missing_or_no_text_is_no_second_error(tmp_path):
    assert failures.end_of_log(tmp_path / "prune.log") == ["(there is no log)"]
    (tmp_path / "prune.log").write_bytes(b"\xff\xfe\n")
    assert len(failures.end_of_log(tmp_path / "prune.log")) == 1


def test_a_failed_job_is_told_with_its_log_and_its_command(tmp_path):
    (tmp_path / "prune.log").write_text("error: why\n")
    told = failures.explain("prune", "prune.log", "python prune.py --scenario s.yaml")
    assert told.splitlines() == [
        "",
        "prune failed. The end of prune.log:",
        "    error: why",
        "To run it alone:",
        "    python prune.py --scenario s.yaml",
    ]


@pytest.mark.parametrize(
    ("script", "names", "told"),
    [
        ("dataset", {"baseline": "small"}, "--baseline config/baselines/small.yaml"),
        ("benchmark", {"scenario": "first"}, "--scenario config/scenarios/s.yaml"),
        ("prune", {"scenario": "first", "variant": "wanda"}, "--scenario config/scenarios/s.yaml --variant wanda"),
        (
            "finetune",
            {"scenario": "first", "variant": "random", "seed": 0},
            "--scenario config/scenarios/s.yaml --variant random --seed 0",
        ),
        (
            "finetune",
            {"scenario": "first", "variant": "wanda", "seed": 0, "rate": 0.1},
            "--scenario config/scenarios/s.yaml --variant wanda --seed 0 --rate 0.1",
        ),
        ("export", {"scenario": "first", "variant": "random", "seed": 0}, "--scenario config/scenarios/s.yaml"),
    ],
)
def test_a_command_by_hand_names_the_configuration_in_place_of_the_spec(script, names, told):
    spec = '{"settings": {"ratio": 0.3}}'
    command = f"python workflow/scripts/{script}.py --spec '{spec}' --output out.json > logs/a.log 2>&1"
    by_hand = failures.by_hand(command, spec, **names)
    assert by_hand == f"{python()} workflow/scripts/{script}.py {told} --output out.json"


def test_a_command_without_a_spec_stays_as_it_is():
    assert (
        failures.by_hand("python index.py --output a.html > a.log 2>&1", "{}") == f"{python()} index.py --output a.html"
    )


def run(command: str) -> subprocess.CompletedProcess:
    prefix = failures.SAY_WHICH_SIGNAL.replace("{{", "{").replace("}}", "}")
    return subprocess.run(["bash", "-c", prefix + command], capture_output=True, text=True)


@pytest.mark.parametrize(("signal", "said"), [("KILL", "SIGKILL"), ("SEGV", "SIGSEGV"), ("TERM", None), ("INT", None)])
def test_a_log_says_which_signal_ended_a_job(tmp_path, signal, said):
    done = run(f"sh -c 'kill -{signal} $$' > job.log 2>&1")
    assert done.returncode != 0
    assert ("error: ended by the signal" in (tmp_path / "job.log").read_text()) == bool(said)
    assert (said or "") in (tmp_path / "job.log").read_text()


def test_a_command_that_writes_no_log_leaves_no_file(tmp_path):
    before = sorted(tmp_path.iterdir())
    assert run("sh -c 'kill -KILL $$'").returncode == 137
    assert run("sh -c 'exit 3' > job.log 2>&1").returncode == 3
    assert (tmp_path / "job.log").read_text() == ""
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "job.log"])
