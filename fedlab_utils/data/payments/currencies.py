"""Payments in different currencies: the same behaviour, on another scale at each bank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fedlab_utils.data.federation import Client, Federation
from fedlab_utils.data.payments.features import FEATURES
from fedlab_utils.errors import DataError

# Round numbers near the units per euro of the euro, krone, koruna, yen and rupiah.
RATES = (1.0, 7.5, 25.0, 160.0, 18_000.0)
MONEY = tuple(
    i for i, name in enumerate(FEATURES)
    if name in ("amount", "category_amount") or name.startswith(("sum_", "mean_"))
)  # fmt: skip


def in_currencies(federation: Federation, rates: Sequence[float] = RATES) -> Federation:
    """The payments of a raw federation (`load(..., scaler=None)`), each bank in a currency.

    Bank i counts in units of which there are `rates[i % len(rates)]` to the unit of before, the
    unseen bank last. Features that hold money are log(1 + money), so each of them is moved by
    nearly a constant; ratios, times and distances stay. Standardise the result. Raises DataError
    for other data or rates that are not positive. Taught in chapter 09.
    """
    if federation.features != FEATURES:
        raise DataError("in_currencies: these are not the features of the payments.")
    if not rates or not all(np.isfinite(r) and r > 0 for r in rates):
        raise DataError(f"in_currencies: rates={tuple(rates)} must be positive numbers.")
    everyone = [
        _converted(client, rates[i % len(rates)]) for i, client in enumerate(federation.everyone)
    ]
    unseen = None if federation.unseen is None else everyone.pop()
    return replace(
        federation, name="payments in currencies", clients=tuple(everyone), unseen=unseen
    )


def _converted(client: Client, rate: float) -> Client:
    def convert(x: np.ndarray) -> np.ndarray:
        out = x.astype(np.float64)
        out[:, MONEY] = np.log1p(rate * np.expm1(out[:, MONEY]))
        return out.astype(np.float32)

    return replace(
        client,
        x_train=convert(client.x_train),
        x_calibration=convert(client.x_calibration),
        x_test=convert(client.x_test),
    )
