"""The median and the trimmed mean, coordinate by coordinate. Taught in chapter 13.

A mean moves wherever one of its rows wants it. These two stay, in every coordinate, between the
smallest and the largest honest value, as long as the attackers are fewer than they were made for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fedlab_utils.errors import FedlabError

TIE = 1e-12  # two shares of the weight that differ by less are equal but for rounding


def check_faulty(name: str, f: int) -> None:
    """Raise FedlabError unless `f`, a number of attackers, is a whole number from 0 on."""
    if isinstance(f, bool) or f < 0 or int(f) != f:
        raise FedlabError(f"{name}: f={f} must be a whole number of attackers, 0 or more.")


def usable_rows(
    name: str, updates: torch.Tensor, weights: torch.Tensor, f: int = 0
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """The rows that are finite, their weights, and how many attackers may still be among them.

    A row with NaN or infinite values cannot be honest (`fit` stops where honest training
    diverges), so it is left out and counts as one attacker found.

    Raises FedlabError for shapes that do not fit, negative weights, or if no row is left.
    """
    if updates.ndim != 2 or weights.shape != updates.shape[:1]:
        raise FedlabError(
            f"{name}: updates {tuple(updates.shape)} and weights {tuple(weights.shape)} do not "
            f"fit; they must be [K, P] and [K]."
        )
    if not bool((weights >= 0).all()):
        raise FedlabError(f"{name}: weights must not be negative.")
    finite = updates.isfinite().all(dim=1)
    if not bool(finite.any()):
        raise FedlabError(f"{name}: none of the {len(updates)} updates is finite; nothing is left.")
    found = int((~finite).sum())
    return updates[finite], weights[finite], max(f - found, 0)


def need(name: str, clients: int, least: int, f: int) -> None:
    """Raise FedlabError if a round has fewer clients than it takes to withstand f attackers."""
    if clients < least:
        raise FedlabError(
            f"{name}: {clients} client(s) with finite updates, but against f={f} attacker(s) it "
            f"takes at least {least}. Let more clients take part in a round, or choose a smaller f."
        )


@dataclass(frozen=True)
class CoordinateMedian:
    """The median of each coordinate. It withstands any minority of attackers.

    With fewer than half of the clients (at most (K - 1) // 2) under an attacker's hand, every
    coordinate lies between the smallest and the largest honest value.

    Attributes:
        weighted: True makes it the weighted median, by training rows. Then "minority" means less
            than half of the *rows*, and a client that claims to have very many has the majority.
            False ignores the weights.

    With an even number it is the mean of the two middle values, as numpy's. Rows that are not
    finite are left out. Raises FedlabError if no row is left.
    Source: Yin, Chen, Kannan and Bartlett 2018, arXiv:1803.01498. Taught in chapter 13.
    """

    weighted: bool = False

    def aggregate(self, updates: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """[K, P], [K] -> [P]."""
        updates, weights, _ = usable_rows("CoordinateMedian", updates, weights)
        return weighted_median(updates, weights if self.weighted else torch.ones(len(updates)))


def weighted_median(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The weighted median of each column of values [K, P], with weights [K], not all zero.

    At most half of the weight lies below it, and at most half above; where several values would
    do, it is the middle between the smallest and the largest of them.
    Raises FedlabError if all weights are zero. Taught in chapter 13.
    """
    total = float(weights.double().sum())
    if not total > 0:
        raise FedlabError("weighted median: the weights must not all be zero.")
    ordered, order = values.sort(dim=0)
    reached = (weights.double() / total)[order].cumsum(dim=0)
    low = (reached < 0.5 - TIE).sum(dim=0, keepdim=True)
    high = (reached <= 0.5 + TIE).sum(dim=0, keepdim=True)
    # Halves before the sum: two numbers near the largest float32 would overflow.
    return (ordered.gather(0, low) / 2 + ordered.gather(0, high) / 2)[0]


@dataclass(frozen=True)
class TrimmedMean:
    """In each coordinate, leave out the f smallest and the f largest values; mean of the rest.

    With up to f attackers every coordinate lies between the smallest and the largest honest
    value. Weights are ignored: an attacker could claim many rows.

    Attributes:
        f: attackers to withstand; K must be more than 2 f. 0 is the plain mean.

    Rows that are not finite are left out, and counted among the f. Raises FedlabError (in a round)
    for too few clients. Source: Yin et al. 2018, arXiv:1803.01498. Taught in chapter 13.
    """

    f: int

    def __post_init__(self) -> None:
        check_faulty("TrimmedMean", self.f)

    def aggregate(self, updates: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """[K, P], [K] -> [P]."""
        updates, _, f = usable_rows("TrimmedMean", updates, weights, self.f)
        need("TrimmedMean", len(updates), 2 * f + 1, f)
        return updates.sort(dim=0).values[f : len(updates) - f].mean(dim=0)
