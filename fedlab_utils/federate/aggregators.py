"""How the server makes one update of many. Taught in chapter 03."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from fedlab_utils.errors import FedlabError


class Aggregator(Protocol):
    """Anything that turns the update matrix into one update."""

    def aggregate(self, updates: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Combine updates [K, P] with weights [K] (training rows) into one update [P]."""
        ...


@dataclass(frozen=True)
class Mean:
    """The mean of the updates, weighted by training rows (FedAvg) or not.

    Attributes:
        weighted: False gives each client the same say, however many rows it has.

    Source: McMahan et al. 2017, arXiv:1602.05629. Taught in chapter 03.
    """

    weighted: bool = True

    def aggregate(self, updates: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """[K, P], [K] -> [P]. Raises FedlabError if shapes or weights make no mean."""
        if updates.ndim != 2 or weights.shape != updates.shape[:1]:
            raise FedlabError(
                f"Mean: updates {tuple(updates.shape)} and weights {tuple(weights.shape)} do not "
                f"fit; they must be [K, P] and [K]."
            )
        if not self.weighted:
            return updates.mean(dim=0)
        if not bool((weights >= 0).all()) or not float(weights.sum()) > 0:
            raise FedlabError("Mean: weights must not be negative and must not all be zero.")
        share = (weights.double() / weights.double().sum()).to(updates.dtype)
        return share @ updates
