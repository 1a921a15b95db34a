"""One pass over the calibration images, and BatchNorm's statistics anew."""

import pytest
import small_nets
import torch
from torch import nn

from budama.errors import BudamaError
from budama.networks.hooks import check_no_hooks
from budama.pruning import calibration


@pytest.fixture
def net():
    return small_nets.build("residual", torch.float32)


def collect(net, batches, threshold=0.25):
    return calibration.collect(net, batches, threshold=threshold)


def test_the_images_are_read_once(net):
    once = iter(small_nets.batches(dtype=torch.float32))
    statistics = collect(net, once)
    assert (statistics.batches, statistics.images) == (3, 21)
    assert next(once, None) is None


def test_statistics_have_one_entry_a_channel_however_many_images(net):
    few, many = (collect(net, small_nets.batches(count, dtype=torch.float32)) for count in (1, 8))
    assert {k: v.shape for k, v in few.values.items()} == {k: v.shape for k, v in many.values.items()}
    assert few.get("inner", "input_sumsq").shape == (8,)
    assert few.get("inner.weight", "taylor_out").shape == (6,)
    assert few.get("inner.weight", "taylor_in").shape == (8,)
    assert many.get("inner", "rows").item() == 8 * few.get("inner", "rows").item()


def test_the_model_is_left_as_it_was(net):
    net.train()
    net.bn1.eval()
    net.fc.weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    statistics = collect(net, small_nets.batches(dtype=torch.float32))
    assert statistics.get("fc.weight", "taylor_in").sum() > 0, "a frozen weight is scored all the same"
    assert net.training
    assert not net.bn1.training
    assert [name for name, p in net.named_parameters() if not p.requires_grad] == ["fc.weight"]
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    check_no_hooks(net)


def test_no_hook_is_left_after_an_error(net):
    images, labels = small_nets.batches(dtype=torch.float32)[0]
    with pytest.raises(RuntimeError):
        collect(net, [(images, labels), (images[:, :2], labels)])
    check_no_hooks(net)


def test_no_image_is_an_error(net):
    with pytest.raises(BudamaError, match="no calibration image"):
        collect(net, [])
    with pytest.raises(BudamaError, match="no calibration image"):
        calibration.reestimate_batchnorm(net, [])


def test_the_same_images_give_the_same_numbers(net):
    one, two = (collect(net, small_nets.batches(dtype=torch.float32)).values for _ in range(2))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_float32_agrees_with_float64():
    exact = collect(small_nets.build("grouped"), small_nets.batches())
    rounded = collect(small_nets.build("grouped", torch.float32), small_nets.batches(dtype=torch.float32))
    for key, value in exact.values.items():
        tolerance = 2e-3 if "active" in key else 1e-3  # an activation at the threshold may fall on the other side
        torch.testing.assert_close(rounded.values[key], value, rtol=tolerance, atol=1e-9)


def test_a_layer_that_is_used_twice_counts_both_inputs():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, small_nets.CLASSES)

        def forward(self, x):
            return self.fc(self.conv(self.conv(x)).mean((2, 3)))

    net, batches = Twice().double(), small_nets.batches()
    statistics = collect(net, batches)
    images = torch.cat([images for images, _ in batches])
    expected = (images**2).sum((0, 2, 3)) + (net.conv(images) ** 2).sum((0, 2, 3))
    torch.testing.assert_close(statistics.get("conv", "input_sumsq"), expected.detach())
    assert statistics.get("conv", "rows").item() == 2 * images.numel() / 3


def test_an_activation_changed_in_place_is_seen_as_each_layer_saw_it():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
            self.raw, self.fc = nn.Conv2d(4, 4, 1, bias=False), nn.Linear(4, small_nets.CLASSES)

        def forward(self, x):
            with torch.no_grad():
                x = self.first(x)
                self.raw(x)
                x = x.relu_()
            return self.fc(self.second(x).mean((2, 3)))

    statistics = collect(InPlace(), small_nets.batches(dtype=torch.float32))
    assert (statistics.get("raw", "input_sumsq") > statistics.get("second", "input_sumsq")).all()


def test_equal_statistics_are_equal_files(tmp_path):
    statistics = calibration.Statistics({"fc/input_sumsq": torch.ones(4)}, images=256, batches=2, threshold=0.25)
    contents = set()
    for n in range(20):
        statistics.save(tmp_path / f"{n}.safetensors")
        contents.add((tmp_path / f"{n}.safetensors").read_bytes())
    assert len(contents) == 1


def test_statistics_come_back_from_disk(net, tmp_path):
    statistics = collect(net, small_nets.batches(dtype=torch.float32), threshold=0.1)
    statistics.save(tmp_path / "calibration.safetensors")
    loaded = calibration.Statistics.load(tmp_path / "calibration.safetensors")
    assert (loaded.images, loaded.batches, loaded.threshold) == (21, 3, 0.1)
    assert all(torch.equal(loaded.values[key], value) for key, value in statistics.values.items())


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign"])
def test_a_damaged_file_is_told_in_one_line(net, tmp_path, damage):
    path = tmp_path / "calibration.safetensors"
    if damage == "truncated":
        collect(net, small_nets.batches(dtype=torch.float32)).save(path)
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "foreign":
        from safetensors.torch import save_file

        save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(BudamaError, match="calibration"):
        calibration.Statistics.load(path)


def test_statistics_of_another_model_are_refused(net):
    statistics = collect(net, small_nets.batches(dtype=torch.float32))
    with pytest.raises(BudamaError, match="collected from another model"):
        statistics.get("layer4", "input_sumsq")


def test_batchnorm_is_reestimated_as_the_mean_over_batches(net):
    batches = small_nets.batches(dtype=torch.float32)
    means = torch.stack([net.conv1(images).mean((0, 2, 3)) for images, _ in batches])
    variances = torch.stack([net.conv1(images).var((0, 2, 3)) for images, _ in batches])
    net.bn2.train()
    calibration.reestimate_batchnorm(net, batches)
    torch.testing.assert_close(net.bn1.running_mean, means.mean(0))
    torch.testing.assert_close(net.bn1.running_var, variances.mean(0))
    assert net.bn1.momentum == 0.1
    assert not net.bn1.training
    assert net.bn2.training


def test_reestimation_leaves_out_a_last_smaller_batch(net):
    batches = small_nets.batches(dtype=torch.float32)
    images, labels = batches[0]
    calibration.reestimate_batchnorm(net, batches)
    expected = net.bn1.running_mean.clone()
    calibration.reestimate_batchnorm(net, [*batches, (100 * images[:1], labels[:1])])
    assert torch.equal(net.bn1.running_mean, expected)


def test_reestimation_changes_nothing_but_running_statistics(net):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    calibration.reestimate_batchnorm(net, small_nets.batches(dtype=torch.float32))
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(before[name], tensor)}
    assert changed == {
        f"bn{i}.{what}" for i in (1, 2, 3) for what in ("running_mean", "running_var", "num_batches_tracked")
    }
