"""How good a score is on a time series, whose anomalies are ranges of points. Taught in chapter 11.

`y` [n] are labels and `scores` [n] the scores of the points of one series, in order of time.
"""

from __future__ import annotations

import numpy as np

from fedlab_utils.detect.metrics import checked
from fedlab_utils.errors import DataError


def anomaly_ranges(y: np.ndarray) -> np.ndarray:
    """First and one-past-last point of each unbroken range of anomalies, [m, 2].

    Taught in chapter 11.
    """
    edges = np.diff(np.concatenate([[0], np.asarray(y, dtype=bool).astype(np.int8), [0]]))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)


def adjust_points(y: np.ndarray, alarms: np.ndarray) -> np.ndarray:
    """Point adjustment: one alarm in a range of anomalies counts as an alarm at all its points.

    Shown so that you recognise it, not to be used: it makes random alarms look good. Returns
    alarms [n] bool. Source: Kim et al. 2022, arXiv:2109.05257. Taught in chapter 11.
    """
    y, alarms = np.asarray(y, dtype=bool), np.asarray(alarms, dtype=bool)
    if y.shape != alarms.shape or y.ndim != 1:
        raise DataError(
            f"labels and alarms must be two lists of one length, got the shapes {list(y.shape)} "
            f"and {list(alarms.shape)}"
        )
    adjusted = alarms.copy()
    for first, end in anomaly_ranges(y):
        adjusted[first:end] |= alarms[first:end].any()
    return adjusted


def best_f1(y: np.ndarray, scores: np.ndarray, *, adjust: bool = False) -> tuple[float, float]:
    """The largest F1 that any threshold reaches, and that threshold (alarm: score >= threshold).

    It is chosen by looking at the labels, so it flatters every score. With `adjust`, alarms are
    point-adjusted first. (nan, nan) without both kinds of points. Raises DataError for unequal
    lengths or scores that are not finite. Taught in chapter 11.
    """
    y, scores = checked(y, scores)
    if not 0 < y.sum() < len(y):
        return float("nan"), float("nan")
    found = scores.copy()
    if adjust:
        # A range is found as a whole as soon as its highest score is.
        for first, end in anomaly_ranges(y):
            found[first:end] = scores[first:end].max()
    thresholds = np.unique(scores)
    hits = y.sum() - np.searchsorted(np.sort(found[y]), thresholds)
    false = (~y).sum() - np.searchsorted(np.sort(scores[~y]), thresholds)
    f1 = 2 * hits / (hits + false + y.sum())
    best = int(np.argmax(f1))
    return float(f1[best]), float(thresholds[best])


def range_labels(y: np.ndarray, buffer: int) -> np.ndarray:
    """Labels between 0 and 1: 1 in each range, falling to both sides over `buffer` // 2 points.

    A point d away from a range gets sqrt(1 - d / buffer): an alarm shortly before or after an
    event is worth something. Raises DataError for a negative buffer. Taught in chapter 11.
    """
    if buffer < 0:
        raise DataError(f"buffer={buffer}: must be 0 or more points")
    y = np.asarray(y, dtype=bool)
    soft = y.astype(np.float64)
    reach = buffer // 2
    for first, end in anomaly_ranges(y):
        for points in (np.arange(max(first - reach, 0), first), np.arange(end, end + reach)):
            points = points[points < len(y)]
            distance = np.maximum(first - points, points - end + 1)
            soft[points] += np.sqrt(1 - distance / buffer)
    return np.minimum(soft, 1.0)


def range_pr_auc(y: np.ndarray, scores: np.ndarray, buffer: int) -> float:
    """The area under the precision-recall curve of ranges with a buffer (R-AUC-PR).

    Precision and recall count soft labels (`range_labels`); recall is multiplied by the share of
    ranges that have an alarm at all, so three alarms in one event are worth less than one in each
    of three. Every score is a threshold; the curve is joined by straight lines, as in the
    authors' code. nan without both kinds of points. Raises DataError for unequal lengths, scores
    that are not finite and a negative buffer.

    Source: Paparrizos et al. 2022, "Volume Under the Surface",
    https://doi.org/10.14778/3551793.3551830. Taught in chapter 11.
    """
    y, scores = checked(y, scores)
    if not 0 < y.sum() < len(y):
        return float("nan")
    return _Curve(y, scores).area(buffer)


def vus_pr(y: np.ndarray, scores: np.ndarray, buffer: int) -> float:
    """The mean of `range_pr_auc` over all buffers 0, 1, ..., `buffer` (VUS-PR).

    No single buffer has to be defended; take the usual length of a pattern as the largest.
    Returns and raises as `range_pr_auc`. Taught in chapter 11.
    """
    if buffer < 0:
        raise DataError(f"buffer={buffer}: must be 0 or more points")
    y, scores = checked(y, scores)
    if not 0 < y.sum() < len(y):
        return float("nan")
    curve = _Curve(y, scores)
    return float(np.mean([curve.area(size) for size in range(buffer + 1)]))


class _Curve:
    """What all buffers share: the points in order of their scores."""

    def __init__(self, y: np.ndarray, scores: np.ndarray) -> None:
        self.y, self.scores = y, scores
        self.order = np.argsort(-scores, kind="stable")
        falling = scores[self.order]
        # Points of one score get their alarm together: only the last of them is a threshold.
        self.last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
        self.thresholds = falling[self.last]

    def area(self, buffer: int) -> float:
        """R-AUC-PR with this buffer."""
        soft = range_labels(self.y, buffer)
        hits = np.cumsum(soft[self.order])[self.last]
        ranges = anomaly_ranges(soft > 0)
        highest = np.sort([self.scores[first:end].max() for first, end in ranges])
        missed = np.searchsorted(highest, self.thresholds)
        # Midway between the points labelled and those with a buffer, as in the paper.
        positives = (self.y.sum() + soft.sum()) / 2
        recall = np.minimum(hits / positives, 1) * (1 - missed / len(ranges))
        precision = hits / (self.last + 1)
        recall, precision = np.append(0.0, recall), np.append(1.0, precision)
        return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))
