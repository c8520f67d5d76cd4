"""Simple detectors of a time series, and the way from windows back to points.

Taught in chapter 11.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from fedlab_utils.errors import DataError


def point_scores(
    window_scores: np.ndarray,
    window: int,
    stride: int,
    points: int,
    how: Literal["mean", "max"] = "mean",
) -> np.ndarray:
    """One score per point [points] from those of the windows [n] that hold it.

    Window i covers the points i * stride to i * stride + window - 1. Points that no window holds
    (the last ones, if the stride does not fit) get the score of their nearest neighbour that has
    one. Raises DataError if the windows reach beyond the series, or leave gaps between them.
    Taught in chapter 11.
    """
    scores = np.asarray(window_scores, dtype=np.float64)
    end = (len(scores) - 1) * stride + window
    if scores.ndim != 1 or not len(scores) or not 1 <= stride <= window or end > points:
        raise DataError(
            f"{scores.shape} window scores with window={window}, stride={stride} do not fit "
            f"{points} points: give one score per window, a stride of 1 to {window}, and a series "
            f"of at least {max(end, window)} points."
        )
    if how not in ("mean", "max"):
        raise DataError(f'how must be "mean" or "max", got {how!r}.')
    place = (np.arange(len(scores)) * stride)[:, None] + np.arange(window)
    each = np.repeat(scores, window)
    result = np.full(points, -np.inf)
    if how == "max":
        np.maximum.at(result, place.ravel(), each)
    else:
        count = np.bincount(place.ravel(), minlength=points)
        total = np.bincount(place.ravel(), weights=each, minlength=points)
        result = total / np.maximum(count, 1)
    result[end:] = result[end - 1]
    return result


def moving_zscore(series: np.ndarray, width: int) -> np.ndarray:
    """How many standard deviations each point [n] is away from the mean of the `width` before it.

    Only the past counts, so it can run live. The first points have a shorter past; the very
    first ones, whose past has no spread, get 0. A spread of 0 is replaced by a ten-thousandth of
    the series'. Raises DataError for a series that is not [n] finite numbers, or a width that
    does not fit. Taught in chapter 11.
    """
    x = check_series(series, width, least=2)
    # Subtracting the mean keeps the difference of the two sums below precise.
    x = x - x.mean()
    sums, squares = (np.append(0.0, np.cumsum(a)) for a in (x, x * x))
    at = np.arange(len(x))
    start = np.maximum(at - width, 0)
    count = np.maximum(at - start, 1)
    mean = (sums[at] - sums[start]) / count
    variance = np.maximum((squares[at] - squares[start]) / count - mean**2, 0)
    spread = np.maximum(np.sqrt(variance), 1e-4 * x.std())
    z = np.zeros(len(x))
    np.divide(np.abs(x - mean), spread, out=z, where=(at > 1) & (spread > 0))
    return z


def matrix_profile(
    series: np.ndarray, window: int, reference: np.ndarray | None = None
) -> np.ndarray:
    """Distance of each window [n - window + 1] to its nearest neighbour.

    Windows are compared after each got mean 0 and deviation 1, so only their shape counts. The
    neighbours are the windows of `reference`, a series known to be normal; without one, those of
    the series itself that begin at least half a window away. The window with the largest distance
    is the discord: nothing else looks like it. A window without any spread has the distance 0 to
    others of its kind and sqrt(window) to all others. Exact, O(n^2) with matrix products.

    Raises DataError for series that are not finite numbers or too short. Source: Yeh et al. 2016,
    "Matrix Profile I", https://doi.org/10.1109/ICDM.2016.0179. Taught in chapter 11.
    """
    x = check_series(series, window, least=2)
    shapes = _shapes(x, window)
    others = shapes if reference is None else _shapes(check_series(reference, window, 2), window)
    apart = max(window // 2, 1)
    if reference is None and len(shapes) <= apart:
        raise DataError(
            f"{len(x)} points hold no two windows of {window} points that are {apart} apart; use a "
            f"shorter window or a longer series."
        )
    flat, flat_others = (np.abs(s).max(axis=1) == 0 for s in (shapes, others))
    best = np.empty(len(shapes))
    for begin in range(0, len(shapes), 512):
        rows = np.arange(begin, min(begin + 512, len(shapes)))
        # The squared distance of two such windows is 2 window (1 - correlation).
        squared = 2 * (window - shapes[rows] @ others.T)
        squared[np.logical_xor.outer(flat[rows], flat_others)] = window
        squared[np.logical_and.outer(flat[rows], flat_others)] = 0
        if reference is None:
            near = np.abs(rows[:, None] - np.arange(len(others))) < apart
            squared[near] = np.inf
        best[rows] = squared.min(axis=1)
    return np.sqrt(np.maximum(best, 0))


def _shapes(x: np.ndarray, window: int) -> np.ndarray:
    """All windows [n - window + 1, window] with mean 0 and deviation 1; without spread, zeros."""
    windows = np.lib.stride_tricks.sliding_window_view(x, window)
    centred = windows - windows.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    some = spread > 1e-10 * max(float(np.abs(x).max()), 1e-300)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=some)


def check_series(series: np.ndarray, window: int, least: int) -> np.ndarray:
    """The series as float64 [n], or DataError. A window has `least` to n points."""
    x = np.asarray(series, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise DataError(f"a series must be finite numbers [n]; this has the shape {list(x.shape)}.")
    if not least <= window <= len(x):
        raise DataError(
            f"a window of {window} points does not fit: it must have {least} to {len(x)} points."
        )
    return x
