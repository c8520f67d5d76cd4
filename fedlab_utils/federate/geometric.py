"""The geometric median: the point with the smallest sum of distances. Taught in chapter 13."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.robust import usable_rows, weighted_median


@dataclass(frozen=True)
class GeometricMedian:
    """The point v [P] that minimises sum_k w_k |v - u_k| (RFA), found by Weiszfeld's steps.

    The mean minimises *squared* distances, so a far row pulls with its distance; here every row
    pulls with the same strength. With attackers holding a share a < 1/2 of the weight, v is at
    most 2 (1 - a) / (1 - 2 a) times as far from any point as the farthest honest row is.

    Attributes:
        weighted: by training rows, as in the paper; then a client that claims very many rows has
            the majority. False (the default) gives each client the same pull.
        smoothing: distances are not taken as smaller than this share of the median distance from
            the start, which keeps the steps finite at a row.
        tolerance: stop when a step is shorter than this share of the median distance.
        steps: at most so many.

    Rows that are not finite are left out. Raises FedlabError if no row or no weight is left.
    Source: Pillutla, Kakade and Harchaoui 2019, arXiv:1912.13445; the bound: Minsker 2015,
    doi:10.3150/14-BEJ645, lemma 2.1. Taught in chapter 13.
    """

    weighted: bool = False
    smoothing: float = 1e-6
    tolerance: float = 1e-7
    steps: int = 1000

    def __post_init__(self) -> None:
        for name in ("smoothing", "tolerance", "steps"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise FedlabError(f"GeometricMedian: {name}={value} must be a positive number.")

    def aggregate(self, updates: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """[K, P], [K] -> [P]."""
        updates, weights, _ = usable_rows("GeometricMedian", updates, weights)
        pull = weights.double() if self.weighted else torch.ones(len(updates)).double()
        rows = updates.double()
        point = weighted_median(rows, pull)  # a mean could start as far away as an attacker likes
        distances = torch.linalg.vector_norm(rows - point, dim=1)
        scale = float(weighted_median(distances[:, None], pull))
        if scale == 0:  # at least half of the weight is in one place, and nothing beats that
            return point.to(updates.dtype)
        for _ in range(self.steps):
            strength = pull / distances.clamp_min(self.smoothing * scale)
            # Moves from the point, not new points: no digits are lost where it is far from zero.
            move = (strength / strength.sum()) @ (rows - point)
            point = point + move
            if float(move.norm()) <= self.tolerance * scale:
                break
            distances = torch.linalg.vector_norm(rows - point, dim=1)
        return point.to(updates.dtype)
