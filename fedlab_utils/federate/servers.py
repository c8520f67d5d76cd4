"""What the server does with the combined update. Taught in chapter 03."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch

from fedlab_utils.errors import FedlabError

ServerState = dict[str, torch.Tensor]


class ServerOptimizer(Protocol):
    """Moves the global weights by the aggregated update, with named tensors as its memory."""

    def start(self, weights: torch.Tensor) -> ServerState:
        """The memory before the first round; a checkpoint stores it."""
        ...

    def step(
        self, weights: torch.Tensor, update: torch.Tensor, state: ServerState
    ) -> tuple[torch.Tensor, ServerState]:
        """New weights [P] and memory; the arguments are left as they are."""
        ...


@dataclass(frozen=True)
class ServerSGD:
    """Add the update times `lr`; lr = 1 is FedAvg.

    Source: Reddi et al. 2021, arXiv:2003.00295. Taught in chapter 03.
    """

    lr: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise FedlabError(f"ServerSGD: lr={self.lr} must be a positive number.")

    def start(self, weights: torch.Tensor) -> ServerState:
        """No memory."""
        return {}

    def step(
        self, weights: torch.Tensor, update: torch.Tensor, state: ServerState
    ) -> tuple[torch.Tensor, ServerState]:
        """weights + lr * update."""
        return weights + self.lr * update, state
