"""What every stage's command line has in common, tried as a program."""

import argparse
import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from configurations import write

from budama.errors import BudamaError
from budama.jobs import command_line

SCRIPTS = Path(__file__).parents[1] / "workflow/scripts"


def stage(body: str, *arguments: str, cwd: Path, name: str = "prune") -> subprocess.CompletedProcess:
    """Run a stage script that prints its settings, after `body`."""
    script = cwd / "stage.py"
    script.write_text(
        f"""\
import json, os, sys
sys.path.insert(0, {str(SCRIPTS)!r})
from budama import files
from budama.jobs import command_line
from budama.errors import BudamaError

def main():
    parser = command_line.parser("A stage.")
    command_line.add_settings(parser, {name!r})
    command_line.add_compute(parser)
    args = parser.parse_args()
{textwrap.indent(textwrap.dedent(body), "    ")}

if __name__ == "__main__":
    command_line.run(main)
"""
    )
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


SHOW = "print(json.dumps(command_line.settings(args)))"


@pytest.fixture
def folder(tmp_path):
    write(tmp_path)
    return tmp_path


def test_settings_are_the_same_from_files_and_from_a_spec(folder):
    by_hand = stage(SHOW, "--scenario", "config/scenarios/s.yaml", "--variant", "wanda", "--seed", "1", cwd=folder)
    assert by_hand.returncode == 0, by_hand.stderr
    settings = json.loads(by_hand.stdout)
    assert settings["method"] == "wanda"
    spec = json.dumps({"settings": settings, "code": "x"}, sort_keys=True)
    assert json.loads(stage(SHOW, "--spec", spec, cwd=folder).stdout) == settings


def test_baseline_stage_is_configured_by_a_baseline_or_by_a_scenario(folder):
    of_baseline = stage(SHOW, "--baseline", "config/baselines/small.yaml", cwd=folder, name="dataset")
    of_scenario = stage(SHOW, "--scenario", "config/scenarios/s.yaml", cwd=folder, name="dataset")
    assert json.loads(of_baseline.stdout) == json.loads(of_scenario.stdout)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "error: prune: give one of --spec or --scenario"),
        (["--spec", "{}", "--scenario", "x"], "error: prune: give one of --spec or --scenario, not 2 of them"),
        (["--spec", "{"], "error: --spec is not JSON (Expecting property name enclosed in double quotes, column 2)"),
        (["--spec", "3"], "error: --spec must be a JSON object"),
        (["--scenario", "none.yaml"], "error: none.yaml: no such file"),
        (
            ["--scenario", "config/scenarios/s.yaml", "--variant", "wand"],
            "error: config/scenarios/s.yaml: has no variant wand; did you mean wanda?",
        ),
    ],
)
def test_wrong_arguments_end_in_one_line_and_exit_status_1(folder, arguments, line):
    done = stage(SHOW, *arguments, cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line + "\n")


def test_every_mistake_of_a_file_has_its_line(folder):
    path = folder / "config/scenarios/s.yaml"
    path.write_text(path.read_text().replace("0.3", "1.4").replace("small", "smal"))
    done = stage(SHOW, "--scenario", "config/scenarios/s.yaml", "--variant", "wanda", cwd=folder)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: config/scenarios/s.yaml: pruning.ratio is 1.4; it must be between 0 and 0.95",
        "error: config/scenarios/s.yaml: baseline is smal, which no file has; did you mean small?",
    ]


@pytest.mark.parametrize(
    ("body", "status", "stderr"),
    [
        ("raise BudamaError('one line')", 1, "error: one line\n"),
        ("raise KeyboardInterrupt", 130, "interrupted\n"),
        ("raise MemoryError", 1, "error: not enough memory\n"),
        ("open('/dev/full', 'w', buffering=1).write('x\\n')", 1, "error: disk: no space left on it\n"),
        ("args.threads = 0; command_line.threads(args)", 1, "error: --threads is 0; it must be 1 or more\n"),
        ("pass", 0, ""),
    ],
)
def test_faults_of_the_user_or_the_machine_are_one_line(folder, body, status, stderr):
    done = stage(body, cwd=folder)
    assert (done.returncode, done.stderr) == (status, stderr)


def test_bug_of_ours_keeps_its_traceback(folder):
    done = stage("{}['key']", cwd=folder)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "KeyError" in done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_stage_removes_what_it_was_writing(folder, number, status):
    script = folder / "stage.py"
    script.write_text(
        f"""\
import sys, time
sys.path.insert(0, {str(SCRIPTS)!r})
from budama import files
from budama.jobs import command_line

def main():
    with files.folder("model") as inside:
        (inside / "x").write_text("half")
        print("writing", flush=True)
        time.sleep(30)

command_line.run(main)
"""
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout.readline() == b"writing\n"
    process.send_signal(number)
    assert process.wait(timeout=20) == status
    process.stdout.close()
    assert sorted(path.name for path in folder.iterdir()) == ["config", "stage.py"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("gpu", "--device is gpu; it must be auto, cpu, cuda or cuda:N"),
        ("cpu:0", "--device is cpu:0; it must be auto, cpu, cuda or cuda:N"),
        ("cuda:99", "--device is cuda:99, but this machine has "),
    ],
)
def test_device_that_is_not_there_is_told_in_one_line(name, line):
    with pytest.raises(BudamaError) as caught:
        command_line.device(argparse.Namespace(device=name, threads=None))
    assert str(caught.value).startswith(line)


def test_stage_computes_on_the_device_and_threads_that_it_is_given():
    import torch

    before = torch.get_num_threads()
    assert command_line.device(argparse.Namespace(device="cpu", threads=1)) == torch.device("cpu")
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


def test_long_loop_tells_how_far_it_is_in_plain_lines(folder):
    body = """
    import time
    from budama import progress
    progress.EVERY_SECONDS = 0.2
    assert list(progress.track(range(3), "short")) == [0, 1, 2]
    for _ in progress.track((n for n in range(6)), "images", total=6, unit="batch"):
        time.sleep(0.1)
    progress.log("done")
    """
    start = time.monotonic()
    lines = stage(body, cwd=folder).stderr.splitlines()
    assert time.monotonic() - start < 30
    assert lines[0].startswith("images: ")
    assert "/6 batch (" in lines[0]
    assert lines[-2].startswith("images: 6 batch in ")
    assert lines[-1] == "done"
    assert not any("short" in line for line in lines)
