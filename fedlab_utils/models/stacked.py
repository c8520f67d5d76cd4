"""Many clients' models trained as one batched computation. Taught in chapter 03.

A Python loop over clients spends its time on starting small operations. Here the parameters of
K clients lie on a leading axis, so that one batched matrix product does the work of K products.
The arithmetic of each client is that of the loop; only the bookkeeping is shared.

Both classes keep the K models' weights and gradients as one flat buffer each (`weights`,
`gradients`, same layout), so that a local solver is a line of elementwise arithmetic.
"""

from __future__ import annotations

import copy
from typing import Protocol

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap


class StackedModel(Protocol):
    """K models of one architecture, trained side by side."""

    weights: torch.Tensor
    gradients: torch.Tensor
    clients: int

    def differentiate(self, x: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Fill `gradients` with those of each client's mean loss; return the sum over its rows [K].

        A row's loss is its mean squared reconstruction error.

        Args:
            x: [K, B, ...] one batch of each client.
            counts: [K] how many rows of each batch count; those after them are padding.
        """
        ...

    def pack(self, values: torch.Tensor) -> torch.Tensor:
        """Values [P] or [K, P], in the order of `flatten`, as a new buffer of all clients."""
        ...

    def keep(self, buffer: torch.Tensor, k: int) -> torch.Tensor:
        """The part of a buffer that belongs to the first k clients, as a new buffer."""
        ...

    def shrink(self, k: int) -> None:
        """Go on with the first k clients only."""
        ...

    def matrix(self) -> torch.Tensor:
        """The weights as [K, P], parameters in the order of `flatten`."""
        ...


class StackedModule:
    """K copies of any `nn.Module` autoencoder, by `functional_call` under `vmap(grad)`.

    The module must be a pure function of its parameters and input (no dropout, no batch
    statistics) and return what it was given, reconstructed.
    """

    def __init__(self, model: nn.Module, start: torch.Tensor, clients: int):
        self.clients = clients
        self.weights = self.pack(start)
        self.gradients = torch.empty_like(self.weights)
        # functional_call swaps the module's parameters while it runs: chunks that are trained on
        # different threads must not share one module.
        self._model = copy.deepcopy(model)
        self._named = list(self._model.named_parameters())
        self._buffers = dict(self._model.named_buffers())

        def loss(flat: torch.Tensor, x: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
            used = torch.arange(len(x)) < count
            return (self.row_errors(flat, x) * used).sum() / count

        self._gradient = vmap(grad_and_value(loss))

    def row_errors(self, flat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Mean squared error of each row [B] of one model with the weights `flat` [P]."""
        values, position = dict(self._buffers), 0
        for name, p in self._named:
            values[name] = flat[position : position + p.numel()].view(p.shape)
            position += p.numel()
        error = functional_call(self._model, values, (x,)) - x
        return error.square().flatten(1).mean(1)

    def differentiate(self, x: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """See StackedModel. `x` is [K, B, ...]."""
        self.gradients, loss = self._gradient(self.weights, x, counts)
        return loss * counts

    def pack(self, values: torch.Tensor) -> torch.Tensor:
        """See StackedModel."""
        return values.expand(self.clients, -1).clone()

    def keep(self, buffer: torch.Tensor, k: int) -> torch.Tensor:
        """See StackedModel."""
        return buffer[:k].clone()

    def shrink(self, k: int) -> None:
        """See StackedModel."""
        self.weights = self.keep(self.weights, k)
        self.clients = k

    def matrix(self) -> torch.Tensor:
        """See StackedModel."""
        return self.weights
