"""`match: latency`, with a clock whose times are known: what is asked for is what is gone, or a line says why not."""

import copy
import json

import known_times
import numpy as np
import pytest
import torch
from known_times import CLASSES, SHAPE, known_clock, resnet

from budama.errors import BudamaError
from budama.jobs import code_digest
from budama.pruning import by_time, gram, layer_times, pruner
from budama.pruning.time_table import TimeTable
from budama.settings import contradictions

pytestmark = pytest.mark.usefixtures("one_thread")
IMAGES = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def measured():
    """layer_times.json of the small ResNet on the known machine."""
    with known_clock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer_times, "POINTS", 5)
        return json.loads(json.dumps(layer_times.of_model(resnet(), SHAPE, CLASSES, {}, known_times.TIMING)))


def prune(measured, ratio, **asked):
    settings = {"ratio": ratio, "match": "latency", "layer_times": measured, **asked}
    net = resnet()
    return net, pruner.prune(
        net, SHAPE, CLASSES, "magnitude", settings, moments=lambda of: gram.moments(of.model, of.groups, [IMAGES])
    )


def test_the_table_gives_a_layers_time_at_every_width(measured):
    table = TimeTable(measured)
    layer = table.layers["stage2.0.conv1"]
    for inputs, outputs in [(16, 32), (16, 31), (9, 20), (3, 5), (1, 2)]:
        truth = 0.02 + 2e-5 * 9 * inputs * outputs
        assert layer.ms(inputs, outputs) == pytest.approx(truth, rel=0.02)
    assert table.layers["stage2.0.bn1"].ms(0, 20) == pytest.approx(0.02 + 1e-4 * 20)


def test_only_what_can_shrink_is_in_the_table_and_layers_that_are_alike_have_the_same_times(measured):
    layers = measured["layers"]
    assert layers["fc"]["by_outputs"] is None  # the classes stay
    assert next(map(int, layers["fc"]["by_inputs"])) == 64
    assert layers["conv1"]["by_inputs"] is None  # so do the images' colours
    assert layers["stage1.0.conv1"] == layers["stage1.0.conv2"]


def test_both_ends_of_the_table_are_those_that_were_measured(measured):
    table, net = TimeTable(measured), resnet()
    assert table.gone(table.whole) == 0
    assert table.gone(table.narrowest) == pytest.approx(table.most)
    with known_clock():
        _, pruned = prune(measured, 0.99 * table.most)
    assert known_times.gone(net, pruned.model) == pytest.approx(0.99 * table.most, abs=0.01)


def test_times_that_fall_where_a_layer_grows_are_levelled():
    measured = {"calls": 1, "least_ms": 0.1, "by_inputs": None}
    jagged = {"8": 1.0, "16": 2.0, "24": 1.5, "32": 3.0}
    from budama.pruning.time_table import _Layer

    layer = _Layer({**measured, "by_outputs": jagged})
    times = [layer.ms(0, width) for width in range(33)]
    assert np.all(np.diff(times) >= 0)
    assert (layer.ms(0, 16), layer.ms(0, 24), layer.ms(0, 32)) == (1.75, 1.75, 3.0)


@pytest.mark.parametrize("scope", ["layerwise", "global", "isomorphic", "sensitivity"])
def test_the_asked_share_of_time_goes(measured, scope):
    with known_clock():
        net, pruned = prune(measured, 0.4, scope=scope)
    truth = 100 * known_times.gone(net, pruned.model)
    assert truth == pytest.approx(40, abs=1)
    assert pruned.time["met"]
    assert pruned.time["achieved_percent"] == pytest.approx(truth, abs=1e-6)
    assert pruned.time["asked_percent"] == 40
    assert pruned.time["predicted_percent"] == pytest.approx(truth, abs=2)
    assert pruned.time["timed"] == len(pruned.time["trials"])


@pytest.mark.parametrize(
    "more",
    [{"steps": 2, "layers": {"stage3.*": 0.25}}, {"round_to": 2, "max_ratio": 0.6, "ignore": ["stage1.*"]}],
    ids=["steps and layers", "round_to, max_ratio and ignore"],
)
def test_it_goes_with_all_that_shapes_pruning(more):
    with known_clock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer_times, "POINTS", 2)
        own = layer_times.of_model(resnet(), SHAPE, CLASSES, more, known_times.TIMING)
        net, pruned = prune(own, 0.25, **more)
    assert 100 * known_times.gone(net, pruned.model) == pytest.approx(25, abs=1.5)
    widths = {layer["name"]: (layer["before"], layer["after"]) for layer in pruned.layers if layer["name"] != "fc"}
    if "layers" in more:
        assert widths["stage3.0.conv1"] == (64, 48)
    else:
        assert all(after % 2 == 0 and after >= 0.4 * before for before, after in widths.values())
        assert widths["stage1.0.conv1"] == (16, 16)


def test_what_the_table_does_not_know_is_corrected_by_timing_the_whole_model(measured):
    """The whole model is slower than its layers say, and the more so the narrower it is: the prediction is off by
    points, the result is not."""
    wrong = copy.deepcopy(measured)
    for layer in wrong["layers"].values():
        for side in ("by_inputs", "by_outputs"):
            if layer[side]:
                widest = max(map(int, layer[side]))
                layer[side] = {w: ms * (int(w) / widest) ** 2 for w, ms in layer[side].items()}
    with known_clock():
        net, pruned = prune(wrong, 0.3)
    assert abs(pruned.time["trials"][0]["gone"] - 0.3) > 0.03
    assert known_times.gone(net, pruned.model) == pytest.approx(0.3, abs=0.01)
    assert pruned.time["timed"] > 1


def test_a_result_that_hit_by_chance_is_timed_again(measured):
    """The first timing of every copy is off; the second, in an order of its own, is not, and is what is told."""
    table = TimeTable(measured)
    runs = []

    def stopwatch(model, seed):
        runs.append(seed)
        with known_clock(lambda one: 1.0 if seed % 2 or by_width(one) else 0.97):
            return original(model, seed)

    def by_width(one):
        return known_times.milliseconds(one) == pytest.approx(known_times.milliseconds(resnet()))

    whole = by_time.WorkingCopy(resnet(), by_time_original())
    budget = by_time.TimeBudget.of(whole, pruner.limits(whole, {}), measured)
    original = budget.stopwatch
    object.__setattr__(budget, "stopwatch", stopwatch)
    from budama.pruning import allocation, selection

    removals = selection.layerwise(whole.groups, allocation.no_scores(whole.groups), budget.limits.free)
    found, _ = budget.meet(whole, removals, 0.3, uniform=True, last=True)
    assert len(set(runs)) == len(runs) >= 2
    assert budget.timed["achieved_percent"] == pytest.approx(100 * known_times.gone(resnet(), found.model), abs=1e-6)
    assert table.most > 0.3


def by_time_original():
    from budama.pruning.working_copy import Original

    return Original.of(resnet(), SHAPE, CLASSES, ())


@pytest.mark.parametrize(
    ("ratio", "line"),
    [
        (0.005, "pruning.ratio 0.005 of latency is within what timing can tell here (±0.010), at batch size 1; "
                "it can be from 0.02 to 0.77"),
        (0.9, "pruning.ratio 0.9 of latency is out of reach on this machine, at batch size 1; "
              "it can be from 0.02 to 0.77"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_or_reached_is_refused_with_what_can(measured, ratio, line):
    with known_clock(), pytest.raises(BudamaError) as refused:
        prune(measured, ratio)
    assert list(refused.value.lines) == [line]


def test_noise_of_the_machine_is_what_a_target_must_exceed(measured):
    noisy = {**measured, "aa": {"ratio": 1.02, "interval": [0.97, 1.06]}}
    with pytest.raises(
        BudamaError, match=r"0\.05 of latency is within what timing can tell here \(±0\.060\).*from 0\.07"
    ):
        by_time.check_reach(TimeTable(noisy), 0.05)
    by_time.check_reach(TimeTable(noisy), 0.08)


def test_a_model_that_pruning_makes_no_faster_is_told():
    slow = {"batch_size": 1, "layers": {}, "aa": {"ratio": 1, "interval": [0.98, 1.02]}}
    slow["narrowest"] = {"ratio": 0.99, "interval": [0.98, 1.0]}
    with pytest.raises(BudamaError, match=r"no pruning within the limits makes the model faster by more than 1\.0 %"):
        by_time.check_reach(TimeTable(slow), 0.2)


def test_a_table_of_another_model_is_refused(measured):
    other = {**measured, "layers": {"body.conv": measured["layers"]["conv1"]}}
    with pytest.raises(BudamaError, match=r"^layer_times\.json is of another model: it has body\.conv"):
        prune(other, 0.3)


def test_pruning_without_a_table_is_told_in_one_line():
    import prune as stage

    with pytest.raises(BudamaError, match=r"^pruning\.match is latency: --layer-times must name the file"):
        stage.times_of_layers(None)


def test_a_multiple_that_is_looked_for_does_not_go_with_time():
    document = {
        "scenario": "s",
        "pruning": {"methods": ["magnitude"], "ratio": 0.3, "match": "latency", "round_to": "auto"},
    }
    assert list(contradictions.find(document, "scenario", [])) == [
        "pruning.round_to is auto, but pruning.match is latency, which looks for widths by their time; it must be null "
        "or a number"
    ]
    document["pruning"]["round_to"] = 8
    assert not list(contradictions.find(document, "scenario", []))


def test_code_that_matches_time_makes_stale_what_matches_time_alone():
    assert "budama.pruning.by_time" in code_digest.unneeded({"match": "macs"})
    assert "budama.pruning.by_time" not in code_digest.unneeded({"match": "latency"})
    timed, plain = (
        code_digest.modules("prune", (*code_digest.OUTSIDE, *out)) for out in ((), ("budama.pruning.by_time",))
    )
    assert {"by_time.py", "time_table.py", "latency.py", "stopwatch.py"} <= {path.name for path in timed - plain}
    assert plain < timed
