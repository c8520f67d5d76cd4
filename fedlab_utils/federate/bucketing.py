"""Average a few clients first, then be robust: for clients that differ. Taught in chapter 13."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import (
    Aggregated,
    Aggregator,
    RoundAggregator,
    RoundContext,
    aggregate,
    first_memory,
)
from fedlab_utils.federate.robust import usable_rows

_BUCKETS = 0xB0C4


def deal(clients: int, size: int, seed: int, round_: int) -> list[np.ndarray]:
    """Deal clients 0 to K - 1 at random to ceil(K / size) buckets; sizes differ by at most 1."""
    order = np.random.default_rng([seed, _BUCKETS, round_]).permutation(clients)
    return np.array_split(order, -(-clients // size))


@dataclass(frozen=True)
class Bucketing:
    """Mix the clients: `inner` gets the means of random buckets of `size` clients each.

    Means of several clients differ less than clients do, so a median of them loses less of what
    only few clients know. The price: an attacker spoils its whole bucket. `inner` faces the same
    number f of bad rows, but only K / size rows in all. Weights are ignored: a bucket's mean is the
    plain one, and so is its say.

    Attributes:
        inner: a robust aggregator, with an f that fits the number of buckets.
        size: clients in a bucket; 1 changes nothing but the order.

    Source: Karimireddy, He and Jaggi 2022, arXiv:2006.09365. Taught in chapter 13.
    """

    inner: Aggregator | RoundAggregator
    size: int = 2

    def __post_init__(self) -> None:
        if self.size < 1 or int(self.size) != self.size:
            raise FedlabError(f"Bucketing: size={self.size} must be a whole number from 1 on.")

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
        """[K, P] -> what `inner` makes of the buckets' means."""
        if not len(updates):
            return aggregate(self.inner, updates, weights, state, context)
        updates, _, _ = usable_rows("Bucketing", updates, weights)
        buckets = deal(len(updates), self.size, context.seed, context.round)
        means = torch.stack([updates[bucket].mean(dim=0) for bucket in buckets])
        names = tuple(f"bucket {i}" for i in range(1, len(buckets) + 1))
        context = replace(context, clients=names, population=len(buckets), per_round=None)
        return aggregate(self.inner, means, torch.ones(len(means)), state, context)
