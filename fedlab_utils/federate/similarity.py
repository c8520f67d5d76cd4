"""Weigh updates by the direction in which they point. Taught in chapter 13."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import Aggregated, RoundContext
from fedlab_utils.federate.bounded import lengths
from fedlab_utils.federate.robust import usable_rows, weighted_median


def cosines(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Cosines of the angles between rows [K, P] and others [M, P], float64 [K, M].

    A row of zeros points nowhere: its cosines are 0. Taught in chapter 13.
    """
    a, b = rows.double(), others.double()
    a = a / torch.linalg.vector_norm(a, dim=1, keepdim=True).clamp_min(1e-300)
    b = b / torch.linalg.vector_norm(b, dim=1, keepdim=True).clamp_min(1e-300)
    return (a @ b.T).clamp(-1.0, 1.0)


@dataclass(frozen=True)
class CosineFilter:
    """Trust an update as far as it points the way of a reference; give all the same length.

        sum_k t_k (|reference| / |u_k|) u_k / sum_k t_k   with   t_k = max(0, cos(u_k, reference))

    Weights are ignored: an attacker could claim many rows.

    Attributes:
        trusted: the name of a client whose update is the reference, such as one that the server
            runs itself on rows it has checked; then this is FLTrust. None takes the coordinate
            median as the direction, and the median norm as the length.
        least: updates with a cosine below this get no trust at all.

    Rows that are not finite are left out. If nobody is trusted the update is zero. Raises
    FedlabError if the trusted client takes no part or sends nothing that can be used.
    Source: Cao, Fang, Liu and Gong 2021, arXiv:2012.13995. Taught in chapter 13.
    """

    trusted: str | None = None
    least: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.least < 1:
            raise FedlabError(f"CosineFilter: least={self.least} must be from 0 to below 1.")

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """Nothing is kept from round to round."""
        return {}

    def trust(self, updates: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """The trust [K] in updates [K, P]: the cosine with the reference [P], or 0."""
        similar = cosines(updates, reference[None])[:, 0]
        return torch.where(similar >= self.least, similar, 0.0).clamp_min(0.0)

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """[K, P] -> [P]."""
        if not len(updates):
            return Aggregated(updates.new_zeros(updates.shape[1]), state)
        finite, _, _ = usable_rows("CosineFilter", updates, weights)
        reference, length = self._reference(updates, finite, context)
        norms = lengths(finite)
        trust = self.trust(finite, reference)
        factors = trust * length / norms.clamp_min(1e-300) / trust.sum().clamp_min(1e-300)
        return Aggregated((factors @ finite.double()).to(updates.dtype), state)

    def _reference(
        self, updates: torch.Tensor, finite: torch.Tensor, context: RoundContext
    ) -> tuple[torch.Tensor, float]:
        """The direction [P] and the length that every update gets."""
        if self.trusted is None:
            return weighted_median(finite, torch.ones(len(finite))), float(
                lengths(finite).quantile(0.5)
            )
        if self.trusted not in context.clients:
            raise FedlabError(
                f"CosineFilter: the trusted client {self.trusted!r} takes no part in round "
                f"{context.round + 1}; there are {', '.join(context.clients[:5])}."
            )
        own = updates[context.clients.index(self.trusted)]
        length = float(own.double().norm())
        if not 0 < length < float("inf"):
            raise FedlabError(
                f"CosineFilter: the trusted client {self.trusted!r} sent an update of length "
                f"{length}, which has no direction."
            )
        return own, length


def foolsgold_weights(similar: torch.Tensor) -> torch.Tensor:
    """FoolsGold's say [K], 0 to 1, of clients with pairwise cosines `similar` [K, K].

    Who resembles another client closely loses its say; whoever resembles it, but less than that
    one resembles its own double, is pardoned. All 1 if all rows point the same way: then there
    is nothing to tell them apart by. Taught in chapter 13.
    """
    similar = similar.double().clone()
    similar.fill_diagonal_(-torch.inf)
    closest = similar.amax(dim=1)
    if len(similar) < 2 or bool((closest >= 1 - 1e-12).all()):
        return torch.ones(len(similar), dtype=torch.float64)
    # v_i / v_j where j has the closer double; cosines at or below 0 accuse nobody.
    ratio = closest[:, None].clamp_min(0) / closest[None].clamp_min(1e-12)
    pardoned = torch.where(closest[None] > closest[:, None], similar * ratio, similar)
    say = (1 - pardoned.amax(dim=1)).clamp(0, 1)
    say = say / say.max()
    # The logit spreads what is near 0 and near 1.
    return (torch.log(say / (1 - say)) + 0.5).clamp(0, 1)


@dataclass(frozen=True)
class FoolsGold:
    """Give little say to clients whose updates, summed up over the rounds, look like copies.

    Made for Sybils: many names, one aim, while honest clients are taken to differ. Where honest
    clients are alike (IID), they look like Sybils to it; a single attacker it never sees. Weights
    are ignored: an attacker could claim many rows.

    Attributes:
        memory: False looks at each round alone; True (as in the paper) at the sum of each client's
            updates so far, which Sybils cannot hide behind a little noise in each round.

    The paper adds up the weighted updates; this divides by the sum of the says, so that the result
    has the length of an update. Rows that are not finite are left out and not remembered.
    Source: Fung, Yoon and Beschastnikh 2018, arXiv:1808.04866 (cosine over all parameters).
    Taught in chapter 13.
    """

    memory: bool = True

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """Nobody has sent anything yet."""
        return {}

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """[K, P] -> [P]; the state holds each client's sum of updates under its name."""
        if not len(updates):
            return Aggregated(updates.new_zeros(updates.shape[1]), state)
        fine = updates.isfinite().all(dim=1).tolist()
        names = [name for name, ok in zip(context.clients, fine, strict=True) if ok]
        updates, _, _ = usable_rows("FoolsGold", updates, weights)
        history = updates
        if self.memory:
            past = [state.get(name, torch.zeros_like(updates[0])) for name in names]
            history = torch.stack(past) + updates
            state = {**state, **dict(zip(names, history, strict=True))}
        say = foolsgold_weights(cosines(history, history))
        share = say / say.sum()
        return Aggregated((share @ updates.double()).to(updates.dtype), state)
