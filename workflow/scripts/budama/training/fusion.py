"""A model's twin for training on a CPU: BatchNorm, residual sum and ReLU are single kernels (`training.kernels`).

The twin has the very same parameters and buffers, so that what trains it trains the model; the model itself stays as it
is. Results differ by rounding alone.
"""

import operator
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from budama.networks import copies
from budama.training import kernels

TRACED = ("budama", "timm", "torchvision")  # others' models may do in Python what a recorded graph would not repeat
SUMS = (operator.add, operator.iadd, torch.add)
RELUS = (functional.relu, torch.relu)


def twin(model: nn.Module, training: bool = True) -> nn.Module:
    """The twin of `model` for training or for evaluation, in that mode alone.

    Sums and ReLUs are joined in known families, the norms alone in others.
    """
    copied = copies.sharing_tensors(model).train(training)
    for module in copied.modules():
        if type(module) is nn.BatchNorm2d and module.affine and module.track_running_stats:
            module.__class__ = BatchNorm
    return _joined(copied) if type(model).__module__.partition(".")[0] in TRACED else copied


class BatchNorm(nn.BatchNorm2d):
    """BatchNorm2d, and on request what follows it: ReLU, or the sum with a `residual` of the same shape and ReLU."""

    def forward(  # type: ignore[override]  # BatchNorm2d's, with more to ask for
        self, images: torch.Tensor, residual: torch.Tensor | None = None, relu: bool = False, twice: bool = False
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """[N, C, H, W] to the same shape. On a CPU, channels_last has kernels; else PyTorch does it.

        `twice`, after ReLU, gives the result as two tensors, for two readers: the kernel then adds up their gradients.
        """
        relu = relu or residual is not None
        served = _served(images, self.weight) and (residual is None or _alike(images, residual))
        if served and self.training:
            tracked: Any = self.num_batches_tracked
            tracked.add_(1)
            momentum = 1 / tracked.item() if self.momentum is None else self.momentum
            statistics = self.running_mean, self.running_var, np.array([self.eps, momentum])
            return _Normalised.apply(images, residual, self.weight, self.bias, statistics, relu, twice)
        if served and not torch.is_grad_enabled():
            result = self._evaluated(images, residual, relu)
        else:
            result = super().forward(images)
            if residual is not None:
                result = result + residual
            result = functional.relu(result) if relu else result
        return (result, result) if twice else result

    def _evaluated(self, images: torch.Tensor, residual: torch.Tensor | None, relu: bool) -> torch.Tensor:
        output = torch.empty_like(images)
        kernels.run(
            "evaluate", images, relu, residual=residual, output=output, weight=self.weight, bias=self.bias,
            running_mean=self.running_mean, running_var=self.running_var,
            epsilon_and_momentum=np.array([self.eps, 0.0]),
        )  # fmt: skip
        return output


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images, residual, weight, bias, statistics, relu, twice):
        output, mean, scale = torch.empty_like(images), torch.empty_like(weight), torch.empty_like(weight)
        running_mean, running_var, epsilon_and_momentum = statistics
        kernels.run(
            "forward", images, relu, residual=residual, output=output, weight=weight, bias=bias, mean=mean, scale=scale,
            running_mean=running_mean, running_var=running_var, epsilon_and_momentum=epsilon_and_momentum,
        )  # fmt: skip
        ctx.relu, ctx.residual = relu, residual is not None
        # With one reader and no residual, the input tells where ReLU was active.
        ctx.save_for_backward(images, output if twice or ctx.residual else None, weight, bias, mean, scale)
        return (output, output.detach()) if twice else output

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        images, output, weight, bias, mean, scale = ctx.saved_tensors
        gradient, second = (*(each.contiguous(memory_format=torch.channels_last) for each in gradients), None)[:2]
        own, of_weight, of_bias = torch.empty_like(images), torch.empty_like(weight), torch.empty_like(bias)
        masked = None if output is None else torch.empty_like(images)
        kernels.run(
            "backward", images, ctx.relu, output=output, weight=weight, bias=bias, mean=mean, scale=scale,
            gradient=gradient, second_gradient=second, input_gradient=own, masked_gradient=masked,
            weight_gradient=of_weight, bias_gradient=of_bias,
        )  # fmt: skip
        return own, masked if ctx.residual else None, of_weight, of_bias, None, None, None


def _served(images: torch.Tensor, weight: torch.Tensor) -> bool:
    return (
        images.device.type == "cpu"
        and images.dtype in (torch.bfloat16, torch.float32)
        and weight.dtype == torch.float32
        and images.is_contiguous(memory_format=torch.channels_last)
        and images.numel() > images.shape[1]  # of one value there is no variance
    )


def _alike(images: torch.Tensor, other: torch.Tensor) -> bool:
    same = other.shape == images.shape and other.dtype == images.dtype
    return same and other.is_contiguous(memory_format=torch.channels_last)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, BatchNorm) or super().is_leaf_module(module, name)


def _joined(copied: nn.Module) -> nn.Module:
    """`copied` with sums and ReLUs moved into the BatchNorms before them; as it is where it cannot be recorded."""
    try:
        graph = _Tracer().trace(copied)
    except Exception:  # whatever a model's own code raises when it is given no tensor
        return copied
    modules = dict(copied.named_modules())
    for node in list(graph.nodes):
        if _is_relu(node, modules):
            _join(graph, node, modules)
    for node in list(graph.nodes):
        if _is_norm(node, modules, joined=True) and len(node.users) == 2:
            _part(graph, node)
    graph.lint()
    return fx.GraphModule(copied, graph).train(copied.training)


def _join(graph: fx.Graph, relu: fx.Node, modules: dict[Any, nn.Module]) -> None:
    """Let the BatchNorm before a ReLU, with or without a sum between them, do all of it."""
    before: Any = relu.args[0]
    norm, residual = before, None
    if _is_sum(before) and len(before.users) == 1:
        first, second = before.args
        norm, residual = (second, first) if _is_norm(second, modules) else (first, second)
    if not _is_norm(norm, modules) or len(norm.users) != 1 or residual is norm:
        return
    norm.kwargs = {"relu": True} if residual is None else {"residual": residual}
    relu.replace_all_uses_with(norm)
    graph.erase_node(relu)
    if residual is not None:
        before.append(norm)  # to where all that it reads has been computed
        graph.erase_node(before)


def _part(graph: fx.Graph, norm: fx.Node) -> None:
    """Give each of the two readers of a result a tensor of its own."""
    readers = list(norm.users)
    norm.kwargs = {**norm.kwargs, "twice": True}
    with graph.inserting_after(norm):
        for place, reader in enumerate(readers):
            reader.replace_input_with(norm, graph.call_function(operator.getitem, (norm, place)))


def _is_norm(node: fx.Node, modules: dict[Any, nn.Module], joined: bool = False) -> bool:
    return node.op == "call_module" and isinstance(modules[node.target], BatchNorm) and bool(node.kwargs) == joined


def _is_relu(node: fx.Node, modules: dict[Any, nn.Module]) -> bool:
    if not node.args or not isinstance(node.args[0], fx.Node):
        return False
    if node.op == "call_module":
        return type(modules[node.target]) is nn.ReLU
    return _calls(node, RELUS, ("relu", "relu_"))


def _is_sum(node: fx.Node) -> bool:
    two = len(node.args) == 2 and not node.kwargs and all(isinstance(argument, fx.Node) for argument in node.args)
    return two and _calls(node, SUMS, ("add", "add_"))


def _calls(node: fx.Node, functions: tuple, methods: tuple[str, ...]) -> bool:
    if node.op == "call_function":
        return node.target in functions
    return node.op == "call_method" and node.target in methods
