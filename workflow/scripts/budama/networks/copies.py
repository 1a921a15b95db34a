"""Copies of a model that are not made of copied weights."""

import copy

import torch
from torch import nn


def sharing_tensors(model: nn.Module) -> nn.Module:
    """A copy of the modules alone, with the very same parameters and buffers: what trains one trains the other."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def without_storage(model: nn.Module) -> nn.Module:
    """A copy whose tensors have shapes and no values (on PyTorch's device `meta`)."""
    memo: dict[int, torch.Tensor] = {
        id(p): nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in model.parameters()
    }
    memo |= {id(b): b.detach().to("meta") for b in model.buffers()}
    return copy.deepcopy(model, memo)
