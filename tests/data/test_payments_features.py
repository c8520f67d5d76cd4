"""The features of payments against a slow oracle, and that they see the past only."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils.data.payments import FEATURES, PaymentsConfig, Transactions, simulate
from fedlab_utils.data.payments.config import CATEGORIES, DAY
from fedlab_utils.data.payments.features import features


def make(rows: list[tuple[int, int, int, int, int, bool]]) -> Transactions:
    """Transactions from (customer, time, cents, metres, category, online) tuples."""
    customer, time_, cents, metres, category = (
        np.array([row[i] for row in rows], dtype=np.int64) for i in range(5)
    )
    online = np.array([row[5] for row in rows], dtype=bool)
    zero = np.zeros(len(rows), dtype=np.int64)
    return Transactions(zero, customer, time_, cents, metres, category, online, zero)


def oracle(t: Transactions, i: int) -> list[float]:
    """Features of row i by definition, with loops over all rows."""
    past = [j for j in range(len(t)) if t.customer[j] == t.customer[i] and t.time[j] < t.time[i]]
    amount, km = t.cents / 100, t.metres / 1000
    angle = 2 * math.pi * (t.time % DAY) / DAY
    sin, cos = np.sin(angle), np.cos(angle)

    def mean(values: np.ndarray, rows: list[int], default: float) -> float:
        return float(np.mean(values[rows])) if rows else default

    same = [j for j in past if t.category[j] == t.category[i]]

    def shrunk(values: np.ndarray) -> float:
        overall = mean(values, past, float(values[i]))
        return (sum(float(values[j]) for j in same) + overall) / (len(same) + 1)

    gap = t.time[i] - max(t.time[j] for j in past) if past else 30 * DAY
    windows: list[float] = []
    fallback = 0.0
    for days in (30, 7, 1):
        rows = [j for j in past if t.time[j] >= t.time[i] - days * DAY]
        total = sum(float(amount[j]) for j in rows)
        fallback = total / len(rows) if rows else fallback
        windows = [math.log1p(len(rows)), math.log1p(total), math.log1p(fallback), *windows]
    return [
        math.log1p(amount[i]), math.log1p(km[i]), float(t.online[i]), sin[i], cos[i],
        float((t.time[i] // DAY) % 7 >= 5),
        math.log1p(amount[i]) - math.log1p(mean(amount, past, amount[i])),
        math.log1p(km[i]) - math.log1p(mean(km, past, km[i])),
        math.log1p(gap / 3600), -math.log((len(same) + 1) / (len(past) + len(CATEGORIES))),
        math.log1p(shrunk(amount)), math.log1p(shrunk(km)), shrunk(sin), shrunk(cos), *windows,
    ]  # fmt: skip


ROW = st.tuples(
    st.integers(0, 2),
    st.one_of(
        st.integers(-60 * DAY, 90 * DAY),
        st.sampled_from([0, DAY, 7 * DAY, 30 * DAY, 31 * DAY, 60 * DAY]),
    ),
    st.integers(1, 10**6),
    st.integers(0, 10**7),
    st.integers(0, len(CATEGORIES) - 1),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=25))
def test_features_equal_the_oracle(rows: list[tuple[int, int, int, int, int, bool]]) -> None:
    t = make(rows)
    expected = [oracle(t, i) for i in range(len(t))]
    assert np.allclose(features(t), expected, rtol=1e-5, atol=1e-5)


def test_features_equal_the_oracle_on_simulated_payments() -> None:
    t = simulate(PaymentsConfig(clients=1, customers=5, days=20))
    rows = np.random.default_rng(0).choice(len(t), 60, replace=False)
    assert np.allclose(features(t)[rows], [oracle(t, i) for i in rows], rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=2, max_size=25), st.lists(ROW, max_size=10), st.integers(0, 24))
def test_the_future_and_other_customers_change_no_bit(
    rows: list[tuple[int, int, int, int, int, bool]],
    others: list[tuple[int, int, int, int, int, bool]],
    which: int,
) -> None:
    chosen = rows[which % len(rows)]
    past = [row for row in rows if row[0] == chosen[0] and row[1] < chosen[1]]
    # Same second or later, or somebody else's: must not matter. Ties stay distinct by position.
    rest = [row for row in others if row[0] != chosen[0] or row[1] >= chosen[1]]
    alone = features(make([*past, chosen]))[-1]
    together = features(make([*rest, *past, chosen]))[-1]
    assert alone.tobytes() == together.tobytes()


def test_features_do_not_depend_on_the_order_of_rows() -> None:
    t = simulate(PaymentsConfig(clients=2, customers=10, days=20))
    order = np.random.default_rng(1).permutation(len(t))
    assert np.array_equal(features(t)[order], features(t.take(order)))


def test_cutting_the_future_changes_no_bit_of_simulated_features() -> None:
    t = simulate(PaymentsConfig(clients=2, customers=20, days=30))
    before = t.time < 12 * DAY
    assert np.array_equal(features(t)[before], features(t.take(before)))


def test_no_rows_and_one_row() -> None:
    assert features(make([])).shape == (0, len(FEATURES))
    only = features(make([(5, 100, 1000, 2000, 3, False)]))
    assert only.shape == (1, len(FEATURES)) and np.isfinite(only).all()


@pytest.mark.slow
def test_a_million_payments_take_seconds() -> None:
    start = time.perf_counter()
    t = simulate(PaymentsConfig(customers=900))
    x = features(t)
    seconds = time.perf_counter() - start
    assert x.shape == (len(t), len(FEATURES))
    # 2-3 s on one core; the bound leaves room for busy machines.
    assert len(t) > 900_000 and seconds / len(t) * 1e6 < 15
