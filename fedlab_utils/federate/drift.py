"""Client drift, measured: how far and in which directions clients go. Taught in chapter 09."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fedlab_utils.errors import FedlabError


@dataclass(frozen=True)
class Drift:
    """What one round's update matrix says about its clients.

    Attributes:
        norm: [K] length of each client's update.
        angle: [K] degrees between a client's update and the mean of the *others'*. With its own
            update in the mean even unrelated clients would seem to agree. 0 is the same
            direction, 90 no relation.
        kept: length of the mean update over the mean length: 1 if all go the same way, near 0
            if their ways cancel out.
    """

    norm: np.ndarray
    angle: np.ndarray
    kept: float


def client_drift(updates: torch.Tensor, rows: np.ndarray | None = None) -> Drift:
    """Measure an update matrix [K, P], K >= 2, with means weighted by rows [K] (None: equally).

    Raises FedlabError for fewer than two clients or an update of zero. Taught in chapter 09.
    """
    matrix = updates.double().numpy()
    if matrix.ndim != 2 or len(matrix) < 2:
        raise FedlabError(f"drift: updates {matrix.shape} must be [K, P] of two clients or more.")
    norm = np.linalg.norm(matrix, axis=1)
    if not norm.all():
        raise FedlabError(f"drift: the update of client {int(norm.argmin())} is zero.")
    share = np.full(len(matrix), 1.0) if rows is None else np.asarray(rows, dtype=float)
    share = share / share.sum()
    mean = share @ matrix
    others = mean - share[:, None] * matrix  # the direction is all that matters
    cosine = (matrix * others).sum(axis=1) / (norm * np.linalg.norm(others, axis=1))
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return Drift(norm, angle, float(np.linalg.norm(mean) / (share @ norm)))
