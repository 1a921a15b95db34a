"""Sensitivity curves: what readers miss at each width, as least squares has it, and what the report says of them."""

import copy
import dataclasses
import re

import pytest
import small_nets
import torch
from invented_run import measured as measured_run
from reports import said, sample, single
from test_compensation import NETS, duplicate
from torch import nn

from budama.pruning import calibration, curves, gram
from budama.pruning.surgeon import RIDGE, Reading, reading, reads
from budama.pruning.working_copy import Original, WorkingCopy
from budama.reporting import contract
from budama.reporting.sections import sensitivity
from budama.results import aggregation


def measured(net, seen=None):
    seen = seen or small_nets.batches(6, 16)
    statistics = calibration.collect(net, seen, threshold=0.25)
    return curves.measure(net, small_nets.SHAPE, small_nets.CLASSES, seen, statistics)


def a_reading(channels=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(500, channels, generator=generator, dtype=torch.float64)
    mixed = mixed @ torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    weights = torch.randn(channels, 4, generator=generator, dtype=torch.float64)
    covariance = torch.cov(mixed.T, correction=0)
    return Reading(weights, covariance, torch.arange(channels), channels), weights, covariance


def test_channels_that_go_together_cost_what_the_others_cannot_predict():
    one, weights, covariance = a_reading()
    gone, kept = torch.tensor([1, 4, 5]), torch.tensor([0, 2, 3, 6, 7, 8])
    whole = covariance + RIDGE * covariance.diagonal().mean() * torch.eye(9, dtype=torch.float64)
    inner = torch.linalg.solve(whole[kept][:, kept], whole[kept][:, gone])
    left = whole[gone][:, gone] - whole[gone][:, kept] @ inner
    expected = float((weights[gone].T @ left @ weights[gone]).trace())
    assert one.remove_together(gone) == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(one.weights, weights[kept] + inner @ weights[gone])
    torch.testing.assert_close(one.inverse, torch.linalg.inv(whole[kept][:, kept]))
    assert one.roots.tolist() == kept.tolist()
    alone, _, _ = a_reading()
    singly = 0.0
    for channel in gone.tolist():
        singly += float(alone.costs()[channel])
        alone.remove(channel)
    assert singly == pytest.approx(expected, rel=1e-9)
    assert one.remove_together(gone) == 0


@pytest.mark.parametrize("name", NETS)
def test_a_curve_rises_from_nothing_to_all_and_is_what_the_readers_miss(name):
    net, seen = small_nets.build(name), small_nets.batches(6, 16)
    found = measured(net, seen)
    assert found["images"] == 96
    assert found["positions"] == gram.POSITIONS
    assert found["reason"] is None
    assert [one["name"] for one in found["curves"]] == list(small_nets.NETS[name].groups)
    whole = WorkingCopy(copy.deepcopy(net), Original.of(net, small_nets.SHAPE, small_nets.CLASSES, ()))
    statistics = calibration.collect(net, seen, threshold=0.25)
    statistics.values.update(gram.moments(net, whole.groups, (images for images, _ in seen)))
    for group, one in zip(whole.groups, found["curves"]):
        assert one["channels"] == group.size
        assert one["widths"] == list(range(group.size, -1, -group.repeats))
        assert one["lost"][0] == 0
        assert one["lost"][-1] == pytest.approx(1)
        assert one["lost"] == sorted(one["lost"])
        readings = [reading(member, group.size, statistics) for member in group.members if reads(member)]
        everything = sum(part.remove_together(torch.arange(group.size)) for part in readings)
        cheapest = min(
            sum(
                copy.deepcopy(part).remove_together(torch.tensor(group.at([position])))
                for part in [reading(m, group.size, statistics) for m in group.members if reads(m)]
            )
            for position in range(group.positions)
        )
        assert one["lost"][1] * everything >= cheapest * (1 - 1e-9)


def test_a_channel_that_another_one_stands_for_costs_next_to_nothing():
    net = small_nets.build("residual")
    duplicate(net, "inner")
    before = {one["name"]: one["lost"] for one in measured(small_nets.build("residual"))["curves"]}
    after = {one["name"]: one["lost"] for one in measured(net)["curves"]}
    assert after["inner"][1] < 2 * RIDGE < before["inner"][1]


def test_of_many_images_batches_spread_over_all_are_looked_at(monkeypatch):
    monkeypatch.setattr(curves, "IMAGES", 40)
    looked_at, spread = [], gram.moments

    def moments(model, groups, batches):
        looked_at.extend(batches)
        return spread(model, groups, looked_at)

    monkeypatch.setattr(gram, "moments", moments)
    net, seen = small_nets.build("plain"), small_nets.batches(6, 16)
    assert measured(net, seen)["images"] == 48
    assert all(torch.equal(one, seen[2 * number][0]) for number, one in enumerate(looked_at))


def test_a_wide_group_has_few_widths():
    net = nn.Sequential(nn.Conv2d(3, 100, 1), nn.ReLU(), nn.Flatten(), nn.Linear(6400, 5)).double()
    (one,) = measured(net)["curves"]
    assert one["widths"] == [*range(100, 0, -4), 0]
    assert one["lost"] == sorted(one["lost"])


def test_a_model_that_cannot_be_pruned_as_a_whole_has_a_reason_in_place_of_curves():
    class Rolled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.lstm, self.fc = nn.Conv2d(3, 6, 1), nn.LSTM(6, 4), nn.Linear(4, small_nets.CLASSES)

        def forward(self, x):
            x = self.first(x).flatten(2).permute(2, 0, 1)
            return self.fc(self.lstm(x)[0].mean(0))

    seen = small_nets.batches(dtype=torch.float32)
    statistics = calibration.Statistics({}, 21, 3, 0.25)
    found = curves.measure(Rolled(), small_nets.SHAPE, small_nets.CLASSES, seen, statistics)
    assert found["curves"] == []
    assert "lstm" in found["reason"]
    assert "\n" not in found["reason"]


def test_curves_of_the_calibration_stand_in_the_results():
    assert aggregation.aggregate(measured_run())["sensitivity"] == []
    seen = {"images": 8, "positions": 128, "curves": [FULL], "reason": None}
    assert aggregation.aggregate(dataclasses.replace(measured_run(), sensitivity=seen))["sensitivity"] == [FULL]


# What the report says -------------------------------------------------------------------------------------------------

FULL = {"name": "stage2.conv1", "channels": 10, "widths": [10, 5, 0], "lost": [0.0, 0.42, 1.0]}
EMPTY = {"name": "conv1", "channels": 4, "widths": [4, 2, 0], "lost": [0.0, 0.03, 1.0]}


def test_the_report_names_the_fullest_and_the_emptiest_layer():
    content = {**single(), "sensitivity": [FULL, EMPTY]}
    text = said(content)
    assert "Katmanların Doluluğu" in text
    assert re.search(r"en dolu katmanda \(stage2\.conv1\) .* %42'si kadar bozulur; .* \(conv1\) %3'ü kadar", text)
    english = said(content, code="en")
    assert re.search(r"the fullest layer, stage2\.conv1, costs .* 42%.* the emptiest, conv1, 3%", english)
    assert sensitivity.lost(FULL, 0.25) == pytest.approx(0.21)
    assert sensitivity.lost(FULL, 0.9) == pytest.approx(0.42 + 0.8 * 0.58)


@pytest.mark.parametrize("found", [[], [FULL], None])
def test_without_curves_of_two_layers_there_is_no_figure(found):
    content = {**sample(), "sensitivity": found}
    if found is None:  # results of an earlier version
        del content["sensitivity"]
        contract.complete(content)
    assert "Katmanların Doluluğu" not in said(content)
