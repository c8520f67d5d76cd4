"""No more alerts than people can look at. Taught in chapter 14.

A token bucket: tokens come in at a steady rate, up to a limit, and every alert costs one. A row
above the threshold that finds no token waits; when tokens come in, the highest score goes first.
Who waits is kept in a list of limited length, and what falls off its end is counted, not forgotten.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fedlab_utils.errors import FedlabError


@dataclass(frozen=True)
class Alert:
    """One alert for a person.

    Attributes:
        id: what the caller calls the row.
        score: its anomaly score.
        seen: when the row came, in the caller's seconds.
        sent: when the alert was sent; later than `seen` if it had to wait for the budget.
    """

    id: Any
    score: float
    seen: float
    sent: float


@dataclass
class AlertBudget:
    """Lets at most `burst` + `per_second` * t alerts pass in any t seconds.

    Attributes:
        per_second: how many tokens come in a second; `AlertBudget.per_day(n)` is easier to read.
        burst: how many alerts may go out at once.
        keep: how many rows may wait.
        dropped: how many rows above the threshold never became an alert, because `keep` others
            with higher scores were waiting, or because of `clear`.

    Raises FedlabError for settings that make no sense. Taught in chapter 14.
    """

    per_second: float
    burst: int = 5
    keep: int = 100
    dropped: int = 0
    _tokens: float = field(default=math.nan, repr=False)
    _time: float = field(default=-math.inf, repr=False)
    _waiting: list[tuple[float, int, Any, float]] = field(default_factory=list, repr=False)
    _count: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.per_second) and self.per_second > 0):
            raise FedlabError(f"per_second={self.per_second} must be a positive number.")
        if self.burst < 1 or self.keep < 0:
            raise FedlabError(
                f"burst={self.burst} must be at least 1, keep={self.keep} at least 0."
            )
        self._tokens = float(self.burst)

    @classmethod
    def per_day(cls, alerts: float, burst: int = 5, keep: int = 100) -> AlertBudget:
        """A budget of so many alerts a day."""
        return cls(alerts / 86_400, burst, keep)

    @property
    def waiting(self) -> int:
        """How many rows wait for a token."""
        return len(self._waiting)

    def clear(self) -> int:
        """Drop all rows that wait, as after a night of broken data; returns how many they were."""
        count = len(self._waiting)
        self.dropped += count
        self._waiting = []
        return count

    def offer(
        self, now: float, ids: Sequence[Any] = (), scores: Sequence[float] = ()
    ) -> list[Alert]:
        """Offer rows above the threshold at time `now` [s]; returns the alerts to send, best first.

        Call it without rows to send what has waited. Raises FedlabError if time runs backwards.
        """
        if now < self._time:
            raise FedlabError(f"now={now} is earlier than the last call's {self._time}.")
        if math.isfinite(self._time):
            earned = (now - self._time) * self.per_second
            self._tokens = min(float(self.burst), self._tokens + earned)
        self._time = now
        for id_, score in zip(ids, scores, strict=True):
            # The counter keeps the order of equal scores, and ids from being compared.
            self._waiting.append((-float(score), self._count, id_, now))
            self._count += 1
        heapq.heapify(self._waiting)
        sent = []
        # A token that is whole but for rounding counts as whole.
        while self._waiting and self._tokens >= 1 - 1e-9:
            score, _, id_, seen = heapq.heappop(self._waiting)
            self._tokens -= 1
            sent.append(Alert(id_, -score, seen, now))
        if len(self._waiting) > self.keep:
            self.dropped += len(self._waiting) - self.keep
            self._waiting = heapq.nsmallest(self.keep, self._waiting)
        return sent
