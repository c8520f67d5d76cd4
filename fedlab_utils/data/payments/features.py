"""Past-only features of payments, as a bank would compute them. Taught in chapter 01."""

from __future__ import annotations

import numpy as np

from fedlab_utils.data.payments.config import CATEGORIES, DAY
from fedlab_utils.data.payments.transactions import Transactions

WINDOWS = (1, 7, 30)  # days
FEATURES = (
    "amount", "distance", "online", "hour_sin", "hour_cos", "weekend",
    "amount_vs_past", "distance_vs_past", "since_last", "category_rarity",
    "category_amount", "category_distance", "category_hour_sin", "category_hour_cos",
    *(f"{what}_{w}d" for w in WINDOWS for what in ("count", "sum", "mean")),
)  # fmt: skip
PRIOR = 1  # payments of the customer's overall past mixed into the past of one category
MICRO = 2**20  # sines are summed as integers of this resolution


def _before(order_key: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Number of sorted keys smaller than each query."""
    return np.searchsorted(order_key, query, side="left")


def _running(values: np.ndarray) -> np.ndarray:
    """Running sums with a leading 0; integers, so a difference of two is exact."""
    out = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=out[1:])
    return out


def features(payments: Transactions) -> np.ndarray:
    """Features of each payment from itself and the same customer's earlier payments only.

    Args:
        payments: n payments in any order; those of the same customer and the same second do
            not see each other.

    Returns [n, 23] float32 in the order of FEATURES. Money, distances and counts are
    log1p-transformed. All sums run over whole cents, metres and seconds, so a row's features
    are bit for bit the same whatever other customers or later payments there are. Windows as
    in Bahnsen et al. (2016), doi.org/10.1016/j.eswa.2015.12.030. Taught in chapter 01.
    """
    n = len(payments)
    if n == 0:
        return np.zeros((0, len(FEATURES)), dtype=np.float32)
    order = np.argsort(payments.customer * 2**32 + payments.time, kind="stable")
    p = payments.take(order)
    out = np.empty((n, len(FEATURES)), dtype=np.float64)
    column = {name: out[:, i] for i, name in enumerate(FEATURES)}

    second = p.time % DAY
    angle = 2 * np.pi * second / DAY
    sin, cos = np.sin(angle), np.cos(angle)
    cents, metres = p.cents.astype(np.float64), p.metres.astype(np.float64)
    column["amount"][:] = np.log1p(cents / 100)
    column["distance"][:] = np.log1p(metres / 1000)
    column["online"][:] = p.online
    column["hour_sin"][:], column["hour_cos"][:] = sin, cos
    column["weekend"][:] = (p.time // DAY) % 7 >= 5

    # rank: customers numbered 0..c-1, so that keys of customer and time fit 64 bits
    rank = np.cumsum(np.concatenate([[0], p.customer[1:] != p.customer[:-1]]))
    t = p.time - p.time.min()
    span = int(t.max()) + max(WINDOWS) * DAY + 1  # no window reaches the customer before
    key = rank * span + t
    now = _before(key, key)  # first row of the same second: rows before it are the past
    first = _before(key, rank * span)
    money, way = _running(p.cents), _running(p.metres)

    mean = None
    for w in reversed(WINDOWS):
        begin = _before(key, rank * span + np.maximum(t - w * DAY, 0))
        count = (now - begin).astype(np.float64)
        total = (money[now] - money[begin]) / 100
        # No payment in the window: its mean is that of the next longer window.
        fallback = np.zeros(n) if mean is None else mean
        mean = np.where(count > 0, total / np.maximum(count, 1), fallback)
        column[f"count_{w}d"][:] = np.log1p(count)
        column[f"sum_{w}d"][:] = np.log1p(total)
        column[f"mean_{w}d"][:] = np.log1p(mean)

    # The whole past of the customer; without a past the payment is compared with itself.
    known = (now - first).astype(np.float64)
    some = known > 0
    past_amount = np.where(some, (money[now] - money[first]) / np.maximum(known, 1), cents) / 100
    past_way = np.where(some, (way[now] - way[first]) / np.maximum(known, 1), metres) / 1000
    column["amount_vs_past"][:] = column["amount"] - np.log1p(past_amount)
    column["distance_vs_past"][:] = column["distance"] - np.log1p(past_way)
    gap = np.where(some, t - t[np.maximum(now - 1, 0)], max(WINDOWS) * DAY)
    column["since_last"][:] = np.log1p(gap / 3600)

    # The same customer's past in the same category, shrunk towards the whole past.
    sub = np.argsort(rank * len(CATEGORIES) + p.category, kind="stable")
    group = (rank * len(CATEGORIES) + p.category)[sub]
    cat_key = group * span + t[sub]
    inside = np.empty((2, n), dtype=np.int64)
    inside[0, sub] = _before(cat_key, group * span)
    inside[1, sub] = _before(cat_key, cat_key)
    seen = (inside[1] - inside[0]).astype(np.float64)

    def shrunk(values: np.ndarray, overall: np.ndarray) -> np.ndarray:
        total = _running(values[sub])
        return (total[inside[1]] - total[inside[0]] + PRIOR * overall) / (seen + PRIOR)

    column["category_rarity"][:] = -np.log((seen + 1) / (known + len(CATEGORIES)))
    column["category_amount"][:] = np.log1p(shrunk(p.cents, past_amount * 100) / 100)
    column["category_distance"][:] = np.log1p(shrunk(p.metres, past_way * 1000) / 1000)
    for name, value in (("sin", sin), ("cos", cos)):
        whole = np.rint(value * MICRO).astype(np.int64)
        running = _running(whole)
        overall = np.where(some, (running[now] - running[first]) / np.maximum(known, 1), whole)
        column[f"category_hour_{name}"][:] = shrunk(whole, overall) / MICRO

    back = np.empty_like(order)
    back[order] = np.arange(n)
    return out.astype(np.float32)[back]
