"""What a client does with its rows between two messages. Taught in chapter 03."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from fedlab_utils.errors import FedlabError

if TYPE_CHECKING:
    from fedlab_utils.federate.batches import RowStore

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
        """Train the clients of these numbers; updates [K, P] and losses [K].

        `weights` are [P], or [K, P] if each client starts from weights of its own.
        """
        ...


@dataclass(frozen=True)
class Trained:
    """What a round of local training makes.

    Attributes:
        updates: [K, P] each client's weights minus those it got.
        losses: [K] mean training losses.
        extra: float32 numbers that each client sends beside its update, and gets beside the
            weights.
    """

    updates: torch.Tensor
    losses: torch.Tensor
    extra: int = 0


@runtime_checkable
class RoundSolver(Protocol):
    """A local solver that remembers something from round to round. Taught in chapter 09."""

    def start(self, weights: torch.Tensor, sizes: np.ndarray) -> dict[str, torch.Tensor]:
        """The memory before the first round, for clients with `sizes` [N] training rows.

        A checkpoint stores it. Whoever takes no part in a round keeps what it has.
        """
        ...

    def train_round(
        self,
        engine: Engine,
        model: nn.Module,
        weights: torch.Tensor,
        store: RowStore,
        clients: np.ndarray,
        seed: int,
        round_: int,
        state: dict[str, torch.Tensor],
    ) -> Trained:
        """Train as a LocalSolver does, and change `state` in place."""
        ...

    def personal(self, state: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """The weights [N, P] of the clients' own models, or None if they share one."""
        ...


def train_round(
    local: LocalSolver | RoundSolver,
    engine: Engine,
    model: nn.Module,
    weights: torch.Tensor,
    store: RowStore,
    clients: np.ndarray,
    seed: int,
    round_: int,
    state: dict[str, torch.Tensor],
) -> Trained:
    """Call a local solver of either kind."""
    if isinstance(local, RoundSolver):
        return local.train_round(engine, model, weights, store, clients, seed, round_, state)
    return Trained(*local.train(engine, model, weights, store, clients, seed, round_))


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
        return self.run(engine, model, weights, store, clients, seed, round_, {})

    def run(
        self,
        engine: Engine,
        model: nn.Module,
        weights: torch.Tensor,
        store: RowStore,
        clients: np.ndarray,
        seed: int,
        round_: int,
        beside: Mapping[str, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`train`, with [P] or [K, P] tensors that `adjust` gets in every step."""
        from fedlab_utils.federate.engine import train_stacked
        from fedlab_utils.federate.loop import train_loop

        train = train_stacked if engine == "stacked" else train_loop
        return train(model, weights, store, clients, self, seed, round_, beside=beside)

    def adjust(
        self, weights: torch.Tensor, gradients: torch.Tensor, beside: Mapping[str, torch.Tensor]
    ) -> None:
        """Change the gradients before a step, in place; plain SGD leaves them as they are."""

    def effective_steps(self, rows: torch.Tensor) -> torch.Tensor:
        """How far a round goes along a constant gradient, in units of lr, for rows [K] -> [K].

        Without momentum the number of steps. With momentum m, a gradient that enters in step s of
        tau moves the weights by 1 + m + ... + m^(tau - s); this is the sum over s. Source: Wang
        et al. 2020, arXiv:2007.07481.
        """
        batch = rows.double() if self.batch_size is None else float(self.batch_size)
        taken = torch.ceil(rows.double() / batch) * self.epochs
        m = self.momentum
        if m == 0:
            return taken
        # sum over s of (1 - m^(tau - s + 1)) / (1 - m)
        return (taken - m * (1 - m**taken) / (1 - m)) / (1 - m)

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
