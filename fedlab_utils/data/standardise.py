"""Federated standardisation: counts, sums and sums of squares are all that leaves a client.

Taught in chapter 02; whose moments to use is the subject of chapter 09.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fedlab_utils.errors import DataError


@dataclass(frozen=True)
class Moments:
    """What one client tells about its features: a message of 1 + 2 d numbers.

    Attributes:
        count: number of rows.
        total: [d] float64, sum of each feature.
        total_of_squares: [d] float64, sum of squares of each feature.

    `a + b` are the moments of both clients' rows together, so a secure sum can add them.
    With one row these numbers *are* the row: a client with very few rows should not send them.
    """

    count: int
    total: np.ndarray
    total_of_squares: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> Moments:
        """Moments of rows `x` [n, ..., d]; axes between the first and the last are rows too."""
        rows = np.asarray(x, dtype=np.float64).reshape(-1, x.shape[-1])
        return cls(len(rows), rows.sum(axis=0), np.square(rows).sum(axis=0))

    def __add__(self, other: Moments) -> Moments:
        if self.total.shape != other.total.shape:
            raise DataError(
                f"cannot add moments of {self.total.size} and {other.total.size} features; the "
                f"clients must have the same columns."
            )
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.total_of_squares + other.total_of_squares,
        )

    def scaler(self) -> Scaler:
        """Mean and (population) standard deviation from the sums.

        A constant feature gets the deviation 1, so it becomes 0 instead of a division by zero.
        The variance is a difference of two large sums: with a mean m and a deviation s it keeps
        about 16 - 2 log10(m / s) digits, so features with m >> s should be shifted beforehand.
        """
        if self.count == 0:
            raise DataError("no rows: moments of an empty client do not make a scaler.")
        mean = self.total / self.count
        variance = self.total_of_squares / self.count - mean**2
        # Rounding leaves a constant feature with a variance of some 1e-16 of its square.
        constant = variance <= 1e-12 * (self.total_of_squares / self.count)
        return Scaler(mean, np.where(constant, 1.0, np.sqrt(np.maximum(variance, 0.0))))


@dataclass(frozen=True)
class Scaler:
    """Subtracts `mean` [d] and divides by `std` [d]."""

    mean: np.ndarray
    std: np.ndarray

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Standardise rows [n, ..., d]; returns float32. Raises DataError if d does not match."""
        if x.shape[-1] != self.mean.size:
            raise DataError(
                f"rows have {x.shape[-1]} features, the scaler was made for {self.mean.size}."
            )
        return ((x - self.mean) / self.std).astype(np.float32)


def federated_scaler(parts: Iterable[np.ndarray]) -> Scaler:
    """The scaler of all clients' rows, made from the sum of their moments.

    `parts` holds one array [n_k, ..., d] per client. Raises DataError for no clients or
    features that do not match.
    """
    messages = [Moments.of(x) for x in parts]
    if not messages:
        raise DataError("no clients: there is nothing to standardise.")
    total = messages[0]
    for message in messages[1:]:
        total = total + message
    return total.scaler()
