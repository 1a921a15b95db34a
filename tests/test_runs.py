"""What Snakemake asks by name: settings, places of files and arguments, of a small configuration."""

import json

import pytest
from configurations import BASELINE, SCENARIO, edited, write

from budama.errors import BudamaError
from budama.jobs import code_digest, comparing, runs


@pytest.fixture(autouse=True)
def configuration(tmp_path, monkeypatch):
    """Scenarios `first` and `second` on the baseline `small`, and nothing remembered of another folder."""
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    forget()
    yield tmp_path / "config"
    forget()


def forget():
    runs.find_scenario.cache_clear()
    runs.find_baseline.cache_clear()


def change(configuration, **changes):
    text = edited(SCENARIO, {key.replace("__", "."): value for key, value in changes.items()})
    (configuration / "scenarios/s.yaml").write_text(text)
    forget()


def test_a_scenario_and_a_baseline_are_found_by_name():
    assert runs.find_scenario("first").path.name == "s.yaml"
    assert runs.find_baseline("small").path.as_posix() == "config/baselines/small.yaml"


def test_an_unknown_scenario_is_a_line_that_says_what_is_known():
    with pytest.raises(BudamaError, match="no file has the scenario frist; known are first, second"):
        runs.find_scenario("frist")


@pytest.mark.parametrize(
    ("wildcards", "names"),
    [
        ({"baseline": "small"}, ("small", None, None, None, None)),
        ({"scenario": "first"}, (None, "first", None, None, None)),
        ({"scenario": "first", "place": "wanda"}, (None, "first", "wanda", None, None)),
        ({"scenario": "first", "place": "random/seed-3"}, (None, "first", "random", 3, None)),
        ({"scenario": "first", "variant": "wanda-0.5", "seed": "0", "run": ""}, (None, "first", "wanda-0.5", 0, None)),
        (
            {"scenario": "first", "variant": "wanda", "seed": "0", "run": "/rate-1e-05"},
            (None, "first", "wanda", 0, 1e-5),
        ),
        ({}, (None, None, None, None, None)),
    ],
)
def test_a_path_names_a_baseline_or_a_scenario_with_variant_and_seed(wildcards, names):
    parts = ("baseline", "scenario", "variant", "seed", "rate")
    assert runs.named(wildcards) == dict(zip(parts, names, strict=True)) | {"turn": None}


def settings(*arguments, **keywords):
    return json.loads(runs.spec(*arguments, **keywords))["settings"]


def test_a_spec_has_the_settings_of_its_stage():
    assert settings("dataset", baseline="small").keys() == {"data", "seed"}
    assert settings("finetune", scenario="first", variant="wanda", seed=7)["seed"] == 7
    assert settings("prune", scenario="first", variant="wanda")["ratio"] == 0.3
    assert settings("index") == {}


def test_a_spec_changes_with_the_code_and_not_with_other_stages_settings(configuration):
    before = {stage: runs.spec(stage, scenario="first") for stage in ("benchmark", "aggregate")}
    change(configuration, title="Another title")
    after = {stage: runs.spec(stage, scenario="first") for stage in before}
    assert after["benchmark"] == before["benchmark"]
    assert after["aggregate"] != before["aggregate"]


def test_a_reports_spec_has_what_it_is_compared_with_as_it_is(tmp_path):
    other = tmp_path / "results.json"
    other.write_text("{}")
    before = runs.report_spec("first", [str(other)])
    other.write_text("[]")
    assert runs.report_spec("first", [str(other)]) != before
    assert runs.report_spec("first", []) == runs.spec("report", scenario="first")


def test_missing_images_are_a_line(configuration):
    data = {"data": {"name": "image_folder", "root": "photos"}}
    (configuration / "baselines/small.yaml").write_text(edited(BASELINE, data))
    with pytest.raises(BudamaError, match=r"config/baselines/small\.yaml: data\.root"):
        runs.check_users_files("small")


def test_nothing_is_an_input_where_the_users_files_are_there():
    assert runs.check_users_files("small") == []


def test_seeds_share_a_pruned_model_where_the_method_does_not_depend_on_them(configuration):
    change(configuration, seeds=[0, 1])
    assert runs.pruned("first", "pruning.json") == {
        "wanda/seed-0": "results/scenarios/first/wanda/pruning.json",
        "wanda/seed-1": "results/scenarios/first/wanda/pruning.json",
        "random/seed-0": "results/scenarios/first/random/seed-0/pruning.json",
        "random/seed-1": "results/scenarios/first/random/seed-1/pruning.json",
    }
    assert runs.of_pruned("first", "wanda", "1", "pruned") == "results/scenarios/first/wanda/pruned"
    assert len(runs.measured("first")["pruning"]) == 3


def test_every_variant_is_fine_tuned_with_every_seed(configuration):
    change(configuration, seeds=[0, 1], pruning__ratio=[0.3, 0.5])
    labels = [
        f"{method}-{ratio}/seed-{seed}" for ratio in (0.3, 0.5) for method in ("wanda", "random") for seed in (0, 1)
    ]
    assert list(runs.fine_tuned("first")) == labels
    assert runs.models("first") == [f"results/scenarios/first/{label}/model" for label in labels]
    assert runs.model_arguments("first")[0] == "wanda-0.3/seed-0=results/scenarios/first/wanda-0.3/seed-0/model"


def test_each_of_several_learning_rates_is_a_run_of_its_own_that_others_do_not_make_stale(configuration):
    change(configuration, finetune__learning_rate=[0.1, 0.01])
    run = {"scenario": "first", "variant": "wanda", "seed": 0}
    before = {rate: runs.spec("finetune", **run, rate=rate) for rate in (0.01, 0.1, None)}
    folder = "results/scenarios/first/wanda/seed-0"
    assert runs.tried(**run) == {"0.01": f"{folder}/rate-0.01", "0.1": f"{folder}/rate-0.1"}
    assert runs.tried_arguments(*run.values())[1:] == [f"0.01={folder}/rate-0.01", f"0.1={folder}/rate-0.1"]
    assert runs.tried_files(*run.values(), 0.1) == []
    change(configuration, finetune__learning_rate=[1, 0.01, 0.1])
    after = {rate: runs.spec("finetune", **run, rate=rate) for rate in (0.01, 0.1, None)}
    assert [rate for rate in before if before[rate] != after[rate]] == [None]
    with pytest.raises(BudamaError, match=r"s\.yaml: finetune\.learning_rate has no 0\.5; known are 0\.01, 0\.1, 1"):
        runs.spec("finetune", **run, rate=0.5)


def test_a_list_of_one_learning_rate_is_that_rate_and_the_order_of_a_list_decides_nothing(configuration):
    found = []
    for rates in (0.1, [0.1], [0.1, 0.2], [0.2, 0.1]):
        change(configuration, finetune__learning_rate=rates)
        found.append(runs.spec("finetune", scenario="first", variant="wanda", seed=0))
    assert found[0] == found[1] != found[2] == found[3]


def test_widths_are_measured_for_auto_alone(configuration):
    assert runs.measured_widths("first") == runs.width_arguments("first") == []
    change(configuration, pruning__round_to="auto")
    assert runs.width_arguments("first") == ["--widths", "results/scenarios/first/widths.json"]


def test_exports_are_products_where_they_are_asked_for(configuration):
    seeds = "results/scenarios/first/wanda/seed-0"
    assert f"{seeds}/model" in runs.products(["first"])
    assert f"{seeds}/export" not in runs.products(["first"])
    change(configuration, export__formats=["onnx"])
    assert f"{seeds}/export" in runs.products(["first"])
    assert f"wanda/seed-0={seeds}/export" in runs.measured_arguments("first")
    assert f"wanda/seed-0={seeds}/export" in runs.exported_arguments("first")
    assert f"{seeds}/export" in runs.exported_files("first")
    change(configuration, export__formats=["torch_export"])
    assert runs.exported_arguments("first") == runs.exported_files("first") == []
    assert f"wanda/seed-0={seeds}/export" in runs.measured_arguments("first")


def test_products_are_reports_tables_and_models_of_every_scenario_and_one_index():
    products = runs.products(["first", "second"])
    assert products.count("reports/index.html") == 1
    for name in ("first", "second"):
        assert {f"reports/{name}/ozet_rapor.pdf", f"results/scenarios/{name}/results.csv"} <= {*products}


def test_all_that_was_measured_is_an_argument():
    arguments = runs.measured_arguments("first")
    paths = {argument.partition("=")[2] or argument for argument in arguments}
    for path in (path for paths in runs.measured("first").values() for path in paths):
        assert path in paths or path.rpartition("/")[0] in paths


def test_of_recorded_results_nothing_is_measured(recorded):
    assert runs.measured(recorded) == {}
    assert runs.measured_arguments(recorded) == []
    assert settings("aggregate", scenario=recorded)["recorded"]
    with pytest.raises(BudamaError, match="recorded elsewhere"):
        runs.of_baseline(recorded, "model")


@pytest.fixture
def recorded(configuration) -> str:
    """A scenario whose results were recorded elsewhere."""
    from reports import ROOT

    text = (ROOT / "config/scenarios/recorded/ts2.json").read_text().replace("TS2", "elsewhere")
    (configuration / "scenarios/elsewhere.json").write_text(text)
    (configuration / "scenarios/elsewhere.yaml").write_text("scenario: elsewhere\nrecorded: elsewhere.json\n")
    return "elsewhere"


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        ([], {"chosen"}),
        (["all"], {"chosen"}),
        (["reports/a/ozet_rapor.pdf", "results/scenarios/b/results.json"], {"a", "b"}),
        (["report:scenario=a"], {"a"}),
        (["finetune:scenario=a,variant=wanda,seed=0"], {"a"}),
    ],
)
def test_a_run_is_for_the_scenarios_that_its_targets_name(targets, names):
    assert comparing.asked_for(targets, ["chosen"]) == names


def test_a_report_is_compared_with_what_this_run_makes_and_with_what_is_there(configuration, recorded, tmp_path):
    change(configuration, report__compare_with=["second", recorded])
    others = [f"results/scenarios/{name}/results.json" for name in ("second", recorded)]
    assert comparing.compared("first", {"first", "second"}) == (others, [])
    assert comparing.compared("first", {"first"}) == (others[1:], [])
    (tmp_path / others[0]).parent.mkdir(parents=True)
    (tmp_path / others[0]).write_text("{}")
    assert comparing.compared("first", {"first"}) == (others[1:], others[:1])


@pytest.mark.parametrize("module", ["runs", "failures"])
def test_how_a_run_is_planned_is_in_no_stages_digest(module):
    for script in code_digest.SCRIPTS.glob("*.py"):
        assert code_digest.PACKAGE / f"jobs/{module}.py" not in code_digest.modules(script.stem)


def test_the_page_over_all_scenarios_writes_numbers_as_their_reports_do_where_these_agree(configuration):
    change(configuration, report__decimal=".")
    assert runs.index_arguments(["first"]) == ["--language", "tr", "--decimal", "."]
    assert runs.index_arguments(["first", "second"]) == ["--language", "tr"]
    change(configuration, report__language="en")
    assert runs.index_arguments(["first"]) == ["--language", "en"]
    assert runs.index_arguments([]) == []
