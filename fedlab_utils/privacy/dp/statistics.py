"""A scaler and a threshold that the budget pays for: noisy sums of rows, record level.

Each client adds the noise to its own sums, so its records are protected from the server too.
The number of a client's rows counts as public. Taught in chapter 06.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fedlab_utils.data.standardise import Moments, Scaler
from fedlab_utils.detect.histogram import ScoreHistogram
from fedlab_utils.detect.threshold import quantile_rank
from fedlab_utils.errors import DataError
from fedlab_utils.privacy.dp.accounting import Release
from fedlab_utils.privacy.dp.mechanisms import check_positive
from fedlab_utils.privacy.dp.noise import NoiseSource, SeededNoise

_MOMENTS, _COUNTS = 0x303E, 0xC0A7


def private_scaler(
    parts: Iterable[np.ndarray],
    low: np.ndarray,
    high: np.ndarray,
    noise_multiplier: float,
    *,
    noise: NoiseSource | None = None,
    seed: int = 0,
) -> tuple[Scaler, Release]:
    """A federated scaler from noisy sums of bounded values.

    Values are clipped to public bounds and mapped to -1..1, so a row and its squares together
    have a norm of at most sqrt(2 d): one release per record.

    Args:
        parts: one array [n_k, ..., d] per client.
        low, high: [d] bounds chosen without looking at the data; wide ones mean more noise.
        noise_multiplier: standard deviation of the noise on each sum over sqrt(2 d).

    Returns the scaler, and the release for the budget. Raises DataError for bounds that are not
    increasing, or if the noise leaves a variance below zero. Taught in chapter 06.
    """
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (high > low).all()):
        raise DataError("private_scaler: the bounds need finite numbers with low < high.")
    release = Release(noise_multiplier, what="scaler")
    source = noise or SeededNoise()
    total: Moments | None = None
    middle, half = (high + low) / 2, (high - low) / 2
    for client, x in enumerate(parts):
        moments = Moments.of(np.clip((x - middle) / half, -1, 1))
        stream = source.stream(seed, _MOMENTS, client)
        extra = noise_multiplier * np.sqrt(2 * low.size) * stream.normal((2, low.size))
        noisy = Moments(
            moments.count, moments.total + extra[0], moments.total_of_squares + extra[1]
        )
        total = noisy if total is None else total + noisy
    if total is None:
        raise DataError("private_scaler: no clients, there is nothing to standardise.")
    mean = total.total / total.count
    variance = total.total_of_squares / total.count - mean**2
    if (variance <= 0).any():
        bad = ", ".join(map(str, np.flatnonzero(variance <= 0)[:5]))
        raise DataError(
            f"private_scaler: the noise hides the variance of feature(s) {bad}. Use tighter "
            f"bounds, more rows or less noise."
        )
    return Scaler(middle + half * mean, half * np.sqrt(variance)), release


def private_threshold(
    histograms: Iterable[ScoreHistogram],
    alarm_rate: float,
    noise_multiplier: float,
    *,
    noise: NoiseSource | None = None,
    seed: int = 0,
) -> tuple[float, Release]:
    """The federated threshold from noisy counts: a calibration row adds 1 to one bin.

    The threshold is the first edge above which there are, by the noisy counts, no more rows than
    `local_threshold` would leave there. The noise moves it by some ranks, about noise_multiplier
    times the root of (clients x bins above it): few, wide bins keep that small.

    Returns the threshold, and the release for the budget. Raises DataError for no histograms,
    bins that differ, or a rank beyond the last edge. Taught in chapter 06.
    """
    check_positive("private_threshold: noise_multiplier", noise_multiplier)
    source, total, rows = noise or SeededNoise(), None, 0
    edges: np.ndarray | None = None
    for client, histogram in enumerate(histograms):
        if edges is not None and not np.array_equal(edges, histogram.edges):
            raise DataError("private_threshold: all clients need the same bins.")
        edges = histogram.edges
        stream = source.stream(seed, _COUNTS, client)
        noisy = histogram.counts + noise_multiplier * stream.normal(histogram.counts.shape)
        total = noisy if total is None else total + noisy
        rows += int(histogram.counts.sum())
    if total is None or edges is None:
        raise DataError("private_threshold: there are no histograms.")
    above = np.cumsum(total[::-1])[::-1]
    allowed = rows - quantile_rank(rows, alarm_rate)
    enough = np.flatnonzero(above[1:] <= allowed)
    if len(enough) == 0:
        raise DataError(
            f"private_threshold: more than {allowed} noisy counts lie above the last edge "
            f"{edges[-1]:g}. Use wider edges or less noise."
        )
    return float(edges[enough[0]]), Release(noise_multiplier, what="threshold", rows="calibration")
