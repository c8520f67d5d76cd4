"""Secure sums of groups, and a robust aggregator over the groups. Taught in chapter 13."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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
from fedlab_utils.federate.robust import CoordinateMedian
from fedlab_utils.privacy.secure.aggregator import SecureMean

_GROUPS = 0x6809


@dataclass(frozen=True)
class SecureGroups:
    """Divide the clients into groups; each makes a secure sum; combine the groups' means.

    A server that sees one sum only cannot be robust, and one that sees all updates keeps no
    secrets. This is between: `inner` sees one mean per group. f attackers spoil at most f groups,
    so a median needs more than 2 f groups.

    What it reveals: in each round, the sum over each group of K / groups clients, and who is in
    which group. The members of a group but one, if they work together with the server, know the
    update of that one. And small sums can be attacked: chapter 07 reads rows from the sum of ten.

    Attributes:
        groups: how many; each needs at least two clients, and should have many more.
        inner: combines the groups' means [G, P], with their total weights [G].
        secure: the protocol within a group. Its `threshold`, if given, is that of a group; None is
            the usual default for the group's size.
        reshuffle: False keeps the grouping of the run; the server sees the same sums in every
            round. True draws a new one per round: nobody stays with the same neighbours, but over
            the rounds the server sees sums over ever other sets, which tell more about each client.

    Who draws the groups must not be an attacker; here they follow from the run's seed.
    Raises (in a round) FedlabError for too few clients, and whatever `secure` raises.
    Source: Velicheti, Xia and Koyejo 2021, arXiv:2110.02940 (random clusters, secure means, a
    robust rule over them). So, Güler and Avestimehr 2020, arXiv:2007.11115, compare single updates
    in secret instead, at a far higher price. Taught in chapter 13.
    """

    groups: int
    inner: Aggregator | RoundAggregator = field(default_factory=CoordinateMedian)
    secure: SecureMean = field(default_factory=SecureMean)
    reshuffle: bool = False

    def __post_init__(self) -> None:
        if self.groups < 1 or int(self.groups) != self.groups:
            raise FedlabError(
                f"SecureGroups: groups={self.groups} must be a whole number from 1 on."
            )

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """The memory of the inner aggregator."""
        return first_memory(self.inner, size)

    def members(self, context: RoundContext) -> list[np.ndarray]:
        """The places in `context.clients` of each group's members."""
        clients = len(context.clients)
        if clients < 2 * self.groups:
            raise FedlabError(
                f"SecureGroups: {clients} clients cannot fill {self.groups} groups of at least "
                f"two; the sum of one is that one's secret. Use fewer groups."
            )
        draw = [context.seed, _GROUPS, context.round if self.reshuffle else 0]
        return np.array_split(np.random.default_rng(draw).permutation(clients), self.groups)

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """[K, P], [K] -> [P], and the bytes of all groups."""
        if not len(updates):
            return replace(
                aggregate(self.inner, updates, weights, state, context), bytes_up=0, bytes_down=0
            )
        means, totals, up, down = [], [], 0, 0
        for group in self.members(context):
            names = tuple(context.clients[i] for i in group)
            own = replace(context, clients=names, population=len(names), per_round=None)
            rows = torch.from_numpy(group)
            done = self.secure.aggregate_round(updates[rows], weights[rows], {}, own)
            means.append(done.update)
            totals.append(weights[rows].sum() if self.secure.weighted else float(len(names)))
            up, down = up + (done.bytes_up or 0), down + (done.bytes_down or 0)
        group_names = tuple(f"group {i}" for i in range(1, self.groups + 1))
        over = replace(context, clients=group_names, population=self.groups, per_round=None)
        total = torch.as_tensor(totals, dtype=weights.dtype)
        done = aggregate(self.inner, torch.stack(means), total, state, over)
        return replace(done, bytes_up=up, bytes_down=down)
