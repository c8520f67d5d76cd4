"""The telemetry generator: dials, determinism, events, windows, datasheet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fedlab_utils as fl
from fedlab_utils.data.payments.datasheet import checksum
from fedlab_utils.data.table import make_federation
from fedlab_utils.data.telemetry import (
    CHANNELS,
    KINDS,
    TelemetryConfig,
    datasheet,
    simulate_telemetry,
    telemetry_table,
)
from fedlab_utils.data.telemetry.config import LENGTH
from fedlab_utils.data.telemetry.simulate import device_profile, normal_series
from fedlab_utils.detect import anomaly_ranges
from fedlab_utils.errors import DataError

SMALL: dict[str, Any] = {"clients": 3, "samples": 1200}


def test_same_seed_same_bytes_and_devices_do_not_depend_on_their_number() -> None:
    first, again = telemetry_table(**SMALL), telemetry_table(**SMALL)
    assert checksum(first) == checksum(again)
    assert checksum(first) != checksum(telemetry_table(**SMALL, seed=1))
    few = simulate_telemetry(TelemetryConfig(**{**SMALL, "clients": 2}))
    many = simulate_telemetry(TelemetryConfig(**SMALL))
    for a, b in zip(few, many, strict=False):
        assert a.values.tobytes() == b.values.tobytes() and (a.kind == b.kind).all()


def test_default_table_is_that_of_the_datasheet() -> None:
    # Recorded on x86-64 Linux with numpy 2.4.
    text = datasheet.README.read_text(encoding="utf-8")
    table = telemetry_table()
    assert checksum(table) in text and f"{len(table.x):,} windows" in text
    assert table.x.shape == (5928, 24, 3) and table.features == CHANNELS
    names = {*TelemetryConfig.__dataclass_fields__, *KINDS, *CHANNELS}
    assert not [name for name in names if f"`{name}`" not in text]
    assert "LSTM autoencoder, federated" in text


def test_events_change_one_channel_for_as_long_as_their_kind_says() -> None:
    config = TelemetryConfig(clients=4, samples=20_000, anomaly_rate=0.2)
    for index, series in enumerate(simulate_telemetry(config)):
        normal = normal_series(config, index)
        different = series.values != normal
        assert not different[~series.anomaly].any()
        ranges = anomaly_ranges(series.anomaly)
        assert len(ranges) > 20
        for first, end in ranges:
            low, high = LENGTH[series.kind[first]]
            assert low <= end - first < high
            assert len(set(series.kind[first:end])) == 1
            assert different[first:end].any(axis=0).sum() == 1
        # No window can hold two events.
        assert (ranges[1:, 0] - ranges[:-1, 1]).min() >= config.window


def test_kinds_are_what_the_datasheet_says() -> None:
    config = TelemetryConfig(clients=6, samples=20_000, anomaly_rate=0.2)
    inside: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    spread: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for index, series in enumerate(simulate_telemetry(config)):
        normal = normal_series(config, index)
        low, high = normal.min(axis=0) - 0.15, normal.max(axis=0) + 0.15
        for first, end in anomaly_ranges(series.anomaly):
            kind = str(series.kind[first])
            values = series.values[first:end]
            inside[kind].append(bool(((low <= values) & (values <= high)).all()))
            channel = (values != normal[first:end]).any(axis=0).argmax()
            spread[kind].append(values[:, channel].std() / normal[:, channel].std())
    assert not any(inside["point"])
    for kind in ("contextual", "collective", "stuck"):
        assert np.mean(inside[kind]) > 0.99
    assert np.mean(spread["stuck"]) < 0.3 < 0.6 < np.mean(spread["collective"])


def test_windows_are_slices_and_labelled_by_their_events() -> None:
    config = TelemetryConfig(**SMALL, window=16, stride=5)
    table = telemetry_table(**SMALL, window=16, stride=5)
    assert table.kind is not None and table.key is not None and table.split is not None
    at = 0
    for series in simulate_telemetry(config):
        for part, (begin, end) in zip(("train", "calibration", "test"), config.parts, strict=True):
            for first in range(begin, end - 15, 5):
                where = slice(first, first + 16)
                np.testing.assert_array_equal(table.x[at], series.values[where].astype(np.float32))
                odd = set(series.kind[where]) - {"normal"}
                assert {str(table.kind[at])} == (odd or {"normal"})
                assert (table.key[at], table.split[at]) == (series.device, part)
                at += 1
    assert at == len(table.x)


@pytest.mark.parametrize("rate", [0.02, 0.06, 0.2])
def test_anomaly_rate_is_met_in_the_test(rate: float) -> None:
    table = telemetry_table(clients=20, anomaly_rate=rate)
    assert table.split is not None
    assert table.y[table.split == "test"].mean() == pytest.approx(rate, rel=0.15)


def test_contamination_and_mix() -> None:
    clean = telemetry_table(**SMALL, contamination=0.0)
    assert clean.split is not None and not clean.y[clean.split != "test"].any()
    dirty = fl.load("telemetry", **SMALL, contamination=0.05)
    assert dirty.pooled().x_train.shape[0] > fl.load("telemetry", **SMALL).pooled().x_train.shape[0]
    for kind in KINDS:
        only = telemetry_table(**SMALL, mix={kind: 3.0})
        assert only.kind is not None and set(only.kind) == {"normal", kind}
    both = telemetry_table(clients=12, mix={"point": 1, "stuck": 1})
    assert both.kind is not None and set(both.kind) == {"normal", "point", "stuck"}


def test_distances_between_devices_grow_with_shift() -> None:
    def spread(shift: float) -> float:
        config = TelemetryConfig(clients=12, shift=shift)
        means = np.array([normal_series(config, k).mean(axis=0) for k in range(12)])
        return float(np.linalg.norm(means - means.mean(axis=0), axis=1).mean())

    far = [spread(s) for s in (0.0, 0.5, 1.0)]
    assert far[0] < far[1] < far[2] and far[2] > 4 * far[0]
    device = device_profile(TelemetryConfig(shift=0.0), 3)
    assert np.allclose(device.programs, 1 / 6) and device.level == device.tempo == 1
    assert np.count_nonzero(device_profile(TelemetryConfig(shift=1.0), 3).programs > 1e-9) == 2


def test_the_fan_follows_the_others() -> None:
    config = TelemetryConfig(noise=0.0)
    load, temperature, fan = normal_series(config, 0).T
    wanted = 0.3 + np.tanh(1.5 * temperature) * (0.6 + 0.4 * load)
    np.testing.assert_allclose(fan, wanted, atol=1e-12)
    lag = device_profile(config, 0).lag
    heat = device_profile(config, 0).heat
    np.testing.assert_allclose(
        temperature[1:] - temperature[:-1],
        (heat * load[1:] - temperature[:-1]) / lag,
        atol=1e-9,
    )


def test_it_loads_as_a_federation_of_windows() -> None:
    federation = fl.load("telemetry", clients=4, samples=1200, seed=3, unseen=True)
    assert len(federation) == 3 and federation.unseen is not None
    rows = federation.pooled().x_train
    assert rows.shape[1:] == (24, 3)
    np.testing.assert_allclose(rows.mean(axis=(0, 1)), 0, atol=1e-5)
    assert make_federation(telemetry_table(**SMALL, calibration_share=0.0)).names[0] == "device 1"


@pytest.mark.parametrize(
    ("dial", "value"),
    [
        ("clients", 0), ("samples", 100), ("samples", 200.5), ("window", 4), ("stride", 0),
        ("shift", -0.1), ("shift", float("nan")), ("shift", "much"), ("noise", 1.0),
        ("anomaly_rate", 0.0), ("contamination", 0.5), ("train_share", 0.9), ("seed", -1),
        ("mix", {"theft": 1}), ("mix", {"point": 0}), ("mix", {"point": -1}), ("mix", {}),
    ],
)  # fmt: skip
def test_errors_name_the_dial(dial: str, value: object) -> None:
    with pytest.raises(DataError, match=rf"telemetry: {dial}"):
        TelemetryConfig(**{dial: value})  # type: ignore[arg-type]


def test_other_errors() -> None:
    with pytest.raises(DataError, match="less than two windows of 100"):
        TelemetryConfig(samples=1000, window=100)
    with pytest.raises(DataError, match=r"unknown options \['devices'\].*clients"):
        telemetry_table(devices=3)


def test_the_datasheet_can_be_measured() -> None:
    text = datasheet.measure(seeds=(0,), rounds=1, clients=3)
    assert sum(line.startswith("| ") for line in text.splitlines()) == 6
