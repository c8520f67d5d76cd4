"""The dials of the telemetry generator and the constants of its world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from fedlab_utils.errors import DataError

CHANNELS = ("load", "temperature", "fan")
KINDS = ("point", "contextual", "collective", "stuck")
DEFAULT_MIX: Mapping[str, float] = MappingProxyType(
    {"point": 0.25, "contextual": 0.30, "collective": 0.30, "stuck": 0.15}
)
# Samples that an event lasts: from, to (exclusive).
LENGTH = {"point": (1, 3), "contextual": (3, 6), "collective": (10, 18), "stuck": (10, 18)}


@dataclass(frozen=True)
class TelemetryConfig:
    """All dials of the telemetry generator.

    Attributes:
        clients: number of devices.
        samples: length of each device's series, one sample a minute.
        window: samples in a window, T.
        stride: samples from one window to the next.
        shift: 0 = devices are exchangeable; 1 = each runs mostly two of the six programs, with a
            level, a tempo and a heat of its own.
        noise: standard deviation of the sensors' noise (the signals span about 1).
        anomaly_rate: share of the test windows that an event touches.
        mix: weight of each anomaly type in the number of events; a missing type weighs 0.
        contamination: the same share in the training and calibration windows (None: as
            anomaly_rate); `make_federation` decides how many of them training sees.
        train_share, calibration_share: shares of the samples; the test comes after.
        seed: every random number follows from it.

    Raises DataError for a value out of range (RANGES). Taught in chapter 11.
    """

    clients: int = 12
    samples: int = 4000
    window: int = 24
    stride: int = 8
    shift: float = 0.6
    noise: float = 0.03
    anomaly_rate: float = 0.06
    mix: Mapping[str, float] = field(default_factory=lambda: DEFAULT_MIX)
    contamination: float | None = None
    train_share: float = 0.40
    calibration_share: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("clients", "samples", "window", "stride", "seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise DataError(f"telemetry: {name} must be a whole number, got {value!r}.")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if name == "contamination" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise DataError(f"telemetry: {name} must be a number, got {value!r}.")
            if not low <= value <= high:  # also refuses NaN
                raise DataError(
                    f"telemetry: {name} must lie between {low:g} and {high:g}, got {value!r}."
                )
        self._check_mix()
        shortest = min(b - a for a, b in self.parts if b > a)
        if shortest < 2 * self.window:
            raise DataError(
                f"telemetry: samples={self.samples} leave a part of {shortest} samples, which is "
                f"less than two windows of {self.window}. Use more samples or a shorter window."
            )

    def _check_mix(self) -> None:
        unknown = sorted(set(self.mix) - set(KINDS))
        if unknown:
            raise DataError(
                f"telemetry: mix has unknown anomaly types {unknown}; they are {list(KINDS)}."
            )
        weights = np.array(list(self.mix.values()), dtype=float)
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            raise DataError(
                f"telemetry: mix must hold weights of 0 or more, not all 0; got {dict(self.mix)}."
            )

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """First and one-past-last sample of training, calibration and test."""
        train = round(self.samples * self.train_share)
        calibration = round(self.samples * (self.train_share + self.calibration_share))
        return (0, train), (train, calibration), (calibration, self.samples)


RANGES: dict[str, tuple[float, float]] = {
    "clients": (1, 100_000),
    "samples": (200, 1_000_000),
    "window": (8, 256),
    "stride": (1, 256),
    "shift": (0.0, 1.0),
    "noise": (0.0, 0.5),
    "anomaly_rate": (0.005, 0.3),
    "contamination": (0.0, 0.3),
    "train_share": (0.1, 0.8),
    "calibration_share": (0.0, 0.4),
    "seed": (0, 2**63 - 1),
}
