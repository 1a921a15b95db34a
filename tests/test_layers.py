"""`pruning.layers`: layers that a user names lose exactly the share that is asked of them."""

import math

import pytest
import small_nets
import torch

from budama.errors import BudamaError
from budama.networks import models
from budama.pruning import preview, pruner

RESNET = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 14}, "weights": None}
SMALL = (3, 16, 16)


@pytest.fixture(scope="module")
def resnet():
    return models.build(RESNET, 10, SMALL, seed=1)


def prune(net, shape=small_nets.SHAPE, classes=small_nets.CLASSES, **asked):
    settings = {"ratio": 0.3, "scope": "layerwise", "match": "channels", "steps": 1, "max_ratio": 0.95, **asked}
    return pruner.prune(net, shape, classes, "magnitude", settings)


def widths(pruned):
    return {layer["name"]: (layer["before"], layer["after"]) for layer in pruned.layers}


def small(name):
    return small_nets.build(name, torch.float32)


@pytest.mark.parametrize("scope", ["layerwise", "global"])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.5, 0.9])
def test_a_named_layer_keeps_the_whole_part_of_what_is_left(scope, steps, share):
    after = widths(prune(small("plain"), ratio=0.25, scope=scope, steps=steps, layers={"conv1": share}))
    assert after["conv1"] == (6, max(1, math.floor(6 * (1 - share) + 1e-9)))
    assert after["conv2"] == (8, 6), "a quarter of the layers that are not named, which is this one"


def test_what_is_tied_to_a_named_layer_goes_with_it():
    after = widths(prune(small("residual"), ratio=0.5, layers={"outer": 0.25}))
    assert after == {"conv1": (8, 6), "outer": (8, 6), "inner": (6, 3), "fc": (5, 5)}


@pytest.mark.parametrize("match", ["macs", "parameters"])
@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_the_other_layers_make_up_for_what_is_missing_of_the_whole_model(resnet, match, scope):
    named = dict.fromkeys(resnet_names(resnet, "conv1"), 0.125)
    pruned = prune(resnet, SMALL, 10, ratio=0.4, match=match, scope=scope, layers=named)
    found = widths(pruned)
    assert all(found[name][1] == found[name][0] * 7 / 8 for name in named)
    assert pruned.achieved[match] == pytest.approx(0.4, abs=0.005)
    assert pruned.own == named


def resnet_names(net, end):
    """Convolutions inside of blocks, which are tied to nothing."""
    return [name for name, module in net.named_modules() if name.endswith(f".{end}") and hasattr(module, "kernel_size")]


def test_multiples_are_kept_in_named_layers_too(resnet):
    names = resnet_names(resnet, "conv1")
    found = widths(prune(resnet, SMALL, 10, ratio=0.5, round_to=8, layers={names[-1]: 0.3}))
    assert found[names[-1]] == (64, 48), "44.8, to the nearest eight"


def test_turns_end_at_the_named_share(resnet):
    names = resnet_names(resnet, "conv1")
    asked = {"ratio": 0.5, "layers": {names[-1]: 0.25}, "turns": 2}
    first = prune(resnet, SMALL, 10, turn=1, **asked)
    settings = {"scope": "layerwise", "match": "channels", "steps": 1, "max_ratio": 0.95, "turn": 2, **asked}
    last = pruner.prune(first.model, SMALL, 10, "magnitude", settings, whole=resnet, kept=first.kept)
    assert (widths(first)[names[-1]], widths(last)[names[-1]]) == ((64, 56), (64, 48))


def test_a_model_of_which_every_layer_is_named_has_those_widths():
    found = widths(prune(small("plain"), ratio=0.9, layers={"*": 0.5}))
    assert (found["conv1"], found["conv2"], found["fc"]) == ((6, 3), (8, 4), (5, 5))


@pytest.mark.parametrize(
    ("net", "asked", "line"),
    [
        ("plain", {"conv9": 0.3}, "pruning.layers: 'conv9' matches no layer of the model; did you mean conv2, conv1?"),
        ("plain", {"lay*": 0.3}, "pruning.layers: 'lay*' matches no layer of the model; known are"),
        ("plain", {"bn1": 0.3}, "pruning.layers: 'bn1' names no convolution or linear layer; it must name one"),
        (
            "plain",
            {"fc": 0.3},
            "pruning.layers: 'fc' names no layer from which channels can be removed: fc gives the classes",
        ),
        (
            "plain",
            {"conv*": 0.3, "conv1": 0.5},
            "pruning.layers: 'conv*' asks for 0.3 and 'conv1' for 0.5 of conv1; it must be one ratio",
        ),
        (
            "residual",
            {"conv1": 0.3, "outer": 0.5},
            "pruning.layers: 'conv1' asks for 0.3 and 'outer' for 0.5 of conv1, outer, whose channels "
            "go together; it must be one ratio",
        ),
    ],
)  # fmt: skip
def test_a_name_that_means_nothing_or_contradicts_another_is_one_line(net, asked, line):
    with pytest.raises(BudamaError) as error:
        prune(small(net), layers=asked)
    assert str(error.value).startswith(line)


def test_a_layer_that_ignore_keeps_whole_cannot_have_a_ratio():
    with pytest.raises(BudamaError) as error:
        prune(small("plain"), ignore=["conv1"], layers={"*1": 0.3})
    line = "pruning.layers: '*1' names no layer from which channels can be removed: conv1 is in pruning.ignore"
    assert str(error.value) == line


def test_a_layer_that_goes_with_an_ignored_one_cannot_have_a_ratio():
    with pytest.raises(BudamaError) as error:
        prune(small("residual"), ignore=["outer"], layers={"conv1": 0.3})
    line = "pruning.layers: 'conv1' names no layer from which channels can be removed: conv1 is tied to outer, which "
    assert str(error.value) == line + "keeps its channels"


def test_a_share_that_removes_nothing_is_told(resnet):
    name = resnet_names(resnet, "conv1")[0]
    with pytest.raises(BudamaError) as error:
        prune(resnet, SMALL, 10, round_to=8, layers={name: 0.1})
    line = f"pruning.layers: '{name}' asks for 0.1 of the 16 channels of {name}, which removes none with round_to 8"
    assert str(error.value) == line


def test_named_layers_that_leave_the_target_out_of_reach_are_told(resnet):
    with pytest.raises(BudamaError, match=r"the nearest is 0.*change pruning.ratio, round_to, max_ratio, layers or"):
        prune(resnet, SMALL, 10, ratio=0.1, match="macs", layers={"*": 0.5})


def test_the_preview_shows_each_layer():
    import preview as stage

    data = {"name": "cifar10", "root": None, "image_size": None, "channels": None}
    asked = {"methods": ["wanda"], "ratio": [0.25, 0.5], "scope": "layerwise", "match": "channels"}
    model = {**RESNET, "arguments": {"depth": 8}}
    net = models.build(model, 10, (3, 32, 32))
    first, *_, last = resnet_names(net, "conv1")
    shown = preview.preview(model, data, {**asked, "layers": {first: 0.5}})
    rows = [line.split() for line in stage.layer_table(shown)]
    assert rows[0] == ["layer", "channels", "ratio", "0.25", "ratio", "0.5"]
    assert [first, "16", "8", "8"] in rows
    assert [last, "64", "48", "32"] in rows
    assert [after["own_ratios"] for after in shown["after"]] == [{first: 0.5}] * 2


def test_the_report_names_the_layers_that_had_their_own_ratio():
    from reports import said, sample

    content = sample()
    content["pruning"]["layers"] = {"layer1.*": 0.1, "layer4.1.conv1": 0.5}
    line = r"**Kendi Oranı Olan Katmanlar:** <code>layer1.\*</code> %10, <code>layer4.1.conv1</code> %50 (bu katmanlar"
    assert line in said(content)
