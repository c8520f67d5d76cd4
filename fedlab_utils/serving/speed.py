"""Rows per second, and how long the slowest one in a hundred takes. Taught in chapter 14."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedlab_utils.errors import FedlabError


@dataclass(frozen=True)
class Speed:
    """How fast a scorer is with batches of one size.

    Attributes:
        batch: rows in a call.
        calls: how many calls were timed.
        rows_per_second: over all calls.
        median_ms, p99_ms: of single calls, in milliseconds.
    """

    batch: int
    calls: int
    rows_per_second: float
    median_ms: float
    p99_ms: float


def measure(
    score: Callable[[np.ndarray], Any],
    rows: np.ndarray,
    batch: int,
    *,
    seconds: float = 1.0,
    warm_up: int = 10,
) -> Speed:
    """Call `score` with batches of rows, one call after the other, for about `seconds`.

    At least 100 calls are timed, since a p99 of fewer says nothing. Raises FedlabError for a batch
    larger than the rows. One caller waits for each answer, so latency is without queueing.
    Taught in chapter 14.
    """
    if not 1 <= batch <= len(rows):
        raise FedlabError(f"batch={batch}: there are {len(rows)} rows to choose from.")
    parts = [rows[i : i + batch] for i in range(0, len(rows) - batch + 1, batch)]
    for part in (parts * warm_up)[:warm_up]:
        score(part)
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 100 or time.perf_counter() - began < seconds:
        part = parts[len(times) % len(parts)]
        before = time.perf_counter()
        score(part)
        times.append(time.perf_counter() - before)
    milliseconds = 1e3 * np.array(times)
    return Speed(
        batch,
        len(times),
        batch * len(times) / float(np.sum(times)),
        float(np.median(milliseconds)),
        float(np.quantile(milliseconds, 0.99)),
    )
