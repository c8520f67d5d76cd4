"""From which range a data-free tree draws its cuts, and what agreeing on it costs.

Three answers of rising cost: a fixed range after standardisation (nothing more leaves), quantiles
from summed histograms (counts leave), the smallest and largest value (a value of a row leaves,
so it is not offered). Taught in chapter 10.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fedlab_utils.detect.scores import check_rows
from fedlab_utils.errors import DataError


def fixed_ranges(n_features: int, width: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the range -width to width for each of d standardised features: (low, high) [d].

    Nothing about the rows but the scaler's moments is used. Raises DataError for a width that is
    not positive. Taught in chapter 10.
    """
    if not (np.isfinite(width) and width > 0):
        raise DataError(f"fixed_ranges: width={width} must be a positive number")
    return np.full(n_features, -width), np.full(n_features, width)


@dataclass(frozen=True)
class RangeHistograms:
    """How the clients count the values of each feature: in the same public bins for all.

    Attributes:
        width: standardised values are counted between -width and width ...
        bins: ... in so many bins; values outside count in the first or the last one.

    Raises DataError for numbers that make no sense. Taught in chapter 10.
    """

    width: float = 10.0
    bins: int = 400

    def __post_init__(self) -> None:
        if not (np.isfinite(self.width) and self.width > 0) or self.bins < 2:
            raise DataError(f"RangeHistograms: width={self.width} > 0, bins={self.bins} >= 2")

    @property
    def edges(self) -> np.ndarray:
        """[bins + 1]"""
        return np.linspace(-self.width, self.width, self.bins + 1)

    def counts(self, X: np.ndarray) -> np.ndarray:
        """A client's message: rows [n, d] -> whole numbers [d * bins].

        A row adds 1 in one bin of each feature: sensitivity d in L1, sqrt(d) in L2.
        """
        rows = check_rows(X)
        rows = rows.reshape(len(rows), math.prod(rows.shape[1:]))
        place = np.digitize(rows, self.edges[1:-1], right=True)
        d = rows.shape[1]
        cells = np.bincount((place + np.arange(d) * self.bins).ravel(), minlength=d * self.bins)
        return cells.astype(np.int64)

    def ranges(self, counts: np.ndarray, tail: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
        """Return (low, high) [d] from summed counts: at most a share `tail` lies beyond each end.

        Ends are edges of bins. A feature whose values all lie in one bin gets that bin. Raises
        DataError for counts that do not fit or for a tail outside [0, 0.5).
        """
        counts = np.asarray(counts, dtype=np.float64)
        if counts.ndim != 1 or not counts.size or counts.size % self.bins:
            raise DataError(f"counts must be d times {self.bins} numbers, got {counts.shape}")
        if not 0 <= tail < 0.5:
            raise DataError(f"tail={tail} must be at least 0 and below 0.5")
        cells = np.maximum(counts.reshape(-1, self.bins), 0.0)
        total = cells.sum(axis=1, keepdims=True)
        if not (total > 0).all():
            raise DataError("a feature has no counts at all")
        slack = 1e-9  # of rounding in the running sums
        below = np.cumsum(cells, axis=1) / total > tail + slack
        above = np.cumsum(cells[:, ::-1], axis=1) / total > tail + slack
        return (
            self.edges[below.argmax(axis=1)],
            self.edges[self.bins - above.argmax(axis=1)],
        )
