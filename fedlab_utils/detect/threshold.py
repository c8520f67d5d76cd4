"""From scores to alarms without labels: conformal thresholds and what they promise.

A row raises an alarm when its score is above the threshold. The thresholds are set on
calibration rows, which nobody has labelled and the model has not seen. Anomalies among them
only make a threshold higher and alarms rarer. Taught in chapters 01 and 02.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log, sqrt

import numpy as np

from fedlab_utils.errors import DataError


def local_threshold(scores: np.ndarray, alarm_rate: float) -> float:
    """Return the split-conformal threshold of calibration scores [n].

    It is the ceil((n + 1)(1 - alarm_rate))-th smallest score: a new normal row, exchangeable
    with the calibration rows, scores above it with probability <= alarm_rate. Raises DataError
    for scores that are not finite, an alarm rate outside (0, 1), and one below 1 / (n + 1), for
    which n rows are too few (the threshold would be infinite and never give an alarm).
    Source: Papadopoulos et al., "Inductive Confidence Machines for Regression", ECML 2002.
    Taught in chapter 01.
    """
    scores = check_scores(scores)
    return float(np.sort(scores)[quantile_rank(len(scores), alarm_rate) - 1])


def check_scores(scores: np.ndarray) -> np.ndarray:
    """Return calibration scores as float64 [n], or raise DataError. Taught in chapter 01."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1:
        raise DataError(f"scores must be one list [n], got the shape {list(scores.shape)}")
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores)))
        raise DataError(f"the score of row {row} is {scores[row]}; it must be finite")
    return scores


def quantile_rank(n: int, alarm_rate: float) -> int:
    """Return which of n sorted scores (1 = smallest) is the conformal threshold.

    Raises DataError for an alarm rate outside (0, 1) or below 1 / (n + 1).
    Taught in chapter 01.
    """
    return n + 1 - _alarms(n, alarm_rate)


def _alarms(n: int, alarm_rate: float) -> int:
    """Return l = floor((n + 1) a); the expected alarm rate is l / (n + 1)."""
    if not 0 < alarm_rate < 1:
        raise DataError(f"alarm_rate must be between 0 and 1, got {alarm_rate}")
    # the small term undoes rounding: 100 * 0.29 is 28.999999999999996 in floating point
    above = floor((n + 1) * alarm_rate + 1e-9)
    if above < 1:
        raise DataError(
            f"{n} calibration rows are too few for an alarm rate of {alarm_rate:g}: the smallest "
            f"possible rate is 1/(n+1) = {1 / (n + 1):.4g}; hold back more rows, ask for a "
            "higher rate, or use the federated threshold"
        )
    return above


@dataclass(frozen=True)
class AlarmRateBound:
    """What n calibration rows promise about the alarm rate on normal rows.

    Taught in chapter 01.
    """

    n: int
    alarm_rate: float
    delta: float
    expected: float
    """Mean alarm rate over draws of the calibration rows: within 1/(n+1) below `alarm_rate`."""
    at_most: float
    """The alarm rate of your one threshold is at most this, with probability 1 - delta."""
    low: float
    """Lower end of the two-sided interval of probability 1 - delta ..."""
    high: float
    """... and its upper end."""
    any_threshold: float
    """DKW margin: for all thresholds at once, true and counted rates differ by at most this,
    with probability 1 - delta. Use it when the threshold was chosen by looking at the rates."""


def alarm_rate_bound(n: int, alarm_rate: float, delta: float = 0.05) -> AlarmRateBound:
    """Say how far the alarm rate of a threshold set on n rows can be from the one asked for.

    Given the calibration rows, the rate at `local_threshold` is distributed as
    Beta(l, n + 1 - l) with l = floor((n + 1) alarm_rate), if scores have no ties (ties only
    lower it). Raises DataError as `local_threshold` does, and for delta outside (0, 1).
    Sources: Vovk, "Conditional Validity of Inductive Conformal Predictors", ACML 2012;
    Angelopoulos and Bates, "A Gentle Introduction to Conformal Prediction", 2021,
    https://arxiv.org/abs/2107.07511; Massart, "The Tight Constant in the
    Dvoretzky-Kiefer-Wolfowitz Inequality", 1990. Taught in chapter 01.
    """
    from scipy.stats import beta

    if not 0 < delta < 1:
        raise DataError(f"delta must be between 0 and 1, got {delta}")
    above = _alarms(n, alarm_rate)
    realised = beta(above, n + 1 - above)
    return AlarmRateBound(
        n=n,
        alarm_rate=alarm_rate,
        delta=delta,
        expected=above / (n + 1),
        at_most=float(realised.ppf(1 - delta)),
        low=float(realised.ppf(delta / 2)),
        high=float(realised.ppf(1 - delta / 2)),
        any_threshold=sqrt(log(2 / delta) / (2 * n)),
    )
