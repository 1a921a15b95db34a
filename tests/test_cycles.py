"""Pruning in turns, of a model trained in between: the asked share of the unpruned model, and which channels."""

import json
from pathlib import Path

import pytest
import torch
from configurations import SCENARIO, edited, told, write
from reports import said, single

from budama.jobs import runs
from budama.networks import models
from budama.pruning import pruner
from budama.settings import stages

RESNET = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 14}, "weights": None}
SHAPE, CLASSES = (3, 16, 16), 10


def in_turns(turns, trained=lambda model: None, **settings):
    """The turns' prunings by magnitude; `trained` changes the weights after each."""
    whole = models.build(RESNET, CLASSES, SHAPE, seed=1)
    model, kept, found = whole, None, []
    asked = {"scope": "layerwise", "match": "channels", "max_ratio": 0.95, **settings}
    for turn in range(1, turns + 1):
        done = pruner.prune(
            model, SHAPE, CLASSES, "magnitude", {**asked, "turn": turn, "turns": turns},
            whole=whole if turn > 1 else None, kept=kept,
        )  # fmt: skip
        model, kept = done.model, done.kept
        found.append(done)
        trained(model)
    return whole, found


def noise(model):
    """What training does, as far as pruning is concerned: all weights are others."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("scope", ["layerwise", "global"])
@pytest.mark.parametrize("match", ["channels", "macs", "parameters"])
def test_the_last_turn_reaches_the_share_of_the_unpruned_model_that_was_asked_for(scope, match):
    whole, found = in_turns(3, noise, ratio=0.6, scope=scope, match=match)
    reached = [one.achieved[match] for one in found]
    assert reached[-1] == pytest.approx(0.6, abs=0.02 if match == "channels" else 0.005)
    assert reached[:-1] == pytest.approx([0.2, 0.4], abs=0.05)
    parameters = [sum(one.numel() for one in model.parameters()) for model in (whole, found[-1].model)]
    assert found[-1].achieved["parameters"] == pytest.approx(1 - parameters[1] / parameters[0])


@pytest.mark.parametrize("options", [{"round_to": 8, "ratio": 0.5}, {"steps": 2, "ratio": 0.6}])
def test_rounding_and_steps_hold_in_turns(options):
    whole, found = in_turns(2, noise, **options)
    assert found[-1].achieved["channels"] == pytest.approx(options["ratio"], abs=0.05)
    for layer in found[-1].layers:
        assert layer["after"] % options.get("round_to", 1) == 0 or layer["name"] == "fc"
        assert layer["before"] == dict(whole.named_modules())[layer["name"]].weight.shape[0]


def test_channels_are_told_as_those_of_the_unpruned_model():
    """Weights that no training changed are those of the channels that `kept` names."""
    whole, found = in_turns(3, ratio=0.6)
    last, before, checked = found[-1], dict(whole.named_modules()), 0
    for name, module in last.model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.Conv2d) and name in last.kept:
            inputs = dict(before)[name].weight[last.kept[name]]
            if module.weight.ndim == 1 or module.weight.shape[1] == inputs.shape[1]:
                assert torch.equal(module.weight, inputs)
                checked += 1
    assert checked
    once = in_turns(1, ratio=0.6)[1][0]
    assert {name: len(kept) for name, kept in last.kept.items()} == {n: len(kept) for n, kept in once.kept.items()}


# --- settings and places ---


@pytest.fixture
def configuration(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    runs.find_scenario.cache_clear()
    runs.find_baseline.cache_clear()
    yield Path("config/scenarios/s.yaml")
    runs.find_scenario.cache_clear()
    runs.find_baseline.cache_clear()


def change(path, **changes):
    path.write_text(edited(SCENARIO, {key.replace("__", "."): value for key, value in changes.items()}))
    runs.find_scenario.cache_clear()
    return stages.load_scenario(path)


@pytest.mark.parametrize(
    ("cycles", "epochs", "shares"), [(1, 7, [7]), (2, 7, [3, 4]), (3, 7, [2, 2, 3]), (3, 9, [3, 3, 3]), (3, 3, [1] * 3)]
)
def test_epochs_are_shared_out_and_the_last_turn_gets_the_rest(configuration, cycles, epochs, shares):
    scenario = change(configuration, pruning__cycles=cycles, finetune__epochs=epochs)
    found = [stages.stage_settings("finetune", scenario, variant="wanda", turn=turn + 1) for turn in range(cycles)]
    assert [one["finetune"]["epochs"] for one in found] == shares
    assert stages.stage_settings("finetune", scenario, variant="wanda") == found[-1]


def test_one_cycle_changes_no_spec(configuration):
    specs = [
        {stage: runs.spec(stage, scenario="first", variant="wanda", seed=0) for stage in ("prune", "finetune")}
        for cycles in (..., 1)
        if change(configuration, **({} if cycles is ... else {"pruning__cycles": cycles}))
    ]
    assert specs[0] == specs[1]
    assert "turn" not in json.loads(specs[0]["prune"])["settings"]


def test_each_turn_lies_in_a_folder_of_its_own_and_prunes_what_the_one_before_trained(configuration):
    change(configuration, pruning__cycles=3, finetune__epochs=3, seeds=[0, 1])
    folder = "results/scenarios/first"
    assert runs.pruned("first", "pruned")["wanda/seed-1"] == f"{folder}/wanda/seed-1/pruned"
    assert runs.of_pruned("first", "wanda", "1", "pruned", 1) == f"{folder}/wanda/turn-1/pruned"
    assert runs.of_pruned("first", "wanda", "1", "pruned", 2) == f"{folder}/wanda/seed-1/turn-2/pruned"
    assert runs.of_pruned("first", "random", "1", "pruned", 1) == f"{folder}/random/seed-1/turn-1/pruned"
    assert runs.trained_before("first", "wanda", None, 1) == []
    assert runs.trained_before("first", "wanda", 1, 2) == [f"{folder}/wanda/seed-1/turn-1/model"]
    assert runs.trained_before("first", "wanda", 1) == [f"{folder}/wanda/seed-1/turn-2/model"]
    named = runs.named({"scenario": "first", "variant": "wanda", "seed": "1", "run": "/turn-2/rate-0.1"})
    assert (named["seed"], named["turn"], named["rate"]) == (1, 2, 0.1)
    named = runs.named({"scenario": "first", "place": "wanda/turn-1"})
    assert (named["variant"], named["seed"], named["turn"]) == ("wanda", None, 1)


def test_scratch_is_trained_once(configuration):
    scenario = change(configuration, pruning__cycles=3, finetune__epochs=3, pruning__methods=["scratch", "wanda"])
    assert stages.stage_settings("finetune", scenario, variant="scratch")["finetune"]["epochs"] == 3
    assert runs.of_pruned("first", "scratch", 0, "pruned") == "results/scenarios/first/scratch/seed-0/pruned"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"pruning.cycles": 3},
            "pruning.cycles is 3, but finetune.epochs is 2; each turn must have an epoch",
        ),
        ({"pruning.cycles": 0}, "pruning.cycles is 0; it must be between 1 and 100"),
        (
            {"pruning.cycles": 2, "finetune.epochs": 5, "finetune.warmup_epochs": 3},
            "finetune.warmup_epochs is 3, but a turn of pruning.cycles 2 has 2 epochs; it must be at most that",
        ),
        (
            {"pruning.cycles": 1, "finetune.warmup_epochs": 3},
            "finetune.warmup_epochs is 3, but finetune.epochs is 2; it must be at most that",
        ),
    ],
)
def test_cycles_that_cannot_be_are_told_in_one_line(configuration, changes, line):
    configuration.write_text(edited(SCENARIO, changes))
    assert told(stages.load_scenario, configuration) == [f"config/scenarios/s.yaml: {line}"]


@pytest.mark.parametrize(("code", "words"), [("tr", "3 turda"), ("en", "in 3 turns")])
def test_reports_say_in_how_many_turns(code, words):
    content = single()
    assert words not in said(content, code=code)
    content["pruning"]["cycles"] = 3
    assert words in said(content, code=code)
