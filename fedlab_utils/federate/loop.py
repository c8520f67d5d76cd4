"""Local training of one client after the other. Taught in chapter 03."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss

from fedlab_utils.federate.batches import RowStore
from fedlab_utils.federate.engine import one_thread_each, rows_of
from fedlab_utils.federate.order import batch_order
from fedlab_utils.federate.solvers import SGD
from fedlab_utils.models.flat import flatten, unflatten


def train_loop(
    model: nn.Module,
    weights: torch.Tensor,
    store: RowStore,
    clients: np.ndarray,
    local: SGD,
    seed: int,
    round_: int,
    beside: Mapping[str, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same as `train_stacked`, one client after the other with autograd and torch.optim.

    The readable reference: what a client does when it is alone on its own machine.
    """
    updates = torch.empty(len(clients), weights.shape[-1])
    losses = torch.empty(len(clients))
    with one_thread_each():
        for i, client in enumerate(clients):
            mine = {name: rows_of(t, i) for name, t in (beside or {}).items()}
            updates[i], losses[i] = _train_alone(
                model, rows_of(weights, i), store.of(client), client, local, seed, round_, mine
            )
    return updates, losses


def _train_alone(
    model: nn.Module,
    weights: torch.Tensor,
    rows: torch.Tensor,
    client: int,
    local: SGD,
    seed: int,
    round_: int,
    beside: Mapping[str, torch.Tensor],
) -> tuple[torch.Tensor, float]:
    """One client's update [P] and mean training loss."""
    own = unflatten(weights, model)
    optimiser = torch.optim.SGD(own.parameters(), lr=local.lr, momentum=local.momentum)
    size, loss_sum = len(rows), 0.0
    for epoch in range(local.epochs):
        who, when, how_many = np.array([client]), np.array([epoch]), np.array([size])
        order = torch.from_numpy(batch_order(seed, round_, who, when, size, how_many)[0])
        for batch in order.split(local.batch_size or size):
            x = rows[batch]
            optimiser.zero_grad()
            loss = mse_loss(own(x), x)
            loss.backward()
            if beside:
                _adjust(own, local, beside)
            optimiser.step()
            loss_sum += loss.item() * len(batch)
    return flatten(own) - weights, loss_sum / (size * local.epochs)


def _adjust(own: nn.Module, local: SGD, beside: Mapping[str, torch.Tensor]) -> None:
    """Let the solver change one model's gradients."""
    parameters = list(own.parameters())
    gradients = torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None])
    local.adjust(flatten(own), gradients, beside)
    for p, g in zip(parameters, gradients.split([p.numel() for p in parameters]), strict=True):
        p.grad = g.view_as(p)
