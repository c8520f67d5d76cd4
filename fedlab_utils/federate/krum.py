"""Krum and Multi-Krum: trust the updates that lie in a crowd. Taught in chapter 13."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.robust import check_faulty, need, usable_rows


def squared_distances(updates: torch.Tensor) -> torch.Tensor:
    """All squared distances between the rows of [K, P], float64 [K, K]."""
    rows = updates.double()
    # Not by |x|^2 + |y|^2 - 2xy: with one huge row that loses all digits of the others.
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square()


def krum_scores(updates: torch.Tensor, f: int) -> torch.Tensor:
    """Krum's score of each row of updates [K, P]: a low one has a crowd around it. [K] float64.

    It is the sum of the squared distances to the K - f - 2 nearest other rows: even if f of them
    are attackers, at least one honest row is further away than all that were counted.
    Raises FedlabError for fewer than f + 3 rows. Taught in chapter 13.
    """
    need("krum_scores", len(updates), f + 3, f)
    distances = squared_distances(updates)
    distances.fill_diagonal_(torch.inf)  # nobody is his own neighbour
    return distances.sort(dim=1).values[:, : len(updates) - f - 2].sum(dim=1)


@dataclass(frozen=True)
class Krum:
    """Take the one update with the lowest Krum score, and drop all others.

    The result is always one client's update, so the round learns from that client alone. Weights
    are ignored: an attacker could claim many rows.

    Attributes:
        f: attackers to withstand; K must be at least 2 f + 3.

    Rows that are not finite are left out, and counted among the f. Of equal scores the first wins.
    Raises FedlabError (in a round) for too few clients.
    Source: Blanchard, El Mhamdi, Guerraoui and Stainer 2017, arXiv:1703.02757. Taught in
    chapter 13.
    """

    f: int

    def __post_init__(self) -> None:
        check_faulty("Krum", self.f)

    def aggregate(self, updates: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """[K, P], [K] -> [P]."""
        updates, _, f = usable_rows("Krum", updates, weights, self.f)
        need("Krum", len(updates), 2 * f + 3, f)
        return updates[krum_scores(updates, f).argmin()].clone()


@dataclass(frozen=True)
class MultiKrum:
    """The plain mean of the updates with the lowest Krum scores.

    Attributes:
        f: attackers to withstand; K must be at least 2 f + 3.
        keep: how many updates are averaged; None means K - f - 2, the most for which the paper
            has a proof. More, up to K - f, are allowed and at your own risk.

    Weights are ignored, and rows that are not finite left out, as in `Krum`.
    Source: Blanchard et al. 2017, arXiv:1703.02757. Taught in chapter 13.
    """

    f: int
    keep: int | None = None

    def __post_init__(self) -> None:
        check_faulty("MultiKrum", self.f)
        if self.keep is not None and self.keep < 1:
            raise FedlabError(f"MultiKrum: keep={self.keep} must be at least 1, or None.")

    def aggregate(self, updates: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """[K, P], [K] -> [P]."""
        updates, _, f = usable_rows("MultiKrum", updates, weights, self.f)
        clients = len(updates)
        need("MultiKrum", clients, 2 * f + 3, f)
        keep = clients - f - 2 if self.keep is None else self.keep
        if keep > clients - f:
            raise FedlabError(
                f"MultiKrum: keep={keep} of {clients} updates must include attackers if there are "
                f"f={f}; keep at most {clients - f}."
            )
        best = krum_scores(updates, f).sort(stable=True).indices[:keep]
        return updates[best].mean(dim=0)
