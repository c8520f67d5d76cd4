"""Look at the updates while `fit` runs. Taught in chapter 13."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from fedlab_utils.federate.aggregators import (
    Aggregated,
    Aggregator,
    RoundAggregator,
    RoundContext,
    aggregate,
    first_memory,
)


class Watch(Protocol):
    """What looks on."""

    def __call__(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        context: RoundContext,
        done: Aggregated,
        /,
    ) -> None:
        """Called after each round with updates [K, P], weights [K] and what was made of them."""
        ...


@dataclass(frozen=True)
class Watched:
    """Calls `watch` with what a server sees in each round; the result is that of `inner`.

    Around a secure sum it shows what the server does *not* see.

    Attributes:
        inner: the aggregator.
        watch: called after each round; it must leave the tensors as they are.

    Taught in chapter 13.
    """

    inner: Aggregator | RoundAggregator
    watch: Watch

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """The memory of the inner aggregator."""
        return first_memory(self.inner, size)

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """See RoundAggregator."""
        done = aggregate(self.inner, updates, weights, state, context)
        self.watch(updates, weights, context, done)
        return done
