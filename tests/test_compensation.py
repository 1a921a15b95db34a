"""What is left makes up for what is gone: exactly where it can, never worse on held images, the same in float32."""

import copy
import itertools

import pytest
import small_nets
import torch
from small_stages import BASELINE, save
from torch import nn
from torch.nn import functional

from budama.data import batching
from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.measuring.evaluation import evaluate
from budama.networks import checkpoint
from budama.networks.hooks import check_no_hooks
from budama.pruning import calibration, compensation, criteria, gram, least_squares, pruner, stage
from budama.pruning.working_copy import Original, WorkingCopy

NETS = [*small_nets.NETS]
REASONS = {"worse", "attention", "unread", "wide", "shared", "unlike"}


def batches(count=6, size=16, dtype=torch.float64):
    return small_nets.batches(count, size, dtype)


def cut(net, removed, ignore=()):
    """The copies before and after the channels `removed` (by group) are gone."""
    before = WorkingCopy(copy.deepcopy(net), Original.of(net, small_nets.SHAPE, small_nets.CLASSES, ignore))
    after = WorkingCopy(copy.deepcopy(net), before.original)
    after._cut(removed)
    return before, after


def pruned(net, ratio=0.5, seen=None, method="magnitude", **settings):
    seen = seen or batches(dtype=next(net.parameters()).dtype)
    told = []

    def compensate(before, after, gone):
        told.append(compensation.compensate(before, after, seen, renewed=True))
        calibration.reestimate_batchnorm(after.model, seen)
        return told[-1]

    asked = {"ratio": ratio, **settings}
    return pruner.prune(net, small_nets.SHAPE, small_nets.CLASSES, method, asked, compensate=compensate)


def duplicate(net, root):
    """Make channel 1 of a group equal to channel 0, in all that produces it or passes it through; where blocks of
    channels lose the same number, in each of them. The channels that are copies."""
    group = next(group for group in WorkingCopy(
        copy.deepcopy(net), Original.of(net, small_nets.SHAPE, small_nets.CLASSES, ())
    ).groups if group.name == root)  # fmt: skip
    modules, gone = dict(net.named_modules()), []
    for block in range(group.repeats):
        first = block * group.size // group.repeats
        gone.append(first + 1)
        for member in group.members:
            if member.role == "in":
                continue
            own = {int(r): int(i) for i, r in zip(member.idxs, member.roots)}
            for value in (*modules[member.name].parameters(), *modules[member.name].buffers()):
                if value.ndim:
                    value.data[own[first + 1]] = value.data[own[first]]
    return gone


@pytest.mark.parametrize(("name", "root"), [(name, root) for name in NETS for root in small_nets.NETS[name].groups])
def test_a_duplicated_channel_goes_without_a_trace(name, root):
    net = small_nets.build(name)
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            module.bias.data.add_(0.5)  # no channel is dead
    gone = duplicate(net, root)
    images = batches(1)[0][0]
    before, after = cut(net, {root: gone})
    plain = (after.model(images) - net(images)).abs().max().item()
    told = compensation.compensate(before, after, batches(), renewed=False)
    assert plain > 1e-3
    assert told["folded"]
    assert not told["left"]
    assert max(row["reached"] for row in told["folded"]) < 1e-9
    torch.testing.assert_close(after.model(images), net(images), rtol=0, atol=1e-5)
    check_no_hooks(before.model)


class Uncorrelated(nn.Module):
    """`second` reads four channels of which at every position exactly one is not 0: G is diagonal."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 6, 1, bias=False)
        self.fc = nn.Linear(6, small_nets.CLASSES)

    def forward(self, x):
        x = self.first(x)
        x = x * functional.one_hot(torch.arange(64) % 4, 4).T.reshape(4, 8, 8)
        return self.fc(functional.relu(self.second(x)).mean((2, 3)))


def test_a_diagonal_gram_matrix_gives_what_plain_pruning_gives():
    before, after = cut(Uncorrelated().double(), {"first": [1, 2]})
    plain = copy.deepcopy(after.model)
    told = compensation.compensate(before, after, batches(), renewed=False)
    assert [row["name"] for row in told["folded"]] == ["second"]
    torch.testing.assert_close(after.model.second.weight, plain.second.weight, rtol=0, atol=1e-12)


def a_gram_matrix(channels=12, rows=400, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(rows, channels, generator=generator, dtype=torch.float64)
    mixed = mixed @ torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    reading = torch.randn(7, channels, generator=generator, dtype=torch.float64)
    return mixed, mixed.T @ mixed / rows, reading


def test_the_prediction_is_that_of_least_squares():
    inputs, moment, _ = a_gram_matrix()
    kept = torch.tensor([0, 3, 4, 8, 11])
    expected = torch.linalg.lstsq(inputs[:, kept], inputs).solution.T
    found = least_squares.predict(moment, kept, ridge=1e-14)
    torch.testing.assert_close(found.matrix, expected, rtol=1e-6, atol=1e-8)


def test_the_residual_is_what_the_layer_misses_and_never_grows_with_what_is_kept():
    inputs, moment, weight = a_gram_matrix()
    left = []
    for count in range(1, 13):
        kept = torch.arange(12)[-count:]
        found = least_squares.predict(moment, kept, ridge=1e-12)
        missed = inputs @ weight.T - inputs[:, kept] @ (weight @ found.matrix).T
        left.append(least_squares.residual(found, moment, weight.T @ weight))
        assert left[-1] == pytest.approx(float(missed.square().sum() / (inputs @ weight.T).square().sum()), abs=1e-9)
    assert all(more >= fewer - 1e-9 for more, fewer in itertools.pairwise(left))
    assert left[-1] == pytest.approx(0, abs=1e-12)


def folded_weights(dtype):
    net = small_nets.build("residual").to(dtype)
    return dict(pruned(net, seen=batches(dtype=dtype)).model.named_parameters())


def test_float32_agrees_with_float64():
    exact, rounded = folded_weights(torch.float64), folded_weights(torch.float32)
    for name in ("outer.weight", "fc.weight", "inner.weight"):
        torch.testing.assert_close(rounded[name].double(), exact[name], rtol=1e-4, atol=1e-4)


def test_small_channels_beside_large_ones_are_not_lost():
    rows = torch.randn(1, 5000, 3) * torch.tensor([1e4, 1.0, 1e-3]) + torch.tensor([1e4, 100.0, 0.0])
    found = gram._sums(rows[0]).moment(centred=True)
    expected = torch.cov(rows[0].double().T, correction=0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_a_gram_matrix_is_that_of_the_inputs_and_equal_inputs_are_looked_at_once(monkeypatch):
    net, seen = small_nets.build("residual"), [images for images, _ in batches()]
    inputs = []
    handle = net.inner.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach()))
    for images in seen:
        net(images)
    handle.remove()
    rows = torch.cat(inputs).movedim(1, -1).reshape(-1, 8)
    readers = gram.readers(net, [], {"inner": [0], "fc": [0]})
    found = gram.collect(net, readers, seen)
    torch.testing.assert_close(found["inner"].product, rows.T @ rows)
    torch.testing.assert_close(found["inner"].total, rows.sum(0))
    assert found["inner"].count == len(rows)
    few = gram.collect(net, readers, seen, positions=16)["inner"]
    assert few.count == len(rows) // 4
    torch.testing.assert_close(few.moment(centred=False), found["inner"].moment(centred=False), rtol=0.2, atol=0.05)
    twins = [gram.Reader("one", net.inner, readers[0].features), gram.Reader("two", net.inner, readers[0].features)]
    counted = []
    monkeypatch.setattr(gram, "_sums", lambda rows: counted.append(len(rows)) or gram.Gram(len(rows), rows[0], rows.T))
    gram.collect(net, twins, seen[:1])
    assert len(counted) == 1


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("steps", [1, 3])
def test_no_layer_is_worse_on_held_images_and_each_step_is_compensated(name, steps):
    net = small_nets.build(name)
    done = pruned(net, steps=steps)
    assert len(done.compensations) == steps
    assert any(row["reached"] < row["without"] for told in done.compensations for row in told["folded"])
    for told in done.compensations:
        assert all(row["reached"] <= row["without"] for row in told["folded"])
        assert {row["reason"] for row in told["left"]} <= REASONS
    shapes = [{n: p.shape for n, p in model.named_parameters()} for model in (done.model, done.uncompensated)]
    assert shapes[0] == shapes[1]
    for kept_name, kept in done.kept.items():  # the uncompensated model has the weights of the original
        layer, original = done.uncompensated.get_submodule(kept_name), net.get_submodule(kept_name)
        if isinstance(layer, nn.Conv2d) and kept_name not in done.kept_inputs:
            assert torch.equal(layer.weight, original.weight[kept])


def test_steps_keep_the_channels_that_one_finds_in_the_original():
    net = small_nets.build("plain")
    done = pruned(net, steps=3)
    assert len(done.kept["conv1"]) == 3
    assert torch.equal(done.model.conv1.weight, net.conv1.weight[done.kept["conv1"]])
    assert done.kept_inputs["conv2"] == done.kept["conv1"]


def test_what_the_layer_gives_is_nearer_to_the_original_on_images_that_were_not_seen():
    net = small_nets.build("residual")
    done = pruned(net, seen=batches(20, 16))
    plain = done.uncompensated
    calibration.reestimate_batchnorm(plain, batches(20, 16))
    generator = torch.Generator().manual_seed(9)
    images = torch.randn(200, *small_nets.SHAPE, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        errors = [float((model(images) - net(images)).square().mean()) for model in (plain, done.model)]
    assert errors[1] < 0.85 * errors[0]


def misled():
    """A net, and images whose held ones are unlike the others: what is learnt from these is wrong there."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 6, 1), nn.Flatten(), nn.Linear(6 * 64, 5)).double()
    net[0].weight.data[1] = torch.tensor([1.0, 0, 0]).reshape(3, 1, 1)
    net[0].weight.data[0] = torch.tensor([0, 1.0, 0]).reshape(3, 1, 1)
    images = torch.randn(32, 3, 8, 8, dtype=torch.float64)
    held = torch.arange(32) % compensation.HOLD == compensation.HOLD - 1
    images[:, 1] = images[:, 0]
    images[held, 1] *= -1
    return net, images


def test_a_layer_that_gets_worse_is_left_as_it_was_and_named():
    net, images = misled()
    before, after = cut(net, {"0": [1]})
    weight = after.model[1].weight.clone()
    told = compensation.compensate(before, after, [(images, None)], renewed=False)
    assert told["left"] == [{"name": "1", "reason": "worse"}]
    assert not told["folded"]
    assert torch.equal(after.model[1].weight, weight)


def test_layers_that_share_weights_or_are_not_called_stay_and_are_named():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 1)
            self.spare, self.fc = nn.Conv2d(6, 4, 1), nn.Linear(4, small_nets.CLASSES)

        def forward(self, x):
            x = functional.relu(self.first(x))
            return self.fc((self.second(x) + self.spare(x)).mean((2, 3)))

    before, after = cut(Tied().double(), {"first": [2, 5]})
    after.model.spare.weight = after.model.second.weight
    told = compensation.compensate(before, after, batches(), renewed=False)
    assert {(row["name"], row["reason"]) for row in told["left"]} == {("second", "shared"), ("spare", "shared")}


def test_scratch_is_not_compensated():
    net = small_nets.build("residual")
    seen = batches()
    done = pruner.prune(
        net, small_nets.SHAPE, small_nets.CLASSES, "scratch", {"ratio": 0.5},
        fresh=lambda: small_nets.build("residual"),
        compensate=lambda before, after, gone: compensation.compensate(before, after, seen, renewed=True),
    )  # fmt: skip
    assert done.uncompensated is None
    assert done.compensations == []
    assert criteria.get("scratch").method.new_weights


@pytest.mark.parametrize(("method", "how"), [("wanda", "one_pass"), ("obs", "sequential")])
def test_the_stage_tells_accuracy_before_and_after_and_what_became_of_each_layer(tmp_path, method, how):
    shape = (1, 8, 8)
    data = {"name": "digits", "root": None, "image_size": None, "resize": None, "channels": None, "protocol": "full"}
    data |= {"selection": 0.1, "test": 0.2, "duplicates": "drop", "augment": "none", "mean": None, "std": None}
    opened = open_data(build_manifest({"data": data, "seed": 0}, threads=1))
    save(tmp_path / "model", BASELINE["model"], shape=shape)
    seen = calibration.batches(opened, {"batches": 2, "batch_size": 64})
    model = checkpoint.load(tmp_path / "model")
    calibration.collect(model, seen, threshold=0.25).save(tmp_path / "c")
    asked = {"method": method, "ratio": 0.5, "scope": "layerwise", "steps": 2, "match": "channels", "round_to": None}
    asked |= {"ignore": [], "max_ratio": 0.95, "reestimate_batchnorm": True, "seed": 0, "compensate": how}
    asked["calibration"] = {"batches": 2, "batch_size": 64, "coverage_threshold": 0.25}
    device = torch.device("cpu")
    told = stage.prune(tmp_path / "model", tmp_path / "c", opened, asked, device, tmp_path / "pruned")
    assert list(told["selection_accuracy_percent"]) == ["as_pruned", "reestimated", "compensated"]
    again = evaluate(checkpoint.load(tmp_path / "pruned"), batching.batches(opened, "selection", 64))
    assert told["selection_accuracy_percent"]["compensated"] == again.accuracy_percent
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for cut_ in told["compensation"]:
        rows = [*cut_["folded"], *cut_["left"]]
        assert sorted(row["name"] for row in rows) == sorted(layers[1:]), "all but the one that reads the image"
        assert cut_["positions"] == gram.POSITIONS
    assert len(told["compensation"]) == 2
    assert told["compensate"] == how
    for cut_ in told["compensation"] if how == "sequential" else ():
        rows = cut_["refitting"]["refitted"]
        assert {row["name"] for row in rows} > {layers[-1]}, "what reads whole streams makes up for what is before it"
        assert all(row["reached"] < row["without"] for row in rows)
