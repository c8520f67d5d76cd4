"""A model as one flat vector, and back. Taught in chapter 03.

The order is that of `model.parameters()`: for dense layers the weight, row by row, then the bias.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from fedlab_utils.errors import FedlabError


def flatten(model: nn.Module) -> torch.Tensor:
    """All parameters of a model as one float32 vector [P] (a copy)."""
    parts = [p.detach().reshape(-1).float() for p in model.parameters()]
    if not parts:
        raise FedlabError(f"{type(model).__name__} has no parameters to train.")
    return torch.cat(parts).clone()


def unflatten(vector: torch.Tensor, model: nn.Module) -> nn.Module:
    """A copy of `model` that carries the weights in `vector` [P]; `model` is left as it is.

    Raises FedlabError if the length does not match.
    """
    expected = sum(p.numel() for p in model.parameters())
    if vector.ndim != 1 or vector.numel() != expected:
        raise FedlabError(
            f"a vector of shape {tuple(vector.shape)} does not fit {type(model).__name__}, which "
            f"has {expected} parameters."
        )
    new = copy.deepcopy(model)
    with torch.no_grad():
        start = 0
        for p in new.parameters():
            p.copy_(vector[start : start + p.numel()].view_as(p))
            start += p.numel()
    return new
