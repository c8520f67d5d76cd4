"""Sums of clipped per-row gradients, for many clients at once. Taught in chapter 06.

DP-SGD needs the norm of every row's gradient. For a dense layer with input h and back-propagated
delta, a row's gradient is the outer product of delta and [h, 1], so its squared norm is
|delta|^2 (|h|^2 + 1): no gradient of a single row is ever made. Rows of delta are then scaled,
and one product adds up the clipped gradients.

Sources: Goodfellow 2015, https://arxiv.org/abs/1510.01799 (norms); Bu, Wang, Zha and Karypis 2023,
https://arxiv.org/abs/2210.00038 (one backward pass, "book-keeping").
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn
from torch.func import grad_and_value, vmap

from fedlab_utils.models.dense import DenseAutoencoder
from fedlab_utils.models.flat import flatten
from fedlab_utils.models.stacked import StackedModel, StackedModule
from fedlab_utils.models.stacked_dense import StackedDense


class ClippedModel(StackedModel, Protocol):
    """K models whose gradients are sums of clipped gradients of rows."""

    def differentiate_clipped(
        self, x: torch.Tensor, counts: torch.Tensor, clip: float, scale: torch.Tensor
    ) -> torch.Tensor:
        """Fill `gradients` with scaled sums of the rows' clipped gradients.

        Args:
            x: [K, B, ...] one batch of each client.
            counts: [K] how many rows of each batch count; those after them are padding.
            clip: largest norm of a row's gradient.
            scale: [K] factor of each client's sum.

        Returns:
            The sum of the rows' mean squared errors of each client [K].
        """
        ...

    def add_to_gradients(self, vectors: torch.Tensor) -> None:
        """Add vectors [K, P], parameters in the order of `flatten`."""
        ...


def clipped_model(model: nn.Module, start: torch.Tensor, clients: int, batch: int) -> ClippedModel:
    """K copies of `model`, all with the weights `start` [P], for batches of `batch` rows."""
    if isinstance(model, DenseAutoencoder):
        return ClippedDense(model, start, clients, batch)
    return ClippedModule(model, start, clients)


class ClippedDense(StackedDense):
    """K dense autoencoders; norms from inputs and deltas, exact. See ClippedModel."""

    def differentiate_clipped(
        self, x: torch.Tensor, counts: torch.Tensor, clip: float, scale: torch.Tensor
    ) -> torch.Tensor:
        """See ClippedModel. `x` is [K, B, stacked_width(d)], made by `with_ones`."""
        out = self.reconstruct(x)
        n_features = out.shape[2]
        used = self._positions < counts[:, None]
        loss = (out.square().sum(dim=2).div_(n_features) * used).sum(dim=1)
        out.mul_(2.0 / n_features)  # the gradient of a row's error, neither clipped nor scaled
        norms = self._squared_norms(x).sqrt_()
        factor = row_factors(norms, clip).mul_(used).mul_(scale[:, None])
        # The products of `differentiate`, with every row scaled.
        out.mul_(factor.unsqueeze(2))
        for d in self._d:
            d.mul_(factor.unsqueeze(1))
        deltas, below = [*self._d, self._out_t], [x, *self._h_rows]
        for delta, h, g in zip(deltas, below, self._g, strict=True):
            torch.bmm(delta, h, out=g)
        return loss

    def _squared_norms(self, x: torch.Tensor) -> torch.Tensor:
        """Send the deltas back through the layers; squared norms of the rows' gradients [K, B]."""
        last = len(self.shapes) - 1
        delta, total = self._out_t, torch.zeros(x.shape[:2])
        squares = self._out.square().sum(dim=2)
        for layer in range(last, 0, -1):
            # z is free again, and has the size of this layer's input.
            z, h = self._z[layer - 1], self._h_inner[layer - 1]
            total.add_(torch.mul(h, h, out=z).sum(dim=1).add_(1).mul_(squares))
            delta = self.send_back(layer, delta)
            squares = torch.mul(delta, delta, out=z).sum(dim=1)
        # x has its column of ones already.
        return total.add_(x.square().sum(dim=2).mul_(squares))

    def add_to_gradients(self, vectors: torch.Tensor) -> None:
        """See ClippedModel."""
        at = 0
        for g, (n_out, n_in) in zip(self._g, self.shapes, strict=True):
            size = n_out * n_in
            g[:, :, :n_in].add_(vectors[:, at : at + size].view(-1, n_out, n_in))
            g[:, :, n_in].add_(vectors[:, at + size : at + size + n_out])
            at += size + n_out


class ClippedModule(StackedModule):
    """K copies of any `nn.Module`, the gradient of every row made by `vmap`. See ClippedModel."""

    def __init__(self, model: nn.Module, start: torch.Tensor, clients: int):
        super().__init__(model, start, clients)

        def loss(flat: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
            return self.row_errors(flat, row.unsqueeze(0)).squeeze(0)

        self._gradients_of_rows = vmap(vmap(grad_and_value(loss), in_dims=(None, 0)))

    def differentiate_clipped(
        self, x: torch.Tensor, counts: torch.Tensor, clip: float, scale: torch.Tensor
    ) -> torch.Tensor:
        """See ClippedModel. `x` is [K, B, ...]; takes room for K B P numbers."""
        gradients, losses = self._gradients_of_rows(self.weights, x)
        used = torch.arange(x.shape[1]) < counts[:, None]
        norms = torch.linalg.vector_norm(gradients, dim=2)
        factor = row_factors(norms, clip) * used * scale[:, None]
        self.gradients = torch.bmm(factor.unsqueeze(1), gradients).squeeze(1)
        return (losses * used).sum(dim=1)

    def add_to_gradients(self, vectors: torch.Tensor) -> None:
        """See ClippedModel."""
        self.gradients.add_(vectors)


def row_factors(norms: torch.Tensor, clip: float) -> torch.Tensor:
    """What a gradient of each norm is multiplied by: 1, or less if it is too long."""
    return torch.clamp(clip / norms.clamp_min(1e-30), max=1.0)


def clipped_gradient(
    model: nn.Module, x: torch.Tensor, clip: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The plain reference: the sum of clipped gradients of rows x [B, ...], row by row.

    Returns the sum [P] and the norms before clipping [B]. Taught in chapter 06.
    """
    total = torch.zeros_like(flatten(model))
    norms = torch.zeros(len(x))
    parameters = list(model.parameters())
    for i in range(len(x)):
        row = x[i : i + 1]
        loss = (model(row) - row).square().mean()
        parts = torch.autograd.grad(loss, parameters)
        gradient = torch.cat([g.reshape(-1) for g in parts])
        norms[i] = gradient.norm()
        total += gradient * min(1.0, clip / max(float(norms[i]), 1e-30))
    return total, norms
