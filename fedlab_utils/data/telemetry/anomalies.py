"""The four anomaly types, put into a device's normal series. Taught in chapter 11."""

from __future__ import annotations

import numpy as np

from fedlab_utils.data.telemetry.config import CHANNELS, KINDS, LENGTH, TelemetryConfig
from fedlab_utils.data.telemetry.simulate import STREAM


def add_anomalies(
    series: np.ndarray, config: TelemetryConfig, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Put events into one device's series [n, 3]; return the new series and codes [n].

    Code 0 is normal, 1 + i is KINDS[i]. Training, calibration and test get their shares
    separately. No two events are closer than a window, so no window holds two.
    """
    rng = np.random.default_rng([config.seed, STREAM, index, 2])
    changed, code = series.copy(), np.zeros(len(series), dtype=np.int64)
    early = config.anomaly_rate if config.contamination is None else config.contamination
    for part, (begin, end) in enumerate(config.parts):
        rate = config.anomaly_rate if part == 2 else early
        for kind, first, last in _events(config, begin, end, rate, part < 2, rng):
            channel = rng.integers(len(CHANNELS))
            where = slice(first, last)
            changed[where, channel] = _values(kind, series[:, channel], first, last, config, rng)
            code[where] = 1 + KINDS.index(kind)
    return changed, code


def _events(
    config: TelemetryConfig,
    begin: int,
    end: int,
    rate: float,
    early: bool,
    rng: np.random.Generator,
) -> list[tuple[str, int, int]]:
    """Kind, first and one-past-last sample of the events in samples begin..end.

    So many that about `rate` of the windows touch one: an event of n samples touches the windows
    that begin in a stretch of n + window - 1 samples. Early parts get one or two events more, so
    that `make_federation` finds enough windows for the contamination it is asked for.
    """
    weight = np.array([config.mix.get(kind, 0.0) for kind in KINDS], dtype=float)
    weight /= weight.sum()
    reach = sum(w * (np.mean(LENGTH[k]) - 0.5) for k, w in zip(KINDS, weight, strict=True))
    reach += config.window - 1
    expected = rate * (end - begin) / reach
    count = int(expected) + int(rng.random() < expected % 1)
    if early and rate > 0:
        count = int(expected) + 2
    longest = max(to for _, to in LENGTH.values()) - 1
    count = min(count, (end - begin) // (longest + config.window))
    # Systematic sampling: every kind comes as often as its weight says, to within one event.
    at = (rng.random() + np.arange(count)) / max(count, 1)
    kinds = rng.permutation(np.searchsorted(np.cumsum(weight), at, side="right"))
    events = []
    for kind, room in zip(
        kinds, np.array_split(np.arange(begin, end), max(count, 1)), strict=False
    ):
        name = KINDS[min(int(kind), len(KINDS) - 1)]
        length = int(rng.integers(*LENGTH[name]))
        last = room[-1] + 1 - config.window - length
        first = int(rng.integers(room[0], max(last, room[0]) + 1))
        events.append((name, first, first + length))
    return events


def _values(
    kind: str,
    channel: np.ndarray,
    first: int,
    last: int,
    config: TelemetryConfig,
    rng: np.random.Generator,
) -> np.ndarray:
    """What one channel [n] shows from sample `first` to `last` (exclusive) instead."""
    true, size = channel[first:last], last - first
    if kind == "point":
        # Outwards, so that it cannot land among the values that this channel does show.
        outwards = 1.0 if true.mean() > channel.mean() else -1.0
        return true + outwards * rng.uniform(4, 7) * channel.std()
    if kind == "stuck":
        return true[0] + config.noise * rng.normal(size=size)
    if kind == "contextual":
        # A value that the channel does show, but not now: among the quarter farthest from here.
        far = np.argsort(np.abs(channel - true.mean()))[-len(channel) // 4 :]
        return channel[rng.choice(far)] + config.noise * rng.normal(size=size)
    # collective: the channel as it ran at another time, the least alike of ten, while the other
    # channels run on.
    starts = rng.integers(0, len(channel) - size, 10)
    stretches = channel[starts[:, None] + np.arange(size)]
    return stretches[np.square(stretches - true).mean(axis=1).argmax()]
