"""What a client does with its rows between two messages. Taught in chapter 03."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from torch import nn

from fedlab_utils.errors import FedlabError

if TYPE_CHECKING:
    from fedlab_utils.federate.engine import RowStore

Engine = Literal["stacked", "loop"]


class LocalSolver(Protocol):
    """Anything that makes an update of a client's rows."""

    def train(
        self,
        engine: Engine,
        model: nn.Module,
        weights: torch.Tensor,
        store: RowStore,
        clients: np.ndarray,
        seed: int,
        round_: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Train the clients of these numbers from weights [P]; updates [K, P] and losses [K]."""
        ...


@dataclass(frozen=True)
class SGD:
    """Mini-batch stochastic gradient descent on the mean squared reconstruction error.

    Attributes:
        lr: step size.
        epochs: passes over the client's rows in each round.
        batch_size: rows in a step; None means all of them (full batch). The last batch of an
            epoch may be smaller and counts by its own size.
        momentum: 0 to < 1; the velocity starts at zero in every round, because a client keeps
            no state between rounds.

    Source: McMahan et al. 2017, arXiv:1602.05629 (FedAvg). Taught in chapter 03.
    """

    lr: float = 0.05
    epochs: int = 1
    batch_size: int | None = 32
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise FedlabError(f"SGD: lr={self.lr} must be a positive number.")
        if self.epochs < 1 or int(self.epochs) != self.epochs:
            raise FedlabError(f"SGD: epochs={self.epochs} must be a whole number of at least 1.")
        if self.batch_size is not None and self.batch_size < 1:
            raise FedlabError(f"SGD: batch_size={self.batch_size} must be at least 1, or None.")
        if not 0 <= self.momentum < 1:
            raise FedlabError(f"SGD: momentum={self.momentum} must be at least 0 and less than 1.")

    def train(
        self,
        engine: Engine,
        model: nn.Module,
        weights: torch.Tensor,
        store: RowStore,
        clients: np.ndarray,
        seed: int,
        round_: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See LocalSolver."""
        from fedlab_utils.federate import engine as engines

        run = engines.train_stacked if engine == "stacked" else engines.train_loop
        return run(model, weights, store, clients, self, seed, round_)

    def step(
        self, weights: torch.Tensor, gradients: torch.Tensor, velocity: torch.Tensor | None
    ) -> torch.Tensor | None:
        """One step of all stacked clients, in place; returns the new velocity."""
        if self.momentum:
            velocity = (
                gradients.clone()
                if velocity is None
                else velocity.mul_(self.momentum).add_(gradients)
            )
            weights.add_(velocity, alpha=-self.lr)
        else:
            weights.add_(gradients, alpha=-self.lr)
        return velocity
