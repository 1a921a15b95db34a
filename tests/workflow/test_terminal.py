"""What a person sees at the foot of a terminal while Snakemake runs, and that nothing of it gets anywhere else."""

import os
import pty
import re
import subprocess
import sys

import chain
import pytest

ONE = "results/demo/wanda/seed-0"
ERASE = "\r\x1b[K"
# Two jobs one after the other, which tell of three epochs as a training does, and one that says nothing.
SNAKEFILE = f"""
import sys
sys.path.insert(0, {str(chain.ROOT / "workflow/scripts")!r})
from budama.jobs import terminal

onstart: terminal.show(workflow)
onsuccess: terminal.hide()
onerror: terminal.hide()

rule all:
    input: "results/last"

rule finetune:
    output: "results/{{scenario}}/{{variant}}/seed-{{seed}}"
    log: "logs/{{scenario}}/{{variant}}/seed-{{seed}}.log"
    shell:
        "for epoch in 1 2 3; do"
        " echo epoch $epoch/3: loss 1.5, selection 60.00 %, 9 images/s, $((120 * (3 - epoch))) s left; sleep 1.1;"
        " done > {{log}} 2>&1; touch {{output}}"

rule last:
    input: "results/demo/wanda/seed-0", "results/demo/wanda/seed-1"
    output: "results/last"
    log: "logs/last.log"
    shell: "sleep 1.5; touch {{output}}"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    return tmp_path


def on_terminal(folder, *arguments, code=0):
    """What `snakemake --cores 1` writes to a terminal of 100 columns, in its order."""
    ours, theirs = pty.openpty()
    command = [str(chain.SNAKEMAKE), "--cores", "1", *arguments]
    told = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    with subprocess.Popen(command, cwd=folder, stdout=theirs, stderr=theirs, env=told, start_new_session=True) as run:
        os.close(theirs)
        said = b""
        while True:
            try:
                said += os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
    os.close(ours)
    assert run.returncode == code, said.decode()
    return said.decode()


def lines(said: str) -> list[str]:
    """All that the status line was, in turn."""
    drawn = [part.partition("\r")[0].partition("\x1b")[0] for part in said.split(ERASE)]
    return list(dict.fromkeys(text for text in drawn if re.match(r"job \d+ of", text)))


def screen(said: str) -> list[str]:
    """What stands on the terminal in the end, without colours."""
    return [re.sub(r"\x1b\[\d*m", "", line.rpartition(ERASE)[2].strip("\r")) for line in said.split("\n")]


def test_a_terminal_shows_which_job_of_how_many_its_epoch_and_the_time_left(folder):
    said = on_terminal(folder)
    shown = lines(said)
    first = [text for text in shown if text.startswith("job 1 of 4")]
    second = [text for text in shown if text.startswith("job 2 of 4")]
    # the other training takes as long as this one; how long `last` takes, nobody knows yet
    assert re.fullmatch(r"job 1 of 4 · more than 8 min left · finetune demo wanda/seed-[01] epoch 2/3", first[0])
    assert re.search(r" · finetune demo wanda/seed-[01] epoch 3/3$", second[-1])
    assert "job 3 of 4 · last" in shown  # no estimate, since none is known
    finished = screen(said)
    assert sum(line.startswith("Finished jobid") for line in finished) == 4
    assert not any(re.match(r"job \d+ of", line) for line in finished), "nothing of it stays"


def test_the_time_left_is_known_from_an_earlier_run(folder):
    on_terminal(folder)
    (folder / "results/last").unlink()
    (folder / "results/demo/wanda/seed-1").unlink()
    shown = lines(on_terminal(folder))
    assert any(
        re.fullmatch(r"job 1 of 3 · about \d+ min left · finetune demo wanda/seed-1 epoch \d/3", text) for text in shown
    )


def test_without_a_terminal_there_is_no_line(folder):
    done = chain.run(folder, ONE)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    assert "job 1 of" not in done.stderr
    for log in folder.glob("logs/**/*.log"):
        assert not {"\r", "\x1b"} & set(log.read_text())


def test_quiet_is_quiet_and_a_plan_is_a_plan(folder):
    assert lines(on_terminal(folder, "--dry-run")) == []
    assert lines(on_terminal(folder, ONE, "--quiet", "all")) == []


def test_an_error_of_the_line_breaks_no_run(folder):
    broken = "terminal.Jobs.text = lambda self: 1 / 0\nonstart:"
    (folder / "Snakefile").write_text((folder / "Snakefile").read_text().replace("onstart:", broken))
    said = on_terminal(folder, ONE)
    assert lines(said) == []
    assert "1 of 1 steps (100%) done" in said


def test_a_failed_run_takes_the_line_away(folder):
    (folder / "Snakefile").write_text((folder / "Snakefile").read_text().replace("touch {output}", "false"))
    said = on_terminal(folder, ONE, code=1)
    assert lines(said)
    assert not any(re.match(r"job \d+ of", line) for line in screen(said))


def test_bars_of_other_packages_stay_out_of_logs(tmp_path):
    code = "from budama.jobs import command_line; command_line.run(lambda: list(__import__('tqdm').tqdm(range(3))))"
    told = {**os.environ, "PYTHONPATH": str(chain.ROOT / "workflow/scripts")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=told, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
