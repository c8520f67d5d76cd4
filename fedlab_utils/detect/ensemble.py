"""Detectors of different kinds in one score: ranks first, then fusion. Taught in chapter 10.

An autoencoder's error, a forest's score and a margin have nothing in common but their order. So
each score is replaced by its *tail*: the share of calibration rows that score at least as high.
The counts come from histograms in public bins, which can be added across clients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fedlab_utils.data.federation import Federation
from fedlab_utils.detect.histogram import ScoreHistogram, score_edges
from fedlab_utils.detect.scores import Detector, as_detector, scores_of
from fedlab_utils.errors import DataError

Fusion = Literal["rank", "tail", "surest"]


@dataclass(frozen=True)
class RankReference:
    """What turns one detector's scores into ranks: a histogram of calibration scores.

    Attributes:
        histogram: of n scores, one client's or the sum over clients.

    Inside a bin the rows count as spread evenly. One imaginary row is spread over all bins, so
    that scores beyond all calibration scores still differ: an anomaly is where a plain rank
    has only ties. Taught in chapter 10.
    """

    histogram: ScoreHistogram

    @classmethod
    def of(cls, scores: np.ndarray, edges: np.ndarray | None = None) -> RankReference:
        """The reference made of scores [n] alone; `edges` as in `ScoreHistogram.of`."""
        return cls(ScoreHistogram.of(scores, edges))

    def tail(self, scores: np.ndarray) -> np.ndarray:
        """Return the share of rows (the imaginary one included) above each score, [n] -> [n].

        Between 1 (below all bins) and nearly 0. Small = anomalous.
        """
        edges, counts = self.histogram.edges, self.histogram.counts.astype(np.float64)
        bins = counts[1:-1] + 1.0 / (len(edges) - 1)
        above = np.concatenate([np.cumsum(bins[::-1])[::-1], [0.0]]) + counts[-1]
        total = above[0] + counts[0]
        # A tail of exactly 0 has no logarithm: beyond the last edge it stays at half a share.
        least = 0.5 / (len(edges) - 1)
        scores = np.asarray(scores, dtype=np.float64)
        tail = np.where(scores <= edges[0], total, np.interp(scores, edges, above))
        return np.maximum(tail, least) / total


def federated_reference(detector: Any, federation: Federation) -> RankReference:
    """Ranks by all clients' calibration rows: each sends counts, and only their sum is used.

    The public bins are the detector's `score_edges()` if it has them, else the default ones of
    `score_edges`, which suit positive scores such as errors. What the counts reveal is said in
    `fedlab_utils.detect.histogram`. Raises DataError if no client has calibration rows.
    Taught in chapter 10.
    """
    judge = as_detector(detector)
    own = getattr(judge, "score_edges", None)
    edges = own() if callable(own) else score_edges()
    total = ScoreHistogram.total(
        ScoreHistogram.of(scores_of(judge, client.x_calibration, client.name), edges)
        for client in federation
    )
    if not total.n:
        raise DataError(f"federation {federation.name!r} has no calibration rows to rank by")
    return RankReference(total)


@dataclass(frozen=True)
class RankFusion:
    """Several detectors with one score.

    Attributes:
        detectors: of any kind.
        references: what ranks their scores, in the same order.
        how: "rank": the mean rank. A row must be odd for all to come first. "tail": the mean of
            -log(tail), Fisher's way to combine p-values: one detector that is very sure can
            outvote others that see nothing. "surest": -log of the smallest tail, Tippett's way: the
            surest detector decides alone.

    Source: Fisher, "Statistical Methods for Research Workers", 1932, section 21.1; Aggarwal and
    Sathe, "Theoretical foundations and algorithms for outlier ensembles", 2015,
    doi:10.1145/2830544.2830549. Raises DataError if the two lists do not fit.
    Taught in chapter 10.
    """

    detectors: tuple[Detector, ...]
    references: tuple[RankReference, ...]
    how: Fusion = "tail"

    def __post_init__(self) -> None:
        if not self.detectors or len(self.detectors) != len(self.references):
            raise DataError("RankFusion: give as many references as detectors, at least one")
        if self.how not in ("rank", "tail", "surest"):
            raise DataError(f"RankFusion: how={self.how!r}; choose 'rank', 'tail' or 'surest'")

    def score(self, X: np.ndarray, /) -> np.ndarray:
        """Return the fused score, X [n, d] -> [n]."""
        tails = np.stack(
            [
                reference.tail(scores_of(detector, X))
                for detector, reference in zip(self.detectors, self.references, strict=True)
            ]
        )
        if self.how == "rank":
            return 1 - tails.mean(axis=0)
        surprise = -np.log(tails)
        return surprise.mean(axis=0) if self.how == "tail" else surprise.max(axis=0)


def fuse(
    detectors: Sequence[Any] | Mapping[str, Any], federation: Federation, how: Fusion = "tail"
) -> RankFusion:
    """Fuse models and detectors, ranked by all clients' calibration rows (only counts leave).

    Raises DataError as `as_detector` and `federated_reference`. Taught in chapter 10.
    """
    chosen = detectors.values() if isinstance(detectors, Mapping) else detectors
    judges = tuple(as_detector(detector) for detector in chosen)
    return RankFusion(judges, tuple(federated_reference(j, federation) for j in judges), how)
