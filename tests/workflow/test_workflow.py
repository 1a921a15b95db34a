"""The workflow as its user meets it: what runs, what is told when it cannot, and what a failed job says."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import chain
import pytest
import yaml

from budama.jobs import code_digest

ROOT = chain.ROOT


@pytest.fixture
def bare(tmp_path):
    """The workflow with the small configuration, and nothing computed."""
    return chain.lay_out(tmp_path / "bare")


def test_a_finished_run_has_nothing_to_do(work):
    done = chain.run(work)
    assert done.returncode == 0
    assert "Nothing to be done" in done.stderr


def test_a_run_leaves_reports_tables_and_a_page_over_all(finished):
    for path in (
        *(f"reports/{name}/ozet_rapor.{form}" for name in ("small", "elsewhere") for form in ("md", "html", "pdf")),
        *(f"results/scenarios/small/results.{form}" for form in ("csv", "parquet", "json")),
        "reports/index.html",
    ):
        assert (finished / path).stat().st_size > 0


def test_no_progress_is_left_behind(finished):
    assert not list(finished.rglob("progress"))
    assert not list(finished.rglob("*.part"))


def test_everything_that_a_stage_loads_is_in_its_digest(finished):
    seen = [json.loads(path.read_text()) for path in (finished / "trace").glob("*.json")]
    assert {run["stage"] for run in seen} >= {"dataset", "baseline", "calibrate", "prune", "finetune", "benchmark"}
    for run in seen:
        files = {path.relative_to(code_digest.SCRIPTS) for path in code_digest.modules(run["stage"], leave_out=())}
        known = {".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files}
        assert set(run["modules"]) <= known, run["stage"]


def test_stages_without_a_model_load_no_torch(finished):
    with_torch = {}
    for path in (finished / "trace").glob("*.json"):
        run = json.loads(path.read_text())
        with_torch[run["stage"]] = run["torch"]
    assert [with_torch[stage] for stage in ("dataset", "aggregate", "report", "index")] == [False] * 4


def test_recorded_results_need_no_run(bare):
    assert chain.plan(bare, "reports/elsewhere/ozet_rapor.html") == {"aggregate elsewhere", "report elsewhere"}


def test_a_preview_needs_nothing_else(bare):
    assert chain.plan(bare, "results/scenarios/small/preview.json") == {"preview"}


@pytest.mark.parametrize(("key", "wrong"), [("layers", {"convv1": 0.5}), ("ignore", ["convv1"])])
def test_a_layer_that_is_not_there_is_told_by_the_first_job_and_nothing_is_pruned(bare, key, wrong):
    small, pruned = chain.CONFIG["scenarios/small.yaml"], "results/scenarios/small/wanda/pruning.json"
    assert "preview" not in chain.plan(bare, pruned)
    chain.write(bare, "scenarios/small.yaml", {**small, "pruning": {**small["pruning"], key: wrong}})
    assert chain.plan(bare, pruned) == {"preview", "dataset", "baseline", "calibrate", "prune wanda"}
    done = chain.run(bare, pruned, "--until", "preview")
    told = re.findall(r"^ +error: (.*)$", done.stderr, re.MULTILINE)
    assert (done.returncode, told) == (
        1,
        [f"pruning.{key}: 'convv1' matches no layer of the model; did you mean conv1?"],
    )


# --- mistakes, told in a line before anything is computed ---


def errors(done: subprocess.CompletedProcess) -> list[str]:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return re.findall(r"^error: (.*)$", done.stderr, re.MULTILINE)


@pytest.fixture
def published(bare):
    """The configuration of the repository."""
    shutil.rmtree(bare / "config")
    shutil.copytree(ROOT / "config", bare / "config")
    return bare


@pytest.mark.parametrize("how", [("--config", "scenarios=TS3"), ("reports/TS3/ozet_rapor.html",)])
def test_without_imagenet_one_line_says_where_it_must_lie(published, how):
    (line,) = errors(chain.run(published, *how))
    for word in ("config/baselines/resnet50_imagenet.yaml", "data/imagenet", "train/", "val/"):
        assert word in line
    assert not (published / "results").exists()


def test_a_wrong_value_is_one_line_with_file_key_and_what_is_allowed(bare):
    content = {**chain.CONFIG["scenarios/small.yaml"], "pruning": {"methods": ["wanda"], "ratio": 1.4}}
    chain.write(bare, "scenarios/small.yaml", content)
    (line,) = errors(chain.run(bare))
    assert line.startswith("config/scenarios/small.yaml: pruning.ratio is 1.4")


@pytest.mark.parametrize("how", [("--config", "scenarios=smal"), ("reports/smal/ozet_rapor.html",)])
def test_an_unknown_scenario_is_one_line(bare, how):
    (line,) = errors(chain.run(bare, *how))
    assert "smal" in line
    assert "small" in line


def test_a_failed_job_shows_the_end_of_its_log_and_a_command_that_runs_it_alone(work):
    (work / "results/scenarios/small/wanda/pruned/structure.json").write_text("{}")
    target = "results/scenarios/small/wanda/seed-0/metrics.json"
    done = chain.run(work, target, "--forcerun", "finetune", "--rerun-triggers", "input")
    assert done.returncode == 1
    assert "--spec" not in done.stderr, "the command stands there once, in a form that can be read"
    assert "Command '" not in done.stderr
    told = done.stderr[done.stderr.index("finetune failed") :]
    assert "logs/scenarios/small/wanda/seed-0/finetune.log" in told
    command = re.search(r"To run it alone:\n\s+(.*)", told)[1]
    assert "--scenario config/scenarios/small.yaml --variant wanda --seed 0" in command
    again = subprocess.run(command, shell=True, cwd=work, capture_output=True, text=True, env=with_python())
    assert again.returncode == 1
    assert again.stderr.strip().splitlines()[-1] in told


@pytest.mark.parametrize("signal", ["SEGV", "KILL"])
def test_a_job_that_a_signal_ends_says_which_and_what_was_running(bare, tmp_path, signal):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "def at(event, arguments):\n"
        "    if event == 'import' and arguments[0] == 'torch' and 'workflow/scripts/preview.py' in sys.orig_argv:\n"
        f"        os.kill(os.getpid(), signal.SIG{signal})\n"
        "sys.addaudithook(at)\n"
    )
    done = chain.run(bare, "results/scenarios/small/preview.json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    told = done.stderr[done.stderr.index("preview failed") :]
    assert f"error: ended by the signal SIG{signal}" in told
    if signal == "SEGV":
        assert "Fatal Python error: Segmentation fault" in told
        assert "workflow/scripts/preview.py" in told.partition("To run it alone")[0]


def with_python() -> dict:
    import os

    return {**os.environ, "PATH": f"{chain.SNAKEMAKE.parent}{os.pathsep}{os.environ['PATH']}"}


# --- scenarios that compare themselves with others ---


def beside(folder, name, **changes):
    chain.write(folder, f"scenarios/{name}.yaml", {**chain.CONFIG["scenarios/small.yaml"], "scenario": name, **changes})


def test_comparing_with_a_scenario_does_not_compute_it(work):
    beside(work, "other")
    beside(work, "small", report={"compare_with": ["other"]})
    assert chain.plan(work) == {"report", "index"}


def test_a_scenario_that_is_there_is_compared_with_as_it_is(work):
    beside(work, "other", seeds=[5])
    beside(work, "small", report={"compare_with": ["other"]})
    results = work / "results/scenarios/other/results.json"
    results.parent.mkdir()
    shutil.copy(work / "results/scenarios/small/results.json", results)
    done = chain.run(work)
    assert done.returncode == 0, done.stderr[-3000:]
    assert chain.plan(work) == set()
    results.write_text(results.read_text().replace('"small"', '"other"'))
    assert chain.plan(work) == {"report", "index"}


def test_scenarios_that_are_asked_for_together_are_compared_when_both_are_done(work):
    beside(work, "other", seeds=[5])
    beside(work, "small", report={"compare_with": ["other"]})
    chain.write(work, "config.yaml", {"scenarios": ["small", "other"]})
    planned = chain.plan(work)
    assert {"aggregate other", "report"} <= planned
    assert not {"baseline", "calibrate"} & planned


# --- the user's images ---


def test_a_changed_image_runs_the_data_stage_again_and_a_touched_one_does_not(work):
    from PIL import Image

    for number in range(40):
        part, label = ("train", "val")[number % 4 == 0], f"class{number // 4 % 2}"
        path = work / f"photos/{part}/{label}/{number}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number * 6, 255 - number * 6, number)).save(path)
    data = {"name": "image_folder", "root": "photos", "image_size": 8}
    chain.write(
        work, "baselines/photos.yaml", {**chain.CONFIG["baselines/digits.yaml"], "baseline": "photos", "data": data}
    )
    target = "results/baselines/photos/dataset.json"
    done = chain.run(work, target)
    assert done.returncode == 0, done.stderr[-3000:]
    path.touch()
    assert chain.plan(work, target) == set()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(path)  # as many bytes as before
    assert chain.plan(work, target) == {"dataset photos"}


# --- the rules ---


def rules() -> dict[str, str]:
    texts = [path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk"))]
    parts = [part for text in texts for part in re.split(r"^rule ", text, flags=re.MULTILINE)[1:]]
    return {part.partition(":")[0]: part for part in parts}


@pytest.mark.parametrize("name", sorted(rules()))
def test_a_rule_reads_like_a_sentence(name):
    text = rules()[name]
    assert len(text.rstrip().splitlines()) <= 36
    for part in ("log:", "conda:", "spec=", "> {log} 2>&1"):
        assert part in text
    assert not re.search(r"^    (run|script|wrapper):", text, re.MULTILINE)
    script = {"leaderboard": "index"}.get(name, name)  # one page, whoever asks for it
    assert f"{{params.scripts:q}}/{script}.py" in text
    assert "lambda" not in text


def test_the_linter_and_the_formatter_have_nothing_to_say():
    snakefmt = chain.SNAKEMAKE.with_name("snakefmt")
    formatted = ("Snakefile", "workflow/Snakefile", "workflow/rules")
    for command in ([chain.SNAKEMAKE, "--lint"], [snakefmt, "--check", *formatted]):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_profiles_say_how_jobs_run_and_never_what_they_compute():
    for path in ROOT.glob("profiles/*/profile.yaml"):
        assert not {"config", "configfile", "set-params"} & yaml.safe_load(path.read_text()).keys()


def test_the_timing_job_is_alone_on_the_machine(bare):
    chain.plan(bare)
    (block,) = re.findall(r"^rule benchmark:\n(?:    .*\n)+", (Path(bare) / ".plan").read_text(), re.MULTILINE)
    assert "threads: 2" in block  # of --cores 2


def test_a_thousand_fine_tuning_runs_share_one_baseline_and_one_calibration(bare):
    sweep = {"methods": ["wanda", "magnitude", "taylor", "coverage", "fpgm"], "ratio": [0.1, 0.2, 0.3, 0.4, 0.5]}
    names = [f"sweep{number}" for number in range(4)]
    for number, name in enumerate(names):
        pruning = {**sweep, "scope": ("layerwise", "global")[number % 2], "steps": 1 + number // 2}
        beside(bare, name, pruning=pruning, seeds=list(range(10)))
    chain.write(bare, "config.yaml", {"scenarios": names})
    planned = chain.plan(bare)
    counts = {rule: sum(job.split()[0] == rule for job in planned) for rule in ("finetune", "prune", "benchmark")}
    assert counts == {"finetune": 1000, "prune": 100, "benchmark": 4}
    assert {"dataset", "baseline", "calibrate"} <= planned
