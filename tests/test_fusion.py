"""Kernels for training on CPUs: BatchNorm with ReLU and residual sum, against PyTorch's own operations."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.networks import models
from budama.settings import stages
from budama.training import fusion, kernels, loop

pytestmark = pytest.mark.skipif(kernels.openmp() is None, reason="PyTorch computes without GNU's OpenMP library here")
KINDS = ("norm", "relu", "residual")


def layer(channels, dtype=torch.float32):
    norm = nn.BatchNorm2d(channels).to(dtype)
    with torch.no_grad():
        norm.weight.uniform_(-1, 2)
        norm.bias.uniform_(-1, 1)
    return norm


def by_pytorch(norm, images, kind, residual):
    result = norm(images)
    if kind == "norm":
        return result
    return functional.relu(result + residual if kind == "residual" else result)


def by_kernel(norm, images, kind, residual):
    norm = copy.deepcopy(norm)
    norm.__class__ = fusion.BatchNorm
    return norm, norm(images, residual=residual if kind == "residual" else None, relu=kind == "relu")


def inputs(shape, dtype, offset=0.0):
    made = [torch.randn(shape, dtype=torch.float64) for _ in range(3)]
    made[0] = made[0] * torch.linspace(0.2, 1, shape[1], dtype=torch.float64)[:, None, None] + offset
    return [value.to(dtype).contiguous(memory_format=torch.channels_last) for value in made]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(4, 3, 5, 5), (8, 11, 14, 14), (6, 16, 32, 32), (3, 45, 7, 7), (2, 1300, 2, 3)])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_results_and_gradients_are_those_of_float64(shape, kind, offset):
    torch.manual_seed(0)
    images, residual, gradient = inputs(shape, torch.float32, offset)
    norm = layer(shape[1])
    exact = copy.deepcopy(norm).double()
    wide = [value.double().requires_grad_() for value in (images, residual)]
    expected = by_pytorch(exact, wide[0], kind, wide[1])
    expected.backward(gradient.double())

    ours, result = by_kernel(norm, images.requires_grad_(), kind, residual.requires_grad_())
    result.backward(gradient)

    assert result.is_contiguous(memory_format=torch.channels_last)
    close = {"rtol": 1e-4, "atol": 1e-4 if offset else 2e-5}
    torch.testing.assert_close(result.double(), expected, **close)
    torch.testing.assert_close(images.grad.double(), wide[0].grad, **close)
    if kind == "residual":
        torch.testing.assert_close(residual.grad.double(), wide[1].grad, **close)
    for name, tensor in ours.named_parameters():
        theirs = exact.get_parameter(name).grad
        torch.testing.assert_close(tensor.grad.double(), theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())
    for name, tensor in ours.named_buffers():
        torch.testing.assert_close(tensor.double(), exact.get_buffer(name).double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [11, 16])
def test_bfloat16_is_as_close_as_its_rounding(channels, kind):
    torch.manual_seed(0)
    images, residual, gradient = inputs((8, channels, 12, 12), torch.bfloat16)
    norm = layer(channels)
    wide = [value.double().requires_grad_() for value in (images, residual)]
    expected = by_pytorch(copy.deepcopy(norm).double(), wide[0], kind, wide[1])
    expected.backward(gradient.double())
    _, result = by_kernel(norm, images.requires_grad_(), kind, residual.requires_grad_())
    result.backward(gradient)
    assert result.dtype == images.grad.dtype == torch.bfloat16
    torch.testing.assert_close(result.double(), expected, rtol=2**-8, atol=1e-3)
    wrong = (images.grad.double() - wide[0].grad).abs() > 2**-7 * wide[0].grad.abs() + 1e-3
    assert wrong.double().mean() < 1e-3  # where a sum rounds across zero, ReLU may go the other way


@pytest.mark.parametrize("kind", ["relu", "residual"])
def test_gradients_of_two_readers_are_added(kind):
    torch.manual_seed(0)
    images, residual, gradient = inputs((8, 11, 14, 14), torch.float32)
    norm, other = layer(11), torch.randn_like(gradient)
    exact = [value.double().requires_grad_() for value in (images, residual)]
    by_pytorch(copy.deepcopy(norm).double(), exact[0], kind, exact[1]).backward((gradient + other).double())
    ours = copy.deepcopy(norm)
    ours.__class__ = fusion.BatchNorm
    read = [value.requires_grad_() for value in (images, residual)]
    results = ours(read[0], residual=read[1] if kind == "residual" else None, relu=True, twice=True)
    assert results[0].data_ptr() == results[1].data_ptr()
    torch.autograd.backward(results, (gradient, other))
    for mine, theirs in zip(read, exact) if kind == "residual" else zip(read[:1], exact):
        torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(8, 11, 14, 14), (6, 16, 32, 32), (2, 1300, 2, 3)])
def test_in_evaluation_the_running_statistics_count(shape, dtype, kind):
    torch.manual_seed(0)
    images, residual, _ = inputs(shape, dtype)
    norm = layer(shape[1]).eval()
    with torch.no_grad():
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
        before = copy.deepcopy(norm.state_dict())
        expected = by_pytorch(copy.deepcopy(norm).double(), images.double(), kind, residual.double())
        ours, result = by_kernel(norm, images, kind, residual)
    tight = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2**-8, "atol": 1e-3}
    torch.testing.assert_close(result.double(), expected, **tight)
    assert all(torch.equal(tensor, before[name]) for name, tensor in ours.state_dict().items())
    with_gradient = ours(images.requires_grad_())  # PyTorch's own, whose gradient is that of fixed statistics
    with_gradient.sum().backward()
    assert images.grad is not None


def test_not_a_number_goes_through():
    images = torch.full((2, 4, 3, 3), float("nan")).contiguous(memory_format=torch.channels_last)
    for kind in KINDS:
        _, result = by_kernel(layer(4), images.bfloat16(), kind, torch.zeros_like(images).bfloat16())
        assert result.isnan().all()


def test_equal_inputs_give_equal_bits_on_several_threads():
    images, residual, gradient = inputs((16, 13, 32, 32), torch.bfloat16)
    norm, threads = layer(13), torch.get_num_threads()
    outcomes = []
    try:
        torch.set_num_threads(3)
        for _ in range(4):
            ours, result = by_kernel(norm, images.detach().requires_grad_(), "residual", residual)
            result.backward(gradient)
            outcomes.append([result.detach(), ours.weight.grad, ours.bias.grad, ours.running_mean, ours.running_var])
    finally:
        torch.set_num_threads(threads)
    for other in outcomes[1:]:
        assert all(torch.equal(one, two) for one, two in zip(outcomes[0], other))


def sample(shape):
    return torch.randn(2, *shape).contiguous(memory_format=torch.channels_last)


ZOO = [  # model, joined norms, all norms
    ({"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 14, "width": 11}}, 13, 15),
    ({"source": "torchvision", "name": "resnet18"}, 17, 20),
    ({"source": "torchvision", "name": "mobilenet_v2"}, 0, 52),
    ({"source": "torchvision", "name": "densenet121"}, 121, 121),
    ({"source": "torchvision", "name": "vgg11_bn"}, 8, 8),
]


@pytest.mark.parametrize(("description", "joined", "norms"), ZOO, ids=lambda value: str(value)[-14:])
def test_the_twin_computes_what_the_model_does(description, joined, norms):
    torch.manual_seed(0)
    model = models.build({"weights": None, **description}, 10, (3, 64, 64), weights=False).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model = model.to(memory_format=torch.channels_last)
    plain, images = copy.deepcopy(model), sample((3, 64, 64))
    twin = fusion.twin(model)
    calls = [node for node in twin.graph.nodes if node.op == "call_module"]
    fused = [node for node in calls if isinstance(twin.get_submodule(node.target), fusion.BatchNorm)]
    assert len(fused) == norms
    assert sum(bool(node.kwargs) for node in fused) == joined

    exact = copy.deepcopy(model).double()
    logits = [exact(images.double()), plain(images), twin(images)]
    torch.testing.assert_close(logits[2], logits[1], rtol=1e-3, atol=1e-3 * logits[1].abs().max().item())
    for each in logits:
        (each**2).sum().backward()
    # The twin's parameters are the model's own; where PyTorch's float32 gradients are far from exact, so may ours be.
    right, theirs, ours = (torch.cat([p.grad.flatten() for p in m.parameters()]) for m in (exact, plain, model))
    assert (ours - right).norm() < 3 * (theirs - right).norm() + 1e-4 * right.norm()
    for (name, buffer), other in zip(model.named_buffers(), plain.buffers()):
        torch.testing.assert_close(buffer, other, rtol=1e-3, atol=1e-4, msg=name)
    with torch.inference_mode():
        logits = [plain.eval()(images), fusion.twin(plain, training=False)(images)]
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-3, atol=1e-3 * logits[0].abs().max().item())
    assert type(model.get_submodule(fused[0].target)) is nn.BatchNorm2d


def test_a_model_of_ones_own_keeps_its_code():
    """What it does in Python (here: a choice that a recorded graph would repeat for ever) is still done."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.calls = nn.BatchNorm2d(3), 0

        def forward(self, images):
            self.calls += 1
            return self.norm(images) * self.calls

    twin, images = fusion.twin(Own()), sample((3, 4, 4))
    assert isinstance(twin.norm, fusion.BatchNorm)
    torch.testing.assert_close(twin(images) * 2, twin(images))


SETTINGS = {
    "epochs": 3, "batch_size": 128, "optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4,
    "schedule": "cosine", "warmup_epochs": 0.5, "label_smoothing": 0.0, "distill": 0.0, "distill_temperature": 2.0,
    "weight_averaging": None, "precision": "bfloat16", "max_batches": None,
}  # fmt: skip


def test_training_with_kernels_learns_and_resumes_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "FUSED_FROM", 0)
    settings = stages.load_baseline("config/baselines/digits_resnet.yaml").data
    data = open_data(build_manifest({"data": settings, "seed": 0}, threads=1))
    description = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8, "width": 11}, "weights": None}

    def trained(**how):
        model = models.build(description, data.classes, data.input_shape, seed=0)
        return model, loop.train(model, data, SETTINGS, seed=0, **how)

    whole, result = trained()
    assert result.selection_accuracy_percent > result.start_accuracy_percent + 30
    run = loop._Loop.run

    def interrupted(loop, epoch):
        if epoch == 3:
            raise KeyboardInterrupt
        run(loop, epoch)

    monkeypatch.setattr(loop._Loop, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(progress_dir=tmp_path)
    monkeypatch.setattr(loop._Loop, "run", run)
    resumed, _ = trained(progress_dir=tmp_path)
    for (name, one), other in zip(whole.state_dict().items(), resumed.state_dict().values()):
        assert torch.equal(one, other), name
    assert not any(isinstance(module, fusion.BatchNorm) for module in whole.modules())
