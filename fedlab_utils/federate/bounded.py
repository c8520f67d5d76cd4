"""Nobody's update counts for more than a bound. Taught in chapter 13."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import (
    Aggregated,
    Aggregator,
    Mean,
    RoundAggregator,
    RoundContext,
    aggregate,
    first_memory,
)
from fedlab_utils.federate.robust import usable_rows


def lengths(rows: torch.Tensor) -> torch.Tensor:
    """The norms of rows [K, P], float64 [K]."""
    return torch.linalg.vector_norm(rows.double(), dim=1)


def cut_to(rows: torch.Tensor, bound: float) -> torch.Tensor:
    """Rows [K, P], those longer than `bound` shortened to it."""
    factors = (bound / lengths(rows).clamp_min(1e-300)).clamp_max(1.0)
    return (rows.double() * factors[:, None]).to(rows.dtype)


def _check_bound(name: str, what: str, bound: float | None) -> None:
    if bound is not None and not (math.isfinite(bound) and bound > 0):
        raise FedlabError(f"{name}: {what}={bound} must be a positive number, or None.")


@dataclass(frozen=True)
class NormBound:
    """Shorten updates that are longer than a bound, then combine them.

    f attackers among K then move the (unweighted) mean by at most 2 f bound / K. It limits
    *scaled* attacks, and does nothing against those as long as an honest update.

    Attributes:
        bound: largest norm; None takes the median norm of the round's updates, which a minority
            of attackers cannot raise above the longest honest one.
        inner: what combines the shortened updates. The default ignores the weights. With a fixed
            bound it may be a secure sum: then each client shortens its own update, which is a
            promise that an attacker need not keep.

    Rows that are not finite are left out. Raises FedlabError if no row is left.
    Source: Sun, Kairouz, Suresh and McMahan 2019, arXiv:1911.07963. Taught in chapter 13.
    """

    bound: float | None = None
    inner: Aggregator | RoundAggregator = field(default_factory=lambda: Mean(weighted=False))

    def __post_init__(self) -> None:
        _check_bound("NormBound", "bound", self.bound)

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
        """[K, P], [K] -> what `inner` makes of the shortened updates."""
        if len(updates):
            finite = updates.isfinite().all(dim=1).tolist()
            updates, weights, _ = usable_rows("NormBound", updates, weights)
            names = (name for name, fine in zip(context.clients, finite, strict=True) if fine)
            context = replace(context, clients=tuple(names))
            bound = float(lengths(updates).quantile(0.5)) if self.bound is None else self.bound
            updates = cut_to(updates, bound)
        return aggregate(self.inner, updates, weights, state, context)


@dataclass(frozen=True)
class CentredClip:
    """Shorten what leads away from a centre: the combined update of the round before.

        v <- v + mean_k cut_to(u_k - v, radius)

    Clipping around zero lets attackers push in one direction in each round; around the last
    update, honest rows are near and lose little. Weights are ignored: an attacker could claim
    many rows.

    Attributes:
        radius: how far a row can pull; None takes the median distance from the centre.
        steps: how often a round repeats the step, each from the point of the last one.

    The result is at most steps * radius from the last round's. Rows that are not finite are left
    out. Raises FedlabError if no row is left.
    Source: Karimireddy, He and Jaggi 2021, arXiv:2012.10333. Taught in chapter 13.
    """

    radius: float | None = None
    steps: int = 3

    def __post_init__(self) -> None:
        _check_bound("CentredClip", "radius", self.radius)
        if self.steps < 1 or int(self.steps) != self.steps:
            raise FedlabError(f"CentredClip: steps={self.steps} must be a whole number from 1 on.")

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """A centre of zero."""
        return {"centre": torch.zeros(size)}

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """[K, P] -> [P], which is also the next round's centre."""
        if not len(updates):
            return Aggregated(updates.new_zeros(updates.shape[1]), state)
        updates, _, _ = usable_rows("CentredClip", updates, weights)
        centre = state["centre"]
        for _ in range(self.steps):
            away = updates - centre
            radius = float(lengths(away).quantile(0.5)) if self.radius is None else self.radius
            centre = centre + cut_to(away, radius).mean(dim=0)
        return Aggregated(centre, {"centre": centre})
