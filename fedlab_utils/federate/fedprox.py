"""FedProx: a rubber band from each client to the global model. Taught in chapter 09."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.batches import RowStore
from fedlab_utils.federate.solvers import SGD, Engine


@dataclass(frozen=True)
class FedProx(SGD):
    """SGD on the client's loss plus mu / 2 times the squared distance from where it started.

    In each step the gradient gets mu (w - w_start) added. mu = 0 is SGD, to the bit; a large mu
    keeps the client where the server is. lr * mu must be below 1, or the band overshoots.

    Attributes:
        mu: strength of the pull.

    Source: Li et al. 2020, "Federated Optimization in Heterogeneous Networks", arXiv:1812.06127.
    Taught in chapter 09.
    """

    mu: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.mu) and self.mu >= 0):
            raise FedlabError(f"FedProx: mu={self.mu} must be a number and not negative.")
        if self.lr * self.mu >= 1:
            raise FedlabError(
                f"FedProx: lr * mu = {self.lr * self.mu:g} must be below 1, or each step jumps "
                f"over the start. Use a smaller lr or mu."
            )

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
        anchor = {"anchor": weights}
        return self.run(engine, model, weights, store, clients, seed, round_, anchor)

    def adjust(
        self, weights: torch.Tensor, gradients: torch.Tensor, beside: Mapping[str, torch.Tensor]
    ) -> None:
        """gradients + mu (weights - anchor)."""
        gradients.add_(weights - beside["anchor"], alpha=self.mu)
