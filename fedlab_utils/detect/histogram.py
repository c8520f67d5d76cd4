"""A threshold for the whole federation from histograms: nobody sends scores.

What a client's histogram reveals: how many calibration rows it has, and how their scores are
spread, as coarsely as the bins. Of a client with few rows this is nearly the scores themselves
(one row = one filled bin). Only the sum of all histograms is needed, so send it by secure
aggregation where that is too much. Taught in chapter 02.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fedlab_utils.detect.threshold import check_scores, quantile_rank
from fedlab_utils.errors import DataError


def score_edges(low: float = 1e-6, high: float = 1e6, per_decade: int = 50) -> np.ndarray:
    """Return log-spaced bin edges that all clients agree on before anyone looks at a score.

    The default 601 edges are 4.7% apart, which bounds how far the federated threshold can be
    above the exact one. Raises DataError unless 0 < low < high and per_decade >= 1.
    Taught in chapter 02.
    """
    if not (0 < low < high < float("inf")) or per_decade < 1:
        raise DataError(
            f"need 0 < low < high and per_decade >= 1, got {low}, {high} and {per_decade}"
        )
    return np.geomspace(low, high, max(1, round(np.log10(high / low) * per_decade)) + 1)


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """A client's message: how many scores fall into each public bin. Add them with `+`.

    edges [B + 1] increasing; counts [B + 2] of the rows at or below the first edge (underflow),
    in each bin (edges[i], edges[i + 1]], and above the last edge (overflow). Nothing is clipped
    in silence. Raises DataError for edges or counts that are not so. Taught in chapter 02.
    """

    edges: np.ndarray
    counts: np.ndarray

    def __post_init__(self) -> None:
        edges = np.array(self.edges, dtype=np.float64)
        counts = np.array(self.counts, dtype=np.int64)
        if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise DataError("edges must be two or more increasing numbers; see score_edges()")
        if counts.shape != (len(edges) + 1,) or (counts < 0).any():
            raise DataError(
                f"{len(edges)} edges need {len(edges) + 1} counts >= 0 (underflow, bins, "
                f"overflow), got {list(counts.shape)}"
                + (f" with a lowest count of {counts.min()}" if counts.size else "")
            )
        for name, array in (("edges", edges), ("counts", counts)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @classmethod
    def of(cls, scores: np.ndarray, edges: np.ndarray | None = None) -> ScoreHistogram:
        """Count scores [n]; `edges` default to `score_edges()`."""
        edges = score_edges() if edges is None else np.asarray(edges, dtype=np.float64)
        # "left" closes bins on the right, so a bin's upper edge is never below its scores
        bins = np.searchsorted(edges, check_scores(scores), side="left")
        return cls(edges, np.bincount(bins, minlength=len(edges) + 1))

    @classmethod
    def from_vector(cls, vector: np.ndarray, edges: np.ndarray) -> ScoreHistogram:
        """Read counts back from a (securely summed) vector [B + 2].

        Raises DataError if an entry is not a whole number to 0.01: then the sum is damaged.
        """
        vector = np.asarray(vector, dtype=np.float64)
        whole = np.rint(vector)
        if not (np.abs(vector - whole) < 0.01).all():
            raise DataError("a summed histogram must hold whole counts; this one does not")
        return cls(edges, whole.astype(np.int64))

    def to_vector(self) -> np.ndarray:
        """Return the counts as float64 [B + 2], ready to be summed like a model update."""
        return self.counts.astype(np.float64)

    @property
    def n(self) -> int:
        """Number of scores counted."""
        return int(self.counts.sum())

    @property
    def underflow(self) -> int:
        """Number of scores at or below the first edge."""
        return int(self.counts[0])

    @property
    def overflow(self) -> int:
        """Number of scores above the last edge."""
        return int(self.counts[-1])

    @classmethod
    def total(cls, parts: Iterable[ScoreHistogram]) -> ScoreHistogram:
        """The sum of all parts. Raises DataError for none, or for different edges."""
        first, *others = tuple(parts) or (None,)
        if first is None:
            raise DataError("there are no histograms")
        return sum(others, start=first)

    def __add__(self, other: ScoreHistogram) -> ScoreHistogram:
        if not np.array_equal(self.edges, other.edges):
            raise DataError("these histograms have different edges; agree on one set of edges")
        return ScoreHistogram(self.edges, self.counts + other.counts)


def federated_threshold(histograms: Iterable[ScoreHistogram], alarm_rate: float) -> float:
    """Return one threshold for all clients from the sum of their histograms.

    It is the upper edge of the bin that holds the pooled conformal quantile: never below the
    exact one (so alarms are never more frequent) and above it by less than one bin. The promise
    holds for a row drawn from all clients' rows together, not for each client. Raises DataError
    for no histograms, too few rows (see `local_threshold`), or a quantile outside the edges.
    Taught in chapter 02.
    """
    total = ScoreHistogram.total(histograms)
    place = int(np.searchsorted(np.cumsum(total.counts), quantile_rank(total.n, alarm_rate)))
    if place == len(total.edges):
        raise DataError(
            f"the quantile is above the last edge {total.edges[-1]:g}, where {total.overflow} of "
            f"{total.n} scores are; widen the range: score_edges(high=...)"
        )
    if place == 0:
        raise DataError(
            f"the quantile is at or below the first edge {total.edges[0]:g}, where "
            f"{total.underflow} of {total.n} scores are; widen the range: score_edges(low=...)"
        )
    return float(total.edges[place])
