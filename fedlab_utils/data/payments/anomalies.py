"""The five anomaly types, put into a bank's normal payments. Taught in chapter 01."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from fedlab_utils.data.payments import config as world
from fedlab_utils.data.payments.config import DAY, KINDS, PaymentsConfig
from fedlab_utils.data.payments.simulate import STREAM
from fedlab_utils.data.payments.transactions import Transactions

BURST = (8, 17)  # payments in one collective burst: from, to (exclusive)
STRETCH = (6, 13)  # payments in one too-regular stretch
RESOLD = ("fashion", "electronics", "fuel")  # what a thief who passes for the customer prefers


def allocate(total: int, mix: dict[str, float]) -> dict[str, int]:
    """Divide `total` by the weights of `mix` with the largest-remainder method."""
    weight = np.array([mix.get(kind, 0.0) for kind in KINDS], dtype=float)
    share = total * weight / weight.sum()
    counts = np.floor(share).astype(int)
    rest = np.argsort(counts - share, kind="stable")[: total - counts.sum()]
    counts[rest] += 1
    return dict(zip(KINDS, counts.tolist(), strict=True))


def add_anomalies(payments: Transactions, config: PaymentsConfig, index: int) -> Transactions:
    """Put anomalies into one bank's payments (ordered by customer, time); same order out.

    Training, calibration and test days get their shares separately. All but the bursts change
    or relabel payments that were there, so a victim is as active as the other customers.
    """
    rng = np.random.default_rng([config.seed, STREAM, index, 2])
    columns = {name: getattr(payments, name).copy() for name in payments.__dataclass_fields__}
    edge = (0, *config.boundaries)
    new: list[Transactions] = []
    for part, (start, end) in enumerate(pairwise(edge)):
        rows = np.flatnonzero((payments.time >= start) & (payments.time < end))
        rate = config.anomaly_rate if part == 2 else config.early_rate
        if not len(rows) or rate == 0:
            continue
        counts = _counts(len(rows), rate, dict(config.mix))
        free = rng.permutation(rows)
        free = _regular(columns, payments, free, end, counts["regular"], rng)
        free = _takeover(columns, payments, free, counts["takeover"], rng)
        free = _structural(columns, payments, free, counts["structural"], rng)
        _point(columns, free, counts["point"], rng)
        new += _bursts(payments, start, end, rows, counts["collective"], rng)
    return Transactions.concatenate([replace(payments, **columns), *new]).by_customer()


def _counts(n: int, rate: float, mix: dict[str, float]) -> dict[str, int]:
    """Anomalies of each type among n payments, the fewest that make up at least `rate`.

    Bursts add payments, so the share is counted after them.
    """
    bursts = mix.get("collective", 0.0) / sum(mix.values())
    total = int(n * rate / (1 - rate * bursts))
    while total < rate * (n + allocate(total, mix)["collective"]):
        total += 1
    return allocate(total, mix)


def _code(kind: str) -> int:
    return 1 + KINDS.index(kind)


def _spans(payments: Transactions, customer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and one-past-last row of each of these customers."""
    low = np.searchsorted(payments.customer, customer, side="left")
    return low, np.searchsorted(payments.customer, customer, side="right")


def _move(columns: dict[str, np.ndarray], rows: np.ndarray, second: np.ndarray) -> None:
    """Put `rows` at the given second of their own day."""
    columns["time"][rows] = columns["time"][rows] // DAY * DAY + second


def _point(
    columns: dict[str, np.ndarray], free: np.ndarray, n: int, rng: np.random.Generator
) -> None:
    """Far values: a high amount, far from home, at night."""
    rows = free[:n]
    amount = columns["cents"][rows] * np.exp(rng.normal(2.2, 0.4, len(rows)))
    distance = (columns["metres"][rows] + 3000) * np.exp(rng.normal(3.0, 0.6, len(rows)))
    columns["cents"][rows] = np.rint(amount).astype(np.int64)
    columns["metres"][rows] = np.rint(distance).astype(np.int64)
    columns["online"][rows] = False
    _move(columns, rows, rng.integers(1 * 3600, 5 * 3600, len(rows)))
    columns["kind"][rows] = _code("point")


def _structural(
    columns: dict[str, np.ndarray], payments: Transactions, free: np.ndarray, n: int,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Each attribute is copied from another of the customer's payments, each from a different one.

    So every attribute keeps the customer's own distribution; only the dependence is broken.
    """
    rows = free[:n]
    low, high = _spans(payments, payments.customer[rows])
    donor = rng.integers(low, high, size=(4, len(rows)))
    columns["cents"][rows] = payments.cents[donor[0]]
    columns["category"][rows] = payments.category[donor[1]]
    columns["metres"][rows] = payments.metres[donor[2]]
    columns["online"][rows] = payments.online[donor[2]]
    _move(columns, rows, payments.time[donor[3]] % DAY)
    columns["kind"][rows] = _code("structural")
    return free[n:]


def _takeover(
    columns: dict[str, np.ndarray], payments: Transactions, free: np.ndarray, n: int,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Ordinary payments that somebody else made; he prefers goods that sell again."""
    wanted = [world.CATEGORIES.index(name) for name in RESOLD]
    # Two out of three are of the wanted categories: only labels could teach this.
    first = np.isin(payments.category[free], wanted) & (rng.random(len(free)) < 2 / 3)
    order = np.argsort(~first, kind="stable")
    rows, rest = free[order[:n]], free[order[n:]]
    columns["kind"][rows] = _code("takeover")
    return rng.permutation(rest)


def _regular(
    columns: dict[str, np.ndarray], payments: Transactions, free: np.ndarray, end: int, n: int,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """One customer's next payments become the same typical payment, day after day."""
    left = np.zeros(len(payments), dtype=bool)
    left[free] = True
    for first in free:
        if n == 0:
            break
        low, high = _spans(payments, payments.customer[first : first + 1])
        own = np.arange(low[0], high[0])
        favourite = np.bincount(payments.category[own]).argmax()
        own = own[(payments.category[own] == favourite) & ~payments.online[own]]
        day = payments.time[first] // DAY
        size = min(int(rng.integers(*STRETCH)), high[0] - first, n, end // DAY - day)
        rows = np.arange(first, first + size)
        rows = rows[left[rows]]
        if not len(own) or not len(rows):
            continue
        for name in ("cents", "metres"):
            columns[name][rows] = int(np.median(getattr(payments, name)[own]))
        columns["category"][rows], columns["online"][rows] = favourite, False
        second = int(np.median(payments.time[own] % DAY))
        columns["time"][rows] = (day + np.arange(len(rows))) * DAY + second
        columns["kind"][rows] = _code("regular")
        left[rows] = False
        n -= len(rows)
    return free[left[free]]


def _bursts(
    payments: Transactions, start: int, end: int, rows: np.ndarray, n: int, rng: np.random.Generator
) -> list[Transactions]:
    """Copies of a customer's own payments, whole and so each normal, but many on one day."""
    made = []
    while n > 0:
        size = min(int(rng.integers(*BURST)), n)
        low, high = _spans(payments, rng.choice(np.unique(payments.customer[rows]), 1))
        copies = payments.take(rng.integers(low[0], high[0], size))
        day = rng.integers(start // DAY, end // DAY)
        time = day * DAY + copies.time % DAY
        made.append(replace(copies, time=time, kind=np.full(size, _code("collective"))))
        n -= size
    return made
