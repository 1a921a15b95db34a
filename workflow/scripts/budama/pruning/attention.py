"""Attention of vision transformers: its heads as what can be removed, and what must follow them.

One layer `qkv` gives queries, keys and values of all heads, below one another: channel c of head h of a third is row
h · d + c of it, d the width of a head. Reshapes hide that from the dependency graph, so a model is traced with a
forward pass of the same layers in which the three thirds are added up: channel i of `proj`'s input is then tied to
rows i of the three, which is how they belong together.

- timm's attention has a width of its own. Whole heads are removed: their rows of the three thirds, their columns of
  `proj`, and their column of a table of position biases. What is left computes what it did. A head's score is the sum
  of its channels' scores over q, k and v (by its mean, so that groups compare a channel each); what reads the channel,
  `proj`, counts to the rows of v, from which it reads.
- torchvision's Swin takes the embedding's width for its heads' width: a channel of the embedding goes with the same
  channel of q, k, v and of `proj`'s input, one of every head at a time, as in nn.MultiheadAttention. Scores are divided
  by the root of a head's new width.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS = {("timm.layers.attention", "Attention"), ("timm.models.swin_transformer", "WindowAttention")}
_TORCHVISION = "torchvision.models.swin_transformer"
EMBEDDING = {(_TORCHVISION, "ShiftedWindowAttention"), (_TORCHVISION, "ShiftedWindowAttentionV2")}
TABLE = "relative_position_bias_table"  # [positions, heads]


def has_heads(module: nn.Module) -> bool:
    """Whether whole heads can be removed from it. A class derived from these may compute something else."""
    return _place(module) in HEADS and hasattr(module, "qkv")


def is_embedding(module: nn.Module) -> bool:
    """Whether its heads are slices of the embedding."""
    return _place(module) in EMBEDDING


def head_layers(model: nn.Module) -> dict[nn.Module, Any]:
    """By the layer that gives queries, keys and values: the attention that heads can be removed from."""
    return {module.qkv: module for module in _all(model) if has_heads(module)}


def embedding_heads(model: nn.Module) -> dict[nn.Module, int]:
    """Layers that give an embedding which attention divides into so many heads."""
    return {module.proj: module.num_heads for module in _all(model) if is_embedding(module)}


def fused_layers(model: nn.Module) -> list[nn.Module]:
    """The layers that give queries, keys and values of all heads."""
    return [module.qkv for module in _all(model) if has_heads(module) or is_embedding(module)]


def followers(model: nn.Module) -> set[nn.Module]:
    """Layers whose channels are those of others, and of which a group is not traced."""
    found = {module.qkv for module in _all(model) if is_embedding(module)}
    return found | {module.gate for module in _all(model) if has_heads(module) and getattr(module, "gate", None)}


def head_width(module: Any) -> int:
    """Channels of a head: of its queries, of its keys, and of its values."""
    return module.qkv.out_features // 3 // module.num_heads


def within_a_head(module: nn.Module, name: str) -> bool:
    """Whether the child of this name normalises each head's channels by themselves."""
    return has_heads(module) and name in ("q_norm", "k_norm")


def lose_heads(module: Any, rows: list[int]) -> list[int]:
    """Have `module` count the heads that are left when `rows` of its `qkv` are removed; these heads' numbers."""
    width, heads = head_width(module), module.num_heads
    gone = {row // width for row in rows if row < width * heads}
    kept = [head for head in range(heads) if head not in gone]
    module.num_heads = len(kept)
    if hasattr(module, "attn_dim"):
        module.attn_dim = len(kept) * width
    table = getattr(module, TABLE, None)
    if table is not None:
        smaller = table.detach()[:, kept].clone()
        setattr(module, TABLE, nn.Parameter(smaller, requires_grad=table.requires_grad))
    return kept


@torch.no_grad()
def widen_queries(module: Any, kept: int) -> None:
    """Multiply queries, so that they are worth as much as in attention whose heads have the share `kept` rows of q, k
    and v leave: scores are divided by the root of a head's width."""
    if getattr(module, "logit_scale", None) is None:  # else q and k are divided by their lengths
        rows = module.qkv.out_features // 3
        for value in (module.qkv.weight, module.qkv.bias):
            if value is not None:
                value[:rows] *= (3 * rows / kept) ** 0.5


def needs_other_forward(model: nn.Module) -> bool:
    """Whether `forward` is the pass to trace the model by."""
    return any(_stand_in(module) is not None for module in model.modules())


def forward(model: nn.Module, images: Any) -> list[Any]:
    """A forward pass that the dependency graph can follow: the outputs, and those of layers that it cannot reach.

    Attention adds up q, k and v; windows and their shifts, which move positions alone, are left out, and patches are
    merged with themselves.
    """
    replaced = [(module, found) for module in _all(model) if (found := _stand_in(module)) is not None]
    for module, found in replaced:
        module.forward = partial(found, module)
    try:
        logits = model(*images) if isinstance(images, tuple) else model(images)
        return [logits, *(_biases(m) for m in _all(model) if is_embedding(m) and hasattr(m, "cpb_mlp"))]
    finally:
        for module, _ in replaced:
            del module.forward


def _stand_in(module: nn.Module) -> Any:
    """What to call in place of a module's forward pass."""
    if has_heads(module):
        return _own_width
    if is_embedding(module):
        return _embedding_width
    timm = "timm.models.swin_transformer"
    return {
        (timm, "SwinTransformerBlock"): _block,
        (timm, "PatchMerging"): _merge,
        (_TORCHVISION, "PatchMerging"): _merge,
        (_TORCHVISION, "PatchMergingV2"): _merge_then_norm,
    }.get(_place(module))


def _own_width(module: Any, x: Tensor, *_: Any, **__: Any) -> Tensor:
    q, k, v = module.qkv(x).chunk(3, dim=-1)
    read = q + k + v
    if hasattr(module, "norm"):  # over all heads' channels; q_norm and k_norm are over those of one
        read = module.norm(read)
    if getattr(module, "gate", None) is not None:
        read = read * module.gate(x)
    return module.proj(read)


def _embedding_width(module: Any, x: Tensor) -> Tensor:
    q, k, v = module.qkv(x).chunk(3, dim=-1)
    return module.proj(q + k + v + x)


def _biases(module: Any) -> Tensor:
    """What Swin V2 adds to scores. Its own non-linearity writes into the first layer's output, which hides that."""
    first, _, last = module.cpb_mlp
    return last(functional.relu(first(module.relative_coords_table)))


def _block(module: Any, x: Tensor) -> Tensor:
    x = x + module.drop_path1(module.attn(module.norm1(x)))
    return x + module.drop_path2(module.mlp(module.norm2(x)))


def _merge(module: Any, x: Tensor) -> Tensor:
    return module.reduction(module.norm(_four(x)))


def _merge_then_norm(module: Any, x: Tensor) -> Tensor:
    return module.norm(module.reduction(_four(x)))


def _four(x: Tensor) -> Tensor:
    """Four neighbours' channels behind one another; of one position, since where they lie does not count."""
    return torch.cat([x.mean((1, 2), keepdim=True)] * 4, dim=-1)


def _all(model: nn.Module) -> Iterator[Any]:
    return model.modules()


def _place(module: nn.Module) -> tuple[str, str]:
    return type(module).__module__, type(module).__name__
