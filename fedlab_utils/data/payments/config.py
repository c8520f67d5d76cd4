"""The dials of the payments generator and the constants of its world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from fedlab_utils.errors import DataError

DAY = 86_400  # seconds
WARMUP_DAYS = (
    60  # history before day 0: it fills the rolling windows and is never a row of the table
)

KINDS = ("point", "structural", "collective", "takeover", "regular")
DEFAULT_MIX: Mapping[str, float] = MappingProxyType(
    {"point": 0.20, "structural": 0.40, "collective": 0.25, "takeover": 0.10, "regular": 0.05}
)


@dataclass(frozen=True)
class PaymentsConfig:
    """All dials of the payments generator.

    Attributes:
        clients: number of banks.
        customers: mean customers per bank.
        payments_per_day: mean payments of one customer per day.
        days: length of the table; 60 days of history come before.
        shift: 0 = banks are exchangeable; 1 = each has its own size, prices, hours, distances
            and customer segments.
        anomaly_rate: share of anomalies among the test rows.
        mix: weight of each anomaly type; a missing type weighs 0.
        contamination: share of anomalies among the training and calibration rows (None: the same
            as anomaly_rate); `make_federation` decides how many of them training sees.
        label_noise: share of frauds never reported, matched by as many false alarms.
        label_delay: mean days from a fraud to its report.
        train_share, calibration_share: shares of the days; the test rows come after.
        seed: every random number follows from it.

    Raises DataError for a value out of range (RANGES). Taught in chapter 01.
    """

    clients: int = 10
    customers: int = 100
    payments_per_day: float = 0.8
    days: int = 90
    shift: float = 0.6
    anomaly_rate: float = 0.015
    mix: Mapping[str, float] = field(default_factory=lambda: DEFAULT_MIX)
    contamination: float | None = None
    label_noise: float = 0.05
    label_delay: float = 7.0
    train_share: float = 0.50
    calibration_share: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("clients", "customers", "days", "seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise DataError(f"payments: {name} must be a whole number, got {value!r}.")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if name == "contamination" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise DataError(f"payments: {name} must be a number, got {value!r}.")
            if not low <= value <= high:  # also refuses NaN
                raise DataError(
                    f"payments: {name} must lie between {low:g} and {high:g}, got {value!r}."
                )
        if self.train_share + self.calibration_share > 0.9:
            raise DataError(
                "payments: train_share + calibration_share must be at most 0.9, so that days are "
                f"left for the test; got {self.train_share!r} + {self.calibration_share!r}."
            )
        self._check_mix()

    def _check_mix(self) -> None:
        if not isinstance(self.mix, Mapping):
            raise DataError(
                f"payments: mix must map anomaly types to weights, such as {dict(DEFAULT_MIX)}; "
                f"got {self.mix!r}."
            )
        unknown = sorted(set(self.mix) - set(KINDS))
        if unknown:
            raise DataError(
                f"payments: mix has unknown anomaly types {unknown}; the types are {list(KINDS)}."
            )
        for kind, weight in self.mix.items():
            number = isinstance(weight, int | float | np.number) and not isinstance(weight, bool)
            if not number or not 0 <= weight < float("inf"):
                raise DataError(
                    f"payments: mix[{kind!r}] must be a finite weight, 0 or more; got {weight!r}."
                )
        if not sum(self.mix.values()) > 0:
            raise DataError("payments: mix needs at least one type with a weight above 0.")

    @property
    def early_rate(self) -> float:
        """Share of anomalies among the training and calibration rows."""
        return self.anomaly_rate if self.contamination is None else self.contamination

    @property
    def boundaries(self) -> tuple[int, int, int]:
        """Seconds from the start at which training, calibration and test rows end."""
        train = round(self.days * self.train_share)  # whole days, so that no day is divided
        calibration = round(self.days * (self.train_share + self.calibration_share))
        return train * DAY, calibration * DAY, self.days * DAY


RANGES: dict[str, tuple[float, float]] = {
    "clients": (1, 100_000),
    "customers": (5, 1_000_000),
    "payments_per_day": (0.05, 20.0),
    "days": (10, 730),
    "shift": (0.0, 1.0),
    "anomaly_rate": (0.001, 0.02),
    "contamination": (0.0, 0.2),
    "label_noise": (0.0, 0.5),
    "label_delay": (0.0, 365.0),
    "train_share": (0.1, 0.8),
    "calibration_share": (0.0, 0.5),
    "seed": (0, 2**63 - 1),
}


# ---- the world: what a payment is for (merchant category) and who makes it (segment) ----
# All numbers are our own choices for teaching, not estimates from any bank's records.

CATEGORIES = (
    "groceries", "transport", "restaurant", "fashion", "fuel", "electronics", "travel",
    "subscription", "health",
)  # fmt: skip
#                               groc  tran  rest  fash  fuel  elec  trav  subs  heal
LOG_AMOUNT = np.array([3.4, 1.3, 2.8, 4.3, 3.9, 5.1, 5.6, 2.2, 3.6])  # log currency units
LOG_DISTANCE = np.array([0.2, 1.4, 0.9, 2.3, 1.8, 2.7, 3.8, 0.0, 0.9])  # log km from home
PEAK_HOUR = np.array([17.0, 8.0, 19.5, 14.5, 7.0, 16.0, 11.0, 21.5, 10.0])
HOUR_SD = np.array([0.9, 0.5, 0.7, 0.8, 0.7, 0.8, 0.9, 0.8, 0.7])
ONLINE = np.array([0.03, 0.0, 0.03, 0.1, 0.0, 0.1, 0.1, 1.0, 0.0])  # share paid from home
WEEKEND = np.array([1.3, 0.4, 1.6, 1.7, 0.8, 1.4, 1.2, 1.0, 0.3])  # weekend / weekday preference

SEGMENTS = ("student", "family", "commuter", "retiree", "business")
SEGMENT_SHARE = np.array([0.2, 0.25, 0.25, 0.15, 0.15])  # market-wide mix
SEGMENT_LOG_AMOUNT = np.array([-0.6, 0.2, 0.0, -0.2, 0.8])
SEGMENT_LOG_RATE = np.array([0.1, 0.2, 0.1, -0.5, 0.0])
SEGMENT_LOG_DISTANCE = np.array([-0.4, 0.1, 0.5, -0.6, 0.7])
SEGMENT_WEEKEND = np.array([1.2, 1.3, 0.7, 0.9, 0.5])  # weekend / weekday rate
SEGMENT_PREFERENCE = np.array(
    [
        [0.22, 0.20, 0.24, 0.10, 0.02, 0.04, 0.03, 0.13, 0.02],
        [0.34, 0.05, 0.08, 0.12, 0.14, 0.05, 0.03, 0.09, 0.10],
        [0.20, 0.24, 0.12, 0.07, 0.18, 0.04, 0.03, 0.09, 0.03],
        [0.40, 0.05, 0.08, 0.07, 0.06, 0.02, 0.04, 0.04, 0.24],
        [0.10, 0.15, 0.25, 0.06, 0.10, 0.06, 0.18, 0.07, 0.03],
    ]
)
SEGMENT_HOUR = np.array(  # hours by which a segment is later than the category's usual hour
    [
        [2.0, 2.0, 1.5, 2.0, 3.0, 1.0, 2.0, 1.5, 3.0],
        [-0.5, 0.5, -1.5, -1.0, 2.0, 0.5, -1.0, -0.5, 0.0],
        [1.5, -0.5, 0.0, 3.5, 0.0, 3.0, -3.0, 0.0, -2.0],
        [-6.5, 3.0, -7.0, -3.0, 3.5, -5.0, -1.0, -3.0, 0.5],
        [2.0, 0.0, 0.5, 4.0, 11.0, -3.0, -4.0, 1.0, -1.5],
    ]
)
# One latent "size of the occasion" per payment moves amount, distance and hour together; the
# signs differ between segments, so the modes have different dependences, not only means.
SEGMENT_LOADING = np.array(  # columns: log amount, log distance, hours
    [[0.3, 0.3, 0.5], [0.3, 0.4, -0.4], [0.3, -0.3, 0.4], [0.3, -0.3, -0.4], [0.4, 0.3, 0.3]]
)
