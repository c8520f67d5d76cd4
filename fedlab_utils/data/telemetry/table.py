"""From the dials to series and to the windows the course loads. Taught in chapter 11."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fedlab_utils.data.bundled import sliding_windows
from fedlab_utils.data.table import PARTS, Table
from fedlab_utils.data.telemetry.anomalies import add_anomalies
from fedlab_utils.data.telemetry.config import CHANNELS, KINDS, TelemetryConfig
from fedlab_utils.data.telemetry.simulate import normal_series
from fedlab_utils.errors import DataError

KIND_NAMES = np.array(["normal", *KINDS])


@dataclass(frozen=True)
class Series:
    """One device's series.

    Attributes:
        device: its name.
        values: [n, 3] float64 samples of the CHANNELS.
        kind: [n] str, "normal" or the type of the event at this sample.
    """

    device: str
    values: np.ndarray
    kind: np.ndarray

    @property
    def anomaly(self) -> np.ndarray:
        """[n] bool, True where an event is."""
        return self.kind != "normal"


def simulate_telemetry(config: TelemetryConfig) -> list[Series]:
    """The series of all devices with their events. Device k is the same whatever their number.

    Raises DataError (from TelemetryConfig). Taught in chapter 11.
    """
    result = []
    for index in range(config.clients):
        values, code = add_anomalies(normal_series(config, index), config, index)
        result.append(Series(f"device {index + 1}", values, KIND_NAMES[code]))
    return result


def telemetry_table(**dials: Any) -> Table:
    """Windows of all devices as a Table: key = device, split by time, kind = anomaly type.

    Args:
        dials: the fields of TelemetryConfig, such as clients, shift, seed.

    Returns x [n, window, 3] float32. A window is an anomaly if it holds at least one sample of an
    event; its kind is the event's. No window crosses from one part to the next. Raises DataError
    for an unknown dial or one out of range. Taught in chapter 11.
    """
    unknown = sorted(set(dials) - set(TelemetryConfig.__dataclass_fields__))
    if unknown:
        raise DataError(
            f"telemetry: unknown options {unknown}; there are "
            f"{list(TelemetryConfig.__dataclass_fields__)}."
        )
    config = TelemetryConfig(**dials)
    x, kind, key, split = [], [], [], []
    for series in simulate_telemetry(config):
        for part, (begin, end) in zip(PARTS, config.parts, strict=True):
            if end == begin:
                continue
            windows = sliding_windows(np.arange(begin, end), config.window, config.stride)
            x.append(series.values[windows])
            # Events are a window apart, so a window holds no second one.
            first_odd = series.anomaly[windows].argmax(axis=1)
            kind.append(series.kind[windows[np.arange(len(windows)), first_odd]])
            key += [series.device] * len(windows)
            split += [part] * len(windows)
    names = np.concatenate(kind)
    return Table(
        name="telemetry",
        x=np.concatenate(x).astype(np.float32),
        y=names != "normal",
        features=CHANNELS,
        key=np.array(key),
        kind=names,
        split=np.array(split),
    )
