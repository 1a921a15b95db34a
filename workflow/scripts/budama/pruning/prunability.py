"""What Torch-Pruning must be told about some architectures. All knowledge about particular models stands here.

The dependency graph follows convolutions, linear layers, normalisation, sums and concatenations by itself. It cannot
follow channels through reshapes that mix them: there a part of the model keeps its width, and the rest is pruned.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from budama.networks import models
from budama.pruning import attention
from budama.pruning import patterns as naming


def ignored(
    model: nn.Module, patterns: Iterable[str] | None, classes: int, heads: Iterable[str] = ()
) -> list[nn.Module]:
    """Modules that a user leaves out of pruning, and what gives the logits of the `classes`: `heads`, where a pass
    showed them (`outputs.giving`), and what bears the classifier's name or place.

    `patterns` are dotted names (`layer1.0.conv1`) or wildcards (`layer1.*`, `*.downsample*`); a name stands for all
    that is below it. A pattern that matches nothing is a BudamaError with the nearest names.
    """
    modules = dict(model.named_modules())
    chosen = dict.fromkeys([*models.classifiers(model, classes), *heads])
    for pattern in patterns or ():
        chosen.update(dict.fromkeys(naming.matching(modules, pattern, "pruning.ignore")))
    return [modules[name] for name in chosen]


def pruning_hints(model: nn.Module) -> dict:
    """Keyword arguments for Torch-Pruning's `BasePruner` or `DependencyGraph`, for this architecture.

    `ignored_layers`: layers that keep their width. `forward_fn(model, images)`: the forward pass to trace.
    `num_heads`: into how many equal blocks layers' outputs are divided.
    """
    hints: dict = {}
    kept = list(_keep_width(model))
    if kept:
        hints["ignored_layers"] = kept
    if _is(model, "ShuffleNetV2", "torchvision"):
        hints["forward_fn"] = _forward_in_pieces
    elif attention.needs_other_forward(model):
        hints |= {"forward_fn": attention.forward, "num_heads": attention.embedding_heads(model)}
    return hints


def finish_pruning(model: Any) -> None:
    """Set attributes that follow from channel counts and that Torch-Pruning does not know. Call it after pruning."""
    if _is(model, "VisionTransformer", "torchvision"):
        model.hidden_dim = model.conv_proj.out_channels


def _keep_width(model: nn.Module) -> Iterator[nn.Module]:
    shuffled: list[Any] = [m for m in model.modules() if _is(m, "InvertedResidual", "torchvision.models.shufflenetv2")]
    for block in shuffled:
        # Both branches are concatenated, shuffled and cut in halves: their outputs stay, their insides are pruned. The
        # depthwise layer of the first block alone reads what is not shuffled.
        yield block.branch2[5]
        if len(block.branch1):
            yield block.branch1[2]
            if block is not shuffled[0]:
                yield block.branch1[0]
    module: Any
    for module in model.modules():
        if _is(module, "Attention", "timm") and hasattr(module, "qkv") and not attention.has_heads(module):
            # One projection for q, k and v in an order of its own: that stays, the embedding around it is pruned.
            yield module.qkv
        elif _is(module, "SplitAttn", "timm"):
            # Channels are reshaped into the splits that attention chooses among.
            yield from (module.conv, module.fc2)
        elif hasattr(module, "cpb_mlp") and attention.is_embedding(module):
            yield module.cpb_mlp[-1]  # gives the heads' biases


def _is(module: nn.Module, name: str, package: str = "") -> bool:
    return any(kind.__name__ == name and kind.__module__.startswith(package) for kind in type(module).__mro__)


def _forward_in_pieces(model: nn.Module, images) -> list[torch.Tensor]:
    """ShuffleNet's forward pass for tracing, cut behind every block: what is shuffled keeps its width (see
    `_keep_width`), and its reshapes would only mislead the dependency graph."""
    pieces = []

    def forward(block: Any, features: torch.Tensor) -> torch.Tensor:
        halves = features.chunk(2, dim=1) if block.stride == 1 else (features, features)
        branches = [branch(half) for branch, half in zip((block.branch1, block.branch2), halves) if len(branch)]
        pieces.extend(branches)
        untouched = [halves[0]] if block.stride == 1 else []
        return torch.cat([*untouched, *branches], dim=1).detach()

    blocks = [module for module in model.modules() if hasattr(module, "branch2")]
    for block in blocks:
        block.forward = partial(forward, block)
    try:
        return [model(*images) if isinstance(images, tuple) else model(images), *pieces]
    finally:
        for block in blocks:
            del block.forward
