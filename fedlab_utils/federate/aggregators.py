"""How the server makes one update of many. Taught in chapter 03."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.sampling import Poisson


class Aggregator(Protocol):
    """Anything that turns the update matrix into one update."""

    def aggregate(self, updates: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Combine updates [K, P] with weights [K] (training rows) into one update [P]."""
        ...


@dataclass(frozen=True)
class RoundContext:
    """What an aggregator may know of the round beside the updates.

    Attributes:
        seed: the run's seed.
        round: 0, 1, 2, ...
        clients: names of those that take part, in the order of the rows of the updates.
        population: clients in the federation.
        per_round: how the clients were drawn, as `fit` got it: a fixed number, `Poisson(rate)`, or
            None for all. Privacy by sampling holds for the draw that was made, no other.
    """

    seed: int
    round: int
    clients: tuple[str, ...]
    population: int
    per_round: int | Poisson | None = None


@dataclass(frozen=True)
class Aggregated:
    """What a `RoundAggregator` makes of a round.

    Attributes:
        update: [P] the combined update.
        state: named tensors it wants back in the next round; a checkpoint stores them.
        bytes_up: bytes that all clients together sent; None for plain float32 updates.
        bytes_down: bytes that the server sent to all of them; None for plain float32 weights.
        epsilon: privacy spent up to and with this round; None if none is claimed.
    """

    update: torch.Tensor
    state: dict[str, torch.Tensor] = field(default_factory=dict)
    bytes_up: int | None = None
    bytes_down: int | None = None
    epsilon: float | None = None


@runtime_checkable
class RoundAggregator(Protocol):
    """An aggregator that needs the round's number, a memory, or its own count of bytes.

    Privacy mechanisms, secure aggregation and encryption are of this kind (chapters 06 to 08).
    """

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """The memory before the first round, for updates of `size` parameters."""
        ...

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """Combine updates [K, P] with weights [K] (training rows); leave the arguments as is."""
        ...


def first_memory(aggregator: Aggregator | RoundAggregator, size: int) -> dict[str, torch.Tensor]:
    """The memory before the first round of an aggregator of either kind; {} if it has none."""
    return aggregator.start(size) if isinstance(aggregator, RoundAggregator) else {}


def aggregate(
    aggregator: Aggregator | RoundAggregator,
    updates: torch.Tensor,
    weights: torch.Tensor,
    state: dict[str, torch.Tensor],
    context: RoundContext,
) -> Aggregated:
    """Call an aggregator of either kind."""
    if isinstance(aggregator, RoundAggregator):
        return aggregator.aggregate_round(updates, weights, state, context)
    if not len(updates):  # Poisson sampling chose nobody: the global weights stay as they are
        return Aggregated(updates.new_zeros(updates.shape[1]), state)
    return Aggregated(aggregator.aggregate(updates, weights), state)


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
