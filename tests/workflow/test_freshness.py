"""Only what is stale runs again, and everything that is stale does.

The table below is the promise: an edit, and exactly the jobs that Snakemake plans after it on a finished run. The run
is of `small` (methods wanda and random, seed 0, on the baseline `digits`) and of `elsewhere`, whose results were
recorded and with which `small` compares itself.
"""

import chain
import pytest
import yaml
from edits import all_of, append, install, put, remove, reorder, replace, touch, with_old_time

INDEX = {"index"}
REPORT = {"report"} | INDEX
AGGREGATE = {"aggregate"} | REPORT
BENCHMARK = {"benchmark"} | AGGREGATE
FINETUNE = {"finetune wanda/seed-0", "finetune random/seed-0"} | BENCHMARK
PRUNE = {"prune wanda", "prune random/seed-0"} | FINETUNE
CALIBRATE = {"calibrate"} | PRUNE
BASELINE = {"baseline"} | CALIBRATE
EVERYTHING = {"dataset"} | BASELINE
EXPORT = {"export_original", "export wanda/seed-0", "export random/seed-0"} | AGGREGATE
WANDA = {"prune wanda", "finetune wanda/seed-0"} | BENCHMARK
REPORTS = {"report elsewhere"} | REPORT
ELSEWHERE = {"aggregate elsewhere"} | REPORTS
NOTHING = set()

BASE, SCENARIO, RUN = "baselines/digits.yaml", "scenarios/small.yaml", "config.yaml"
CODE, RESULTS = "workflow/scripts/budama", "results/scenarios/small"
EXAMPLE = f"{CODE}/networks/load_example.py.j2"


# --- edits -----------------------------------------------------------------------------------------------------------


def scenario_beside(name, **changes):
    """A new scenario like `small`, which config.yaml asks for too."""

    def edit(folder):
        content = yaml.safe_load((folder / "config" / SCENARIO).read_text())
        chain.write(folder, f"scenarios/{name}.yaml", {**content, "scenario": name, **changes})
        put(RUN, "scenarios", ["small", "elsewhere", name])(folder)

    return edit


def of(name, jobs):
    """The same jobs for another scenario; the index is one for all."""
    return {" ".join([(parts := job.split(" "))[0], name, *parts[1:]]) for job in jobs - INDEX} | (jobs & INDEX)


CHANGE = "\n\nCHANGED = True\n"
PRUNING = {"methods": ["wanda", "random"], "ratio": 0.3}

# --- the table -------------------------------------------------------------------------------------------------------

TABLE = [
    ("nothing", lambda folder: None, NOTHING),
    # the baseline file
    ("baseline: title", put(BASE, "title", "Small net"), AGGREGATE),
    ("baseline: model.arguments", put(BASE, "model.arguments.width", 12), BASELINE),
    ("baseline: data.selection", put(BASE, "data.selection", 0.2), EVERYTHING),
    ("baseline: data.test", put(BASE, "data.test", 0.3), EVERYTHING),
    ("baseline: data.image_size", put(BASE, "data.image_size", 16), EVERYTHING),
    ("baseline: data.augment", put(BASE, "data.augment", "none"), EVERYTHING),
    ("baseline: calibration.coverage_threshold", put(BASE, "calibration.coverage_threshold", 0.5), CALIBRATE),
    ("baseline: calibration.batches", put(BASE, "calibration.batches", 3), CALIBRATE),
    ("baseline: calibration in other batches", all_of(put(BASE, "calibration.batches", 4),
                                                      put(BASE, "calibration.batch_size", 32)), CALIBRATE),
    ("baseline: train.epochs", put(BASE, "train.epochs", 3), BASELINE),
    ("baseline: train.optimizer", put(BASE, "train.optimizer", "adamw"), BASELINE),
    ("baseline: seed", put(BASE, "seed", 1), EVERYTHING),
    ("baseline: a key given its default", put(BASE, "data.protocol", "full"), NOTHING),
    ("baseline: keys in another order", reorder(BASE), NOTHING),
    ("baseline: a comment", append(f"config/{BASE}", "# two epochs are enough\n"), NOTHING),
    # the scenario file: pruning
    ("pruning.ratio", put(SCENARIO, "pruning.ratio", 0.4), PRUNE),
    ("pruning.scope", put(SCENARIO, "pruning.scope", "global"), PRUNE),
    ("pruning.layers", put(SCENARIO, "pruning.layers", {"conv1": 0.5}), {*PRUNE, "preview"}),
    ("pruning.steps", put(SCENARIO, "pruning.steps", 2), PRUNE),
    ("pruning.match", put(SCENARIO, "pruning.match", "macs"), PRUNE),
    ("pruning.round_to", put(SCENARIO, "pruning.round_to", 2), PRUNE),
    ("pruning.round_to: auto, which is measured here", put(SCENARIO, "pruning.round_to", "auto"), {"widths"} | PRUNE),
    ("pruning.match: latency, which is measured here", put(SCENARIO, "pruning.match", "latency"),
     {"layer_times"} | PRUNE),
    ("pruning.ignore", put(SCENARIO, "pruning.ignore", ["*.conv1"]), {*PRUNE, "preview"}),
    ("pruning.max_ratio", put(SCENARIO, "pruning.max_ratio", 0.5), PRUNE),
    ("pruning.reestimate_batchnorm", put(SCENARIO, "pruning.reestimate_batchnorm", False), PRUNE),
    ("one more method", put(SCENARIO, "pruning.methods", ["wanda", "random", "magnitude"]),
     {"prune magnitude", "finetune magnitude/seed-0"} | BENCHMARK),
    ("one method fewer", put(SCENARIO, "pruning.methods", ["wanda"]), BENCHMARK),
    ("one more seed: random is pruned anew with each", put(SCENARIO, "seeds", [0, 1]),
     {"finetune wanda/seed-1", "prune random/seed-1", "finetune random/seed-1"} | BENCHMARK),
    ("another seed", put(SCENARIO, "seeds", [7]),
     {"finetune wanda/seed-7", "prune random/seed-7", "finetune random/seed-7"} | BENCHMARK),
    # the scenario file: the rest
    ("title", put(SCENARIO, "title", "A small one"), AGGREGATE),
    ("finetune.epochs", put(SCENARIO, "finetune.epochs", 2), FINETUNE),
    ("finetune.learning_rate", put(SCENARIO, "finetune.learning_rate", 0.02), FINETUNE),
    ("finetune.learning_rate: a list of the one", put(SCENARIO, "finetune.learning_rate", [0.01]), NOTHING),
    ("finetune.distill", put(SCENARIO, "finetune.distill", 0.5), FINETUNE),
    ("finetune: two values swapped", all_of(put(SCENARIO, "finetune.learning_rate", 0.9),
                                            put(SCENARIO, "finetune.momentum", 0.01)), FINETUNE),
    ("benchmark.rounds", put(SCENARIO, "benchmark.rounds", 4), BENCHMARK),
    ("export.formats", put(SCENARIO, "export.formats", ["onnx"]), EXPORT | BENCHMARK),
    ("report.language", put(SCENARIO, "report.language", "en"), REPORT),
    ("report.decimal", put(SCENARIO, "report.decimal", ","), REPORT),
    ("report.compare_with", put(SCENARIO, "report.compare_with", []), REPORT),
    ("scenario: keys in another order", reorder(SCENARIO), NOTHING),
    ("scenario: a comment", append(f"config/{SCENARIO}", "# a comment\n"), NOTHING),
    ("the recorded results", replace("config/scenarios/elsewhere.json", r'"date": "[^"]*"|"finetune_epochs": \d+',
                                     '"finetune_epochs": 99'), ELSEWHERE | REPORT),
    # which scenarios
    ("a new scenario on the same baseline", scenario_beside("wide", seeds=[3]),
     of("wide", {"prune wanda", "prune random/seed-3", "finetune wanda/seed-3", "finetune random/seed-3"} | BENCHMARK)),
    ("a new scenario, not asked for", all_of(scenario_beside("wide"), put(RUN, "scenarios", ["small", "elsewhere"])),
     NOTHING),
    ("one scenario fewer", put(RUN, "scenarios", ["small"]), INDEX),
    # code
    ("code: a comment", append(f"{CODE}/training/loop.py", "\n# a comment\n"), NOTHING),
    ("code: a docstring", replace(f"{CODE}/training/loop.py", r'"""', '"""Also: '), NOTHING),
    ("code: layout", replace(f"{CODE}/training/loop.py", r"\n\n\n", "\n\n\n\n\n"), NOTHING),
    ("code: a change in training", append(f"{CODE}/training/loop.py", CHANGE), BASELINE),
    ("code: a change that keeps the file's time", with_old_time(append(f"{CODE}/training/loop.py", CHANGE),
                                                                f"{CODE}/training/loop.py"), BASELINE),
    ("code: a change in pruning", append(f"{CODE}/pruning/pruner.py", CHANGE), PRUNE),
    ("code: a change in how time is matched, which is not asked for", append(f"{CODE}/pruning/by_time.py", CHANGE),
     NOTHING),
    ("code: a change in how time is taken", append(f"{CODE}/measuring/latency.py", CHANGE), BENCHMARK),
    ("code: a change in calibration", append(f"{CODE}/pruning/calibration.py", CHANGE), CALIBRATE),
    ("code: a change in one criterion", append(f"{CODE}/pruning/criteria/data.py", CHANGE), PRUNE),
    ("code: a change in statistics", append(f"{CODE}/significance/differences.py", CHANGE), AGGREGATE | ELSEWHERE),
    ("code: a change in Turkish suffixes", append(f"{CODE}/reporting/turkish.py", CHANGE), REPORTS),
    ("code: a change in a module imported late", append(f"{CODE}/data/batching.py", CHANGE), BASELINE),
    ("code: a change in a stage's script", append("workflow/scripts/prune.py", CHANGE), PRUNE),
    ("code: a change in how configuration is checked", append(f"{CODE}/settings/schema.py", CHANGE), NOTHING),
    ("code: a change in how progress is shown", append(f"{CODE}/progress.py", CHANGE), NOTHING),
    ("a template of the report", append(f"{CODE}/reporting/templates/style.css", "\nb { color: red }\n"), REPORTS),
    ("an export's example, where nothing is exported", append(EXAMPLE, "\n# more\n"), NOTHING),
    ("the words of a schema", replace(f"{CODE}/settings/schemas/scenario.schema.yaml", "description: ", r"\g<0>Also "),
     NOTHING),
    ("a caption of snakemake --report", append("workflow/report/summary.rst", "More.\n"), NOTHING),
    ("every source touched", touch("workflow/**/*", "Snakefile", "config/**/*", "profiles/**/*"), NOTHING),
    # versions
    ("another torch", install("torch", "9.9"), EVERYTHING - {"dataset"}),
    ("another torch-pruning", install("torch-pruning", "9.9"), CALIBRATE),
    ("another scipy", install("scipy", "9.9"), BENCHMARK | ELSEWHERE),
    ("another typst", install("typst", "9.9"), REPORTS),
    ("another tqdm", install("tqdm", "9.9"), NOTHING),
    ("the lock as text", append("requirements.lock", "# a comment\n"), NOTHING),
    ("how jobs run", append("profiles/default/profile.yaml", "max-threads: 1\n"), NOTHING),
    ("an environment of conda, where conda is not used", append("envs/torch.yaml", "# a comment\n"), NOTHING),
    # results
    ("a result touched", touch("results/baselines/digits/*.*", f"{RESULTS}/*.json"), NOTHING),
    ("every result touched", touch("results/**/*"), NOTHING),
    ("a checkpoint removed", remove(f"{RESULTS}/wanda/seed-0/model"), {"finetune wanda/seed-0"} | BENCHMARK),
    ("a pruned checkpoint removed, whose fine-tuning is done", remove(f"{RESULTS}/wanda/pruned"), NOTHING),
    ("a pruned checkpoint removed, and what came of it", all_of(remove(f"{RESULTS}/wanda/pruned"),
                                                               remove(f"{RESULTS}/wanda/seed-0/model")), WANDA),
    ("a table removed", remove(f"{RESULTS}/results.csv"), AGGREGATE),
    ("a report removed", remove("reports/small/ozet_rapor.md"), REPORT),
    ("results changed by hand", replace(f"{RESULTS}/results.json", '"date": "2', '"date": "1'), REPORT),
]  # fmt: skip


def test_the_table_has_every_kind_of_edit():
    assert len(TABLE) >= 40
    assert len({name for name, _, _ in TABLE}) == len(TABLE)


@pytest.mark.parametrize(("edit", "jobs"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_runs_again(work, monkeypatch, edit, jobs):
    edit(work)
    monkeypatch.syspath_prepend(work / "installed")
    assert chain.plan(work) == jobs


@pytest.fixture(scope="module")
def exporting(finished, tmp_path_factory):
    """The same run with exports of both models."""
    folder = chain.copy(finished, tmp_path_factory.mktemp("exporting") / "work")
    put(SCENARIO, "export.formats", ["torch_export"])(folder)
    done = chain.run(folder)
    assert done.returncode == 0, done.stderr[-8000:]
    return folder


@pytest.mark.parametrize(
    ("edit", "jobs"),
    [
        (lambda folder: None, NOTHING),
        (append(EXAMPLE, "\n# more\n"), EXPORT),
        (append(f"{CODE}/networks/export.py", CHANGE), EXPORT),
        (append(f"{CODE}/reporting/templates/style.css", "\nb { color: red }\n"), REPORTS),
    ],
    ids=["nothing", "an export's example", "code of exports", "a template of the report"],
)
def test_runs_again_where_models_are_exported(exporting, tmp_path, edit, jobs):
    work = chain.copy(exporting, tmp_path / "work")
    edit(work)
    assert chain.plan(work) == jobs
