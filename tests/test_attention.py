"""Attention is pruned as what it is: whole heads with all that follows them, or channels of a shared embedding."""

import copy

import numpy
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import swin_transformer

from budama.networks import checkpoint, export, onnx_file
from budama.pruning import attention, calibration, compensation, criteria, gram, pruner
from budama.pruning.working_copy import Original, WorkingCopy

SHAPE, CLASSES = (3, 32, 32), 5
VIT = {"img_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 32, "num_heads": 4}
SWIN = {"img_size": 32, "embed_dim": 24, "depths": (2, 2), "num_heads": (3, 6), "window_size": 4}


def torchvision_swin(**others):
    return swin_transformer.SwinTransformer([4, 4], 24, [2, 2], [3, 6], [4, 4], num_classes=CLASSES, **others)


def swin_v2():
    blocks = {"block": swin_transformer.SwinTransformerBlockV2, "downsample_layer": swin_transformer.PatchMergingV2}
    return torchvision_swin(**blocks)


RECIPES = {  # source, name, arguments
    "vit": ("timm", "vit_tiny_patch16_224", VIT),
    "deit3": ("timm", "deit3_small_patch16_224", VIT),
    "timm swin": ("timm", "swin_tiny_patch4_window7_224", SWIN),
}
NETS = {
    **{name: lambda own=own: timm.create_model(own[1], num_classes=CLASSES, **own[2]) for name, own in RECIPES.items()},
    "normed": lambda: timm.create_model(
        "vit_tiny_patch16_224", num_classes=CLASSES, **VIT, qk_norm=True, scale_attn_norm=True
    ),
    "swin": torchvision_swin,
    "swin v2": swin_v2,
}
METHODS = [name for name, one in criteria.CRITERIA.items() if not (one.method.unpruned or one.method.new_weights)]
METHODS.remove("bn_scale")  # there is no BatchNorm
LAYERS = {"vit": 9, "deit3": 9, "timm swin": 18, "normed": 9, "swin": 18, "swin v2": 22}  # of 10, 10, 19, 10, 19, 27


def built(name):
    """A net with random weights, all of them: tables and biases start at or near zero."""
    torch.manual_seed(0)
    net = NETS[name]().eval()
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return net


def batches():
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(8, *SHAPE, generator=generator), torch.arange(8) % CLASSES) for _ in range(2)]


def moments(of):
    return gram.moments(of.model, of.groups, (images for images, _ in batches()))


def prune(net, method="magnitude", ratio=0.3, **settings):
    statistics = calibration.collect(net, batches(), threshold=0.25)
    asked = {"ratio": ratio, **settings}
    return pruner.prune(net, SHAPE, CLASSES, method, asked, statistics, moments=moments)


def fused(net):
    return {name: module for name, module in net.named_modules() if hasattr(module, "qkv")}


@pytest.fixture(scope="module", params=list(NETS))
def found(request):
    """The net's name, the net, and what is left of it without 30 % of its channels, which passed the gate."""
    net = built(request.param)
    return request.param, net, prune(net)


def test_every_layer_but_the_classifier_loses_channels(found):
    name, _, pruned = found
    assert sum(layer["after"] < layer["before"] for layer in pruned.layers) == LAYERS[name]
    assert all(layer["name"].endswith("cpb_mlp.2") for layer in pruned.whole)  # as many outputs as heads


def test_queries_keys_and_values_lose_the_same_channels(found):
    _, net, pruned = found
    for place, module in fused(net).items():
        rows, left = module.qkv.out_features // 3, pruned.kept[f"{place}.qkv"]
        thirds = numpy.array(left).reshape(3, -1)
        assert (thirds - thirds[0] == numpy.array([[0], [rows], [2 * rows]])).all()
        assert pruned.kept_inputs[f"{place}.proj"] == thirds[0].tolist()
        width, smaller = rows // module.num_heads, pruned.model.get_submodule(place)
        heads = numpy.bincount(thirds[0] // width, minlength=module.num_heads)
        if attention.has_heads(module):
            assert set(heads) == {0, width}  # whole heads
            assert smaller.num_heads == (heads > 0).sum() < module.num_heads
        else:
            assert len(set(heads)) == 1  # as many of each
            assert heads[0] < width
            assert smaller.num_heads == module.num_heads
            assert thirds[0].tolist() == pruned.kept[f"{place}.proj"]


@pytest.mark.parametrize("scope", ["global", "isomorphic", "sensitivity"])
@pytest.mark.parametrize("name", ["vit", "swin"])
def test_every_scope_takes_whole_heads_or_as_many_channels_of_each(name, scope):
    net = built(name)
    pruned = prune(net, "wanda", scope=scope)
    assert pruned.after.parameters < 0.85 * pruned.before.parameters
    for place, module in fused(net).items():
        rows, left = module.qkv.out_features // 3, pruned.kept.get(f"{place}.qkv")
        third = numpy.array(left or range(3 * rows)).reshape(3, -1)[0]
        heads = numpy.bincount(third // (rows // module.num_heads), minlength=module.num_heads)
        assert len(set(heads) - {0}) == 1


@pytest.mark.parametrize("name", ["vit", "timm swin"])
def test_a_pruned_transformer_loads_bit_equal_and_onnx_agrees(name, tmp_path):
    source, architecture, arguments = RECIPES[name]
    pruned = prune(built(name))
    model = {"source": source, "name": architecture, "arguments": arguments, "weights": None}
    recipe = {"model": model, "classes": CLASSES, "input_shape": list(SHAPE)}
    checkpoint.save(tmp_path / "model", pruned.model, recipe=recipe, kept=pruned.kept)
    loaded, images = checkpoint.load(tmp_path / "model"), batches()[0][0]
    with torch.no_grad():
        logits = pruned.model(images)
        assert torch.equal(loaded(images), logits)
    export.to_onnx(loaded, SHAPE, tmp_path / "model.onnx")
    assert (onnx_file.OnnxModel(tmp_path / "model.onnx")(images) - logits).abs().max() < 1e-5 * logits.abs().max()


@pytest.mark.parametrize(("name", "dead"), [("vit", (0, 2)), ("normed", (1, 0)), ("timm swin", (1, 0, 4, 2))])
def test_heads_that_give_nothing_are_removed_and_nothing_changes(name, dead):
    net = built(name)
    if name == "normed":  # a mean over all heads' channels is one over fewer by right
        for module in fused(net).values():
            module.norm = nn.Identity()
    for module, head in zip(fused(net).values(), dead, strict=True):
        width = attention.head_width(module)
        rows = module.qkv.weight.data.view(3, module.num_heads, -1), module.qkv.bias.data.view(3, module.num_heads, -1)
        for value in rows:
            value[:, head] = 0
        module.proj.weight.data[:, head * width : (head + 1) * width] = 0
    others = [n for n, m in net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d) and not n.endswith(".qkv")]
    share = sum(3 * attention.head_width(m) for m in fused(net).values())
    share /= sum(module.qkv.out_features for module in fused(net).values())
    pruned = prune(net, ratio=share, scope="global", ignore=[name for name in others if "head" not in name])
    for (place, module), head in zip(fused(net).items(), dead, strict=True):
        gone = set(range(module.qkv.out_features)) - set(pruned.kept[f"{place}.qkv"])
        width = attention.head_width(module)
        assert gone == {(third * module.num_heads + head) * width + own for third in range(3) for own in range(width)}
    images = batches()[0][0]
    with torch.no_grad():
        expected, given = net(images), pruned.model(images)
    assert (given - expected).abs().max() < 1e-5 * expected.abs().max()


def test_a_heads_score_is_the_sum_over_its_channels_in_queries_keys_values_and_projection():
    net = built("vit")
    copied = WorkingCopy(net, Original.of(net, SHAPE, CLASSES, ()))
    group = next(group for group in copied.groups if group.name == "blocks.1.attn.qkv")
    module = net.blocks[1].attn.requires_grad_(False)
    scores = group.means(criteria.get("l1").importance(net)(group.traced))
    taylor = calibration.collect(net, batches(), threshold=0.25)
    data = group.means(criteria.get("wanda").importance(net, taylor)(group.traced))
    norms = taylor.get("blocks.1.attn.proj", "input_sumsq").sqrt()
    for head in range(4):
        channels = range(8 * head, 8 * head + 8)
        rows = sum(float(module.qkv.weight[32 * third + c].abs().sum()) for third in range(3) for c in channels)
        columns = sum(float(module.proj.weight[:, c].abs().sum() * norms[c]) for c in channels)
        assert float(scores[head]) * 24 == pytest.approx(rows, rel=1e-5)
        assert float(data[head]) * 24 == pytest.approx(columns, rel=1e-5)


@pytest.mark.parametrize(("name", "methods"), [("vit", METHODS), ("swin", ["wanda", "taylor", "obs"])])
def test_every_method_ranks_attention(name, methods):
    net = built(name)
    for method in methods:
        pruned = prune(net, method)
        assert sum(layer["after"] < layer["before"] for layer in pruned.layers) == LAYERS[name], method


@pytest.mark.parametrize("name", ["swin", "swin v2"])
def test_calibration_sees_layers_whose_weights_a_function_reads(name):
    net = built(name)
    block, seen = net.features[1][0], []
    handle = block.attn.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        for images, _ in batches():
            net(images)
    handle.remove()
    read = torch.cat(seen).double().square().sum((0, 1, 2))
    statistics = calibration.collect(net, batches(), threshold=0.25)
    assert torch.allclose(statistics.get("features.1.0.attn.qkv", "input_sumsq"), read, rtol=1e-4)
    value = functional.linear(torch.cat(seen), block.attn.qkv.weight[48:], block.attn.qkv.bias[48:])
    mixed = statistics.get("features.1.0.attn.proj", "input_sum")
    assert 0 < mixed.abs().max() < value.abs().sum((0, 1, 2)).max()


@pytest.mark.parametrize("name", ["vit", "swin"])
def test_what_reads_removed_heads_makes_up_for_them(name):
    net = built(name)
    before = WorkingCopy(copy.deepcopy(net), Original.of(net, SHAPE, CLASSES, ()))
    after = WorkingCopy(copy.deepcopy(net), before.original)
    after._cut({group.name: list(group.at([0])) for group in before.groups})
    told = compensation.compensate(before, after, batches(), renewed=True)
    handled = {row["name"]: row for row in (*told["folded"], *told["left"])}
    for place in fused(net):
        row = handled[f"{place}.proj"]
        assert row.get("reason") == "worse" or row["reached"] <= row["without"]
