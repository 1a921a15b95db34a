"""Configuration files: what is read, and what each stage gets of it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from configurations import BASELINE, SCENARIO, edited

import config_readme
from budama.data import catalogue
from budama.errors import BudamaError
from budama.settings import schema, stages, yamlfile

ROOT = Path(__file__).parents[1]


def test_two_files_with_one_scenario_name_are_refused(folder):
    shutil.copy("config/scenarios/s.yaml", "config/scenarios/z.yaml")
    with pytest.raises(BudamaError) as caught:
        stages.find_scenarios()
    assert caught.value.lines == [
        "config/scenarios/z.yaml: scenario is first, as in config/scenarios/s.yaml; it must be another name"
    ]


def test_broken_file_does_not_keep_others_from_running(folder):
    Path("config/scenarios/broken.yaml").write_text("scenario: [")
    assert [scenario.name for scenario in stages.chosen_scenarios({"scenarios": "first"})] == ["first"]
    assert stages.find_scenarios()["broken"] == Path("config/scenarios/broken.yaml")


def test_turkish_letters_are_fine_in_names(folder):
    Path("config/baselines/küçük.yaml").write_text(BASELINE.replace("small", "küçük"))
    Path("config/scenarios/ş.yaml").write_text(edited(SCENARIO, {"scenario": "İğne-çıkış_2.0", "baseline": "küçük"}))
    scenario = stages.chosen_scenarios({"scenarios": ["İğne-çıkış_2.0"]})[0]
    assert stages.stage_settings("aggregate", scenario)["baseline"] == "küçük"


def test_numbers_are_read_as_people_write_them(tmp_path):
    path = tmp_path / "n.yaml"
    path.write_text("a: 1e-3\nb: 010\nc: no\nd: 1:30\ne: 2024-01-01\nf: .nan\ng: 1e999\nh: '1'\ni:\non: -.5\n")
    assert yamlfile.read(path) == {
        "a": 0.001, "b": 10, "c": "no", "d": "1:30", "e": "2024-01-01",
        "f": ".nan", "g": "1e999", "h": "1", "i": None, "on": -0.5,
    }  # fmt: skip


def test_empty_section_has_its_defaults(folder):
    Path("config/scenarios/s.yaml").write_text(SCENARIO + "benchmark:\nreport:\n")
    scenario = stages.load_scenario("config/scenarios/s.yaml")
    assert scenario.benchmark["rounds"] == 30
    assert scenario.report == {"language": "tr", "decimal": None, "latency_limit_ms": None, "compare_with": []}


def test_changed_file_is_read_anew(folder):
    path = Path("config/scenarios/s.yaml")
    assert stages.load_scenario(path).pruning["ratio"] == 0.3
    path.write_text(SCENARIO.replace("0.3", "0.25"))
    assert stages.load_scenario(path).pruning["ratio"] == 0.25


def test_every_stage_gets_exactly_the_keys_that_it_reads(folder):
    scenario = stages.load_scenario("config/scenarios/s.yaml")
    got = {
        stage: set(stages.stage_settings(stage, scenario, variant="wanda"))
        for stage in (*stages.BASELINE_STAGES, *stages.SCENARIO_STAGES)
    }
    assert got == {
        "dataset": {"data", "seed"},
        "widths": {"layer"},
        "layer_times": {"model", "data", "pruning", "timing"},
        "baseline": {"model", "train", "seed", "augment"},
        "calibrate": {"calibration", "seed"},
        "prune": {
            "method", "ratio", "scope", "steps", "match", "round_to", "ignore", "max_ratio", "reestimate_batchnorm",
            "calibration", "seed",
        },
        "finetune": {"finetune", "seed", "method"},
        "benchmark": {"benchmark", "variants"},
        "export": {"export"},
        "aggregate": {
            "scenario", "title", "baseline", "model", "data", "pruning", "finetune", "calibration", "seeds", "variants",
            "recorded",
        },
        "report": {"report", "scenario"},
        "preview": {"model", "data", "pruning"},
        "preview_page": {"report", "title"},
    }  # fmt: skip


@pytest.mark.parametrize(("precisions", "images"), [(["int8"], 25600), (["float32", "float16"], None)])
def test_calibration_images_reach_exports_only_where_int8_is_asked_for(folder, precisions, images):
    changes = {"export.formats": ["onnx"], "export.precisions": precisions}
    Path("config/scenarios/s.yaml").write_text(edited(SCENARIO, changes))
    scenario = stages.load_scenario("config/scenarios/s.yaml")
    assert stages.stage_settings("export", scenario).get("calibration_images") == images


@pytest.mark.parametrize(("written", "given"), [("one_pass", "one_pass"), ("sequential", "sequential"), ("off", None)])
def test_compensation_reaches_pruning_only_where_it_is_asked_for(folder, written, given):
    Path("config/scenarios/s.yaml").write_text(edited(SCENARIO, {"pruning.compensate": written}))
    scenario = stages.load_scenario("config/scenarios/s.yaml")
    assert stages.stage_settings("prune", scenario, variant="wanda").get("compensate") == given


@pytest.mark.parametrize(("written", "given"), [({"layer1.*": 0.5}, {"layer1.*": 0.5}), ({}, None), (None, None)])
def test_ratios_of_single_layers_reach_pruning_only_where_there_are_some(folder, written, given):
    Path("config/scenarios/s.yaml").write_text(edited(SCENARIO, {"pruning.layers": written}))
    scenario = stages.load_scenario("config/scenarios/s.yaml")
    assert stages.stage_settings("prune", scenario, variant="wanda").get("layers") == given


def test_seed_reaches_pruning_only_where_it_decides_it(folder):
    scenario = stages.load_scenario("config/scenarios/s.yaml")
    wanda, random = stages.variants(scenario)
    assert stages.stage_settings("prune", scenario, variant=wanda, seed=7)["seed"] == 0
    assert stages.stage_settings("prune", scenario, variant=random, seed=7)["seed"] == 7
    assert stages.stage_settings("finetune", scenario, variant="wanda", seed=7)["seed"] == 7
    assert (stages.place(wanda, 7), stages.place(random, 7)) == ("wanda", "random/seed-7")


def test_list_of_ratios_makes_a_grid_of_variants(folder):
    Path("config/scenarios/s.yaml").write_text(edited(SCENARIO, {"pruning.ratio": [0.1, 0.25], "seeds": [3, 4]}))
    scenario = stages.load_scenario("config/scenarios/s.yaml")
    assert [variant.name for variant in stages.variants(scenario)] == [
        "wanda-0.1",
        "random-0.1",
        "wanda-0.25",
        "random-0.25",
    ]
    assert stages.stage_settings("prune", scenario, variant="wanda-0.25")["ratio"] == 0.25
    assert ["random-0.1", 4] in stages.stage_settings("benchmark", scenario)["variants"]


@pytest.mark.parametrize(
    ("stage", "arguments", "line"),
    [
        (
            "prun",
            {},
            "prun is not a stage; known are dataset, baseline, calibrate, "
            "prune, finetune, widths, layer_times, benchmark, export, aggregate, report, preview, preview_page",
        ),
        ("prune", {"variant": "wand"}, "config/scenarios/s.yaml: has no variant wand; did you mean wanda?"),
        ("prune", {}, "config/scenarios/s.yaml: which variant? known are wanda, random"),
        ("finetune", {"variant": "wanda", "seed": -1}, "the seed is -1; it must be 0 or more"),
    ],
)  # fmt: skip
def test_wrong_question_about_settings_is_told_in_one_line(folder, stage, arguments, line):
    scenario = stages.load_scenario("config/scenarios/s.yaml")
    with pytest.raises(BudamaError) as caught:
        stages.stage_settings(stage, scenario, **arguments)
    assert caught.value.lines == [line]


def test_settings_are_a_copy(folder):
    scenario = stages.load_scenario("config/scenarios/s.yaml")
    stages.stage_settings("finetune", scenario, variant="wanda")["finetune"]["epochs"] = 99
    assert stages.load_scenario("config/scenarios/s.yaml").finetune["epochs"] == 2


def test_every_data_set_of_the_schema_is_known_and_every_known_one_is_in_it():
    names = schema.load("baseline")["properties"]["data"]["properties"]["name"]["enum"]
    assert set(names) == set(catalogue.SOURCES)


def test_every_key_of_every_schema_is_explained_and_has_bounds():
    def walk(part, name):
        for key, inner in part.get("properties", {}).items():
            where = f"{name}.{key}"
            assert inner.get("description", "").strip().endswith("."), where
            types = inner.get("type", [])
            if {"integer", "number"} & set([types] if isinstance(types, str) else types):
                assert {"minimum", "exclusiveMinimum"} & set(inner), where
                assert {"maximum", "exclusiveMaximum"} & set(inner), where
            if "properties" in inner:
                assert inner["additionalProperties"] is False, where
            elif key not in part.get("required", []) + part.get("then", {}).get("required", []):
                assert "default" in inner, where
            walk(inner, where)

    for name in ("scenario", "baseline", "training", "config", "recorded"):
        assert schema.load(name)["additionalProperties"] is False
        walk(schema.load(name), name)


def test_readme_of_the_configuration_is_up_to_date():
    assert (ROOT / "config/README.md").read_text("utf-8") == config_readme.render(), (
        "config/README.md is stale: python workflow/scripts/config_readme.py"
    )


def test_every_shipped_scenario_is_valid_and_gives_every_stage_its_settings(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = stages.find_scenarios("config")
    for name, scenario in zip(found, stages.chosen_scenarios({"scenarios": list(found)})):
        run = stages.RECORDED_STAGES if scenario.recorded else (*stages.BASELINE_STAGES, *stages.SCENARIO_STAGES)
        for stage in run:
            json.dumps(stages.stage_settings(stage, scenario, variant=stages.variants(scenario)[0]), allow_nan=False)
        assert scenario.name == name
    assert {
        "demo",
        "fashion_mnist",
        *(f"TS{n}" for n in range(1, 7)),
        *(f"TS{n}-recorded" for n in range(2, 7)),
    } <= set(found)


def test_recorded_scenario_carries_the_reference_numbers(monkeypatch):
    monkeypatch.chdir(ROOT)
    scenario = stages.load_scenario("config/scenarios/ts3_recorded.yaml")
    settings = stages.stage_settings("aggregate", scenario)
    assert settings["recorded"]["baseline"]["accuracy_percent"] == 78.59
    assert settings["recorded"]["methods"]["magnitude"]["accuracy_percent"] == 75.55
    assert settings["recorded"]["timings_comparable"] is False
    assert settings["variants"][0] == {"name": "coverage", "method": "coverage", "ratio": 0.1}
    with pytest.raises(
        BudamaError, match=r"ts3_recorded\.yaml: its results were recorded elsewhere; there is no prune to run"
    ):
        stages.stage_settings("prune", scenario, variant="wanda")


def test_a_thousand_jobs_are_planned_reading_each_file_once(folder, monkeypatch):
    ratios = [round(0.01 * (1 + n), 2) for n in range(50)]
    Path("config/scenarios/s.yaml").write_text(edited(SCENARIO, {"pruning.ratio": ratios, "seeds": list(range(10))}))
    parse, parsed = yamlfile._build, []
    monkeypatch.setattr(yamlfile, "_build", lambda text: parsed.append(text) or parse(text))
    jobs = 0
    for variant in stages.variants(stages.load_scenario("config/scenarios/s.yaml")):
        for seed in range(10):
            scenario = stages.load_scenario("config/scenarios/s.yaml")  # as a rule's function does, for every job anew
            stages.stage_settings("finetune", scenario, variant=variant, seed=seed)
            jobs += 1
    assert jobs == 1000
    assert 1 <= len(parsed) <= 4, "the scenario and its baseline, and the schemas of both, once each"


def test_configuration_is_read_without_torch():
    code = (
        "import sys, budama.jobs.command_line, budama.settings.stages;"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "workflow/scripts", check=True)
