"""The payments generator: dials, determinism, shift, anomaly shares, labels, table."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from fedlab_utils.data.payments import (
    FEATURES,
    KINDS,
    PaymentsConfig,
    Transactions,
    payments_table,
    reported_labels,
    simulate,
)
from fedlab_utils.data.payments.anomalies import allocate
from fedlab_utils.data.payments.config import CATEGORIES, DAY, WARMUP_DAYS
from fedlab_utils.data.payments.datasheet import checksum
from fedlab_utils.data.payments.simulate import bank_profile
from fedlab_utils.data.table import make_federation
from fedlab_utils.errors import DataError

SMALL: dict[str, Any] = {"clients": 3, "customers": 20, "days": 40}
COLUMNS = tuple(Transactions.__dataclass_fields__)


def digest(transactions: Transactions) -> str:
    h = hashlib.sha256()
    for name in COLUMNS:
        h.update(getattr(transactions, name).astype("<i8").tobytes())
    return h.hexdigest()


# ---- determinism ----


def test_same_seed_same_bytes_other_seed_other_bytes() -> None:
    first, again = payments_table(**SMALL), payments_table(**SMALL)
    assert checksum(first) == checksum(again)
    assert checksum(first) != checksum(payments_table(**SMALL, seed=1))


def test_small_configuration_has_the_recorded_bytes() -> None:
    # Whole numbers only; recorded on x86-64 Linux with numpy 2.4 (see the datasheet).
    assert (
        digest(simulate(PaymentsConfig(**SMALL)))
        == "17a1a78ada774398776c994d54af485f49c4bf4fbda86bedb2371631cbff88b6"
    )


def test_a_bank_does_not_depend_on_the_number_of_banks() -> None:
    few = simulate(PaymentsConfig(**{**SMALL, "clients": 2}))
    many = simulate(PaymentsConfig(**{**SMALL, "clients": 5}))
    assert digest(few) == digest(many.take(many.bank < 2))


def test_anomaly_dials_leave_the_normal_payments_alone() -> None:
    low = simulate(PaymentsConfig(**SMALL, anomaly_rate=0.001, contamination=0.0))
    high = simulate(PaymentsConfig(**SMALL, anomaly_rate=0.02, contamination=0.0))

    def rows(t: Transactions) -> set[tuple[int, ...]]:
        t = t.take(~t.anomaly)
        return set(zip(t.customer.tolist(), t.time.tolist(), t.cents.tolist(), strict=True))

    assert len(rows(high) - rows(low)) <= low.anomaly.sum()


# ---- each dial does what it says ----


@pytest.mark.parametrize("factor", [1, 3])
def test_customers_activity_and_days_scale_the_number_of_payments(factor: int) -> None:
    base = {"clients": 4, "customers": 60, "days": 30, "shift": 0.0, "payments_per_day": 0.5}
    n = len(simulate(PaymentsConfig(**base)))  # type: ignore[arg-type]
    for dial in ("customers", "payments_per_day"):
        more = {**base, dial: base[dial] * factor}
        ratio = len(simulate(PaymentsConfig(**more))) / n  # type: ignore[arg-type]
        assert ratio == pytest.approx(factor, rel=0.2)
    longer = simulate(PaymentsConfig(**{**base, "days": 30 * factor}))  # type: ignore[arg-type]
    assert longer.time.max() // DAY == 30 * factor - 1
    assert longer.time.min() // DAY == -WARMUP_DAYS


def test_payments_follow_weekday_and_hour_seasons() -> None:
    t = simulate(PaymentsConfig(clients=2, customers=200, shift=0.0))
    normal = t.take(~t.anomaly)
    hour = normal.time % DAY // 3600
    night, evening = ((hour >= 1) & (hour < 5)).mean(), ((hour >= 15) & (hour < 19)).mean()
    assert evening > 3 * night
    office = normal.category == CATEGORIES.index("transport")
    weekend = normal.time // DAY % 7 >= 5
    assert weekend[office].mean() < 0.7 * weekend.mean()
    counts = np.bincount(normal.time // DAY + WARMUP_DAYS)
    assert counts.min() > 0


def between_banks(shift: float, seed: int) -> float:
    """Mean distance of the banks' standardised feature means from the mean bank."""
    table = payments_table(clients=8, customers=60, shift=shift, seed=seed, days=30)
    x = (table.x - table.x.mean(0)) / table.x.std(0)
    assert table.key is not None
    means = np.array([x[table.key == bank].mean(0) for bank in np.unique(table.key)])
    return float(np.linalg.norm(means - means.mean(0), axis=1).mean())


def test_distances_between_banks_grow_with_shift() -> None:
    distance = [np.mean([between_banks(s, seed) for seed in (0, 1)]) for s in (0, 0.3, 0.6, 1)]
    assert np.all(np.diff(distance) > 0)
    assert distance[-1] > 2 * distance[0]


def test_banks_are_exchangeable_without_shift() -> None:
    config = PaymentsConfig(shift=0.0, clients=6, customers=80)
    profiles = [bank_profile(config, k) for k in range(6)]
    assert all(p.customers == 80 and np.array_equal(p.mix, profiles[0].mix) for p in profiles)
    assert all(p.log_price == p.log_distance == p.log_rate == p.hours == 0 for p in profiles)
    # Banks differ no more than equally large groups of customers drawn at random do.
    t = simulate(config)
    amount = np.log(t.cents)
    per_customer = np.bincount(t.customer, amount) / np.bincount(t.customer)
    owner = np.arange(len(per_customer)) // 80
    rng = np.random.default_rng(0)

    def spread(group: np.ndarray) -> float:
        return float(np.std([per_customer[group == k].mean() for k in range(6)]))

    shuffled = [spread(rng.permutation(owner)) for _ in range(500)]
    assert np.quantile(shuffled, 0.005) < spread(owner) < np.quantile(shuffled, 0.995)


def test_shift_makes_sizes_unequal_and_modes_few() -> None:
    sizes = {
        s: [bank_profile(PaymentsConfig(shift=s), k).customers for k in range(10)] for s in (0.3, 1)
    }
    assert np.std(sizes[1]) > 2 * np.std(sizes[0.3]) > 0
    assert 60 < np.mean(sizes[1]) < 140
    assert np.allclose(np.sort(bank_profile(PaymentsConfig(shift=1), 0).mix)[-2:], [0.2, 0.8])


@pytest.mark.parametrize("rate", [0.002, 0.02])
def test_anomaly_rate_is_met_in_the_test_days_of_each_bank(rate: float) -> None:
    table = payments_table(clients=3, customers=150, anomaly_rate=rate)
    assert table.key is not None and table.split is not None
    for bank in np.unique(table.key):
        share = table.y[(table.key == bank) & (table.split == "test")].mean()
        assert share == pytest.approx(rate, rel=0.1)


def test_contamination_sets_the_early_share_and_federate_uses_it() -> None:
    for share in (0.0, 0.01, 0.1):
        table = payments_table(**SMALL, contamination=share)
        assert table.split is not None
        early = table.y[table.split != "test"].mean()
        assert share <= early <= share + 0.004
        make_federation(table, contamination=share)  # enough anomalies for every client
    default = payments_table(**SMALL)
    assert default.split is not None
    assert default.y[default.split == "train"].mean() == pytest.approx(0.015, abs=0.004)


def test_mix_sets_the_types() -> None:
    t = simulate(PaymentsConfig(clients=4, customers=150))
    counts = np.bincount(t.kind, minlength=6)[1:]
    assert np.allclose(counts / counts.sum(), [0.2, 0.4, 0.25, 0.1, 0.05], atol=0.02)
    for kind in KINDS:
        only = simulate(PaymentsConfig(**SMALL, mix={kind: 2}))
        assert set(only.kind_names) == {"normal", kind}
    assert allocate(7, {"point": 1, "structural": 1}) == {
        "point": 4, "structural": 3, "collective": 0, "takeover": 0, "regular": 0,
    }  # fmt: skip


def test_no_anomaly_in_the_history_before_day_0() -> None:
    t = simulate(PaymentsConfig(**SMALL))
    assert not t.anomaly[t.time < 0].any()


def test_takeover_prefers_goods_that_sell_again() -> None:
    t = simulate(PaymentsConfig(clients=3, customers=200, mix={"takeover": 1}, anomaly_rate=0.02))
    wanted = np.isin(t.category, [CATEGORIES.index(c) for c in ("fashion", "electronics", "fuel")])
    assert wanted[t.anomaly].mean() > 0.6 > 2 * wanted[~t.anomaly].mean()


def test_structural_keeps_the_customers_own_values() -> None:
    t = simulate(PaymentsConfig(**SMALL, mix={"structural": 1}, anomaly_rate=0.02, seed=3))
    base = simulate(PaymentsConfig(**SMALL, mix={"takeover": 1}, anomaly_rate=0.02, seed=3))
    for row in np.flatnonzero(t.anomaly):
        own = base.take(base.customer == t.customer[row])
        for name in ("cents", "metres", "category"):
            assert getattr(t, name)[row] in getattr(own, name)
        assert t.time[row] % DAY in own.time % DAY


# ---- labels ----


def test_reported_labels_without_noise_and_delay_are_the_truth() -> None:
    config = PaymentsConfig(clients=2, customers=40, label_noise=0.0, label_delay=0.0)
    t = simulate(config)
    assert np.array_equal(reported_labels(t, config), t.anomaly)


def test_delay_hides_recent_frauds_and_noise_exchanges_labels() -> None:
    base = {"clients": 6, "customers": 300, "anomaly_rate": 0.02}
    late = PaymentsConfig(**base, label_noise=0.0, label_delay=20.0)  # type: ignore[arg-type]
    t = simulate(late)
    known = reported_labels(t, late)
    old, recent = t.time < 40 * DAY, t.time > 80 * DAY
    assert not known[~t.anomaly].any()
    assert known[t.anomaly & old].mean() > 0.85
    assert known[t.anomaly & recent].mean() < 0.5

    noisy = PaymentsConfig(**base, label_noise=0.3, label_delay=0.0)  # type: ignore[arg-type]
    known = reported_labels(t, noisy)
    assert known[t.anomaly].mean() == pytest.approx(0.7, abs=0.04)
    assert known.sum() == pytest.approx(t.anomaly.sum(), rel=0.1)


def test_reported_table_names_false_alarms() -> None:
    table = payments_table(clients=3, customers=150, labels="reported", label_noise=0.3)
    truth = payments_table(clients=3, customers=150, label_noise=0.3)
    assert table.kind is not None
    assert np.array_equal(table.x, truth.x)
    assert np.array_equal(table.kind == "normal", ~table.y)
    assert np.array_equal(table.kind == "false alarm", table.y & ~truth.y)


# ---- the table ----


def test_table_fits_the_course() -> None:
    table = payments_table(clients=10, shift=0.6, seed=0)
    assert table.key is not None and table.split is not None and table.kind is not None
    assert table.features == FEATURES and 16 <= len(FEATURES) <= 24
    assert table.x.dtype == np.float32 and np.isfinite(table.x).all()
    assert list(dict.fromkeys(table.key)) == [f"bank {k}" for k in range(1, 11)]
    federation = make_federation(table)
    assert len(federation) == 10
    assert federation.unseen is None
    assert min(federation.sizes) > 1000 and max(federation.sizes) < 8000
    for client in federation:
        assert client.y_test.sum() >= 12
        assert set(client.kind_test) <= {"normal", *KINDS}
    assert len(make_federation(table, unseen="bank 4")) == 9


def test_split_is_by_time() -> None:
    t = simulate(PaymentsConfig(**SMALL))
    t = t.take(t.time >= 0)
    t = t.take(np.lexsort((t.time, t.bank)))
    table = payments_table(**SMALL)
    assert table.split is not None
    day = t.time // DAY
    expected = np.where(day < 20, "train", np.where(day < 26, "calibration", "test"))
    assert np.array_equal(table.split, expected)
    assert payments_table(**SMALL, calibration_share=0.0).split is not None


def test_frame_has_readable_columns() -> None:
    t = simulate(PaymentsConfig(**SMALL))
    frame = t.to_frame()
    assert len(frame) == len(t)
    assert np.allclose(frame["amount"] * 100, t.cents)
    assert frame["hour"].between(0, 24).all()
    assert set(frame["bank"]) == {"bank 1", "bank 2", "bank 3"}
    assert (frame["kind"] != "normal").equals(frame["anomaly"])


# ---- bad input ----


@pytest.mark.parametrize(
    ("dial", "value"),
    [
        ("clients", 0), ("clients", 2.5), ("clients", True), ("customers", 4), ("days", 9),
        ("shift", -0.1), ("shift", 1.1), ("shift", float("nan")), ("shift", "much"),
        ("anomaly_rate", 0.0), ("anomaly_rate", 0.03), ("contamination", 0.3),
        ("label_noise", 0.6), ("label_delay", -1), ("train_share", 0.0),
        ("calibration_share", 0.6), ("payments_per_day", 0), ("seed", -1), ("seed", 0.5),
        ("mix", {"theft": 1}), ("mix", {"point": -1}), ("mix", {"point": 0}), ("mix", {}),
        ("mix", {"point": "a"}), ("mix", 3),
    ],
)  # fmt: skip
def test_errors_name_the_dial(dial: str, value: object) -> None:
    with pytest.raises(DataError, match=rf"payments: {dial}"):
        PaymentsConfig(**{dial: value})  # type: ignore[arg-type]


def test_errors_name_the_allowed_range_and_unknown_options() -> None:
    with pytest.raises(DataError, match=r"shift must lie between 0 and 1, got 2"):
        PaymentsConfig(shift=2)
    with pytest.raises(DataError, match=r"train_share \+ calibration_share"):
        PaymentsConfig(train_share=0.6, calibration_share=0.4)
    with pytest.raises(DataError, match=r"unknown options \['banks'\].*clients"):
        payments_table(banks=3)
    with pytest.raises(DataError, match="labels must be"):
        payments_table(labels="none")  # type: ignore[arg-type]
