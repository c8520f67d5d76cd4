"""The settings in which methods are compared: data, model, budget. Taught in chapter 09."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from fedlab_utils.data.federation import Federation
from fedlab_utils.data.opposed import opposed_digits
from fedlab_utils.data.partition import Dirichlet, Partition, Quantity
from fedlab_utils.data.payments.currencies import in_currencies
from fedlab_utils.data.registry import load
from fedlab_utils.data.table import make_federation
from fedlab_utils.federate.solvers import SGD
from fedlab_utils.models.dense import dense_autoencoder


@dataclass(frozen=True)
class Budget:
    """Model and work.

    Attributes:
        local: the clients' steps in a round; methods tune the step size around this one.
        passes: passes over its rows that each client may take.
        shape: `hidden` and `code` of the autoencoder; its default if empty.
    """

    local: SGD
    passes: int
    shape: Mapping[str, int] = field(default_factory=dict)

    def start(self, features: int, seed: int) -> nn.Module:
        """An untrained autoencoder."""
        shape: Any = self.shape
        return dense_autoencoder(features, **shape, seed=seed)


@dataclass(frozen=True)
class Setting:
    """One federation, as many versions of it as there are seeds, and the budget.

    Attributes:
        name: as the tables call it.
        differs: what differs between the clients.
        make: the standardised federation of a seed, one client of it unseen.
        budget: the same for all methods.
    """

    name: str
    differs: str
    make: Callable[[int], Federation]
    budget: Budget


def _payments(seed: int, **dials: Any) -> Federation:
    return load("payments", clients=10, customers=40, unseen=True, seed=seed, **dials)


def _digits(seed: int, partition: Partition) -> Federation:
    return load("digits", anomaly=4, partition=partition, unseen=True, seed=seed)


def _currencies(seed: int) -> Federation:
    return in_currencies(_payments(seed, shift=0.6, scaler=None)).standardised()


def _opposed(seed: int) -> Federation:
    return make_federation(opposed_digits(seed=seed), unseen=True, seed=seed).standardised()


def _shuttle(seed: int) -> Federation:
    return load("shuttle", partition=Dirichlet(11, alpha=0.1), unseen=True, seed=seed)


_BANKS = Budget(SGD(0.3, 2, 64, 0.9), 24, {"hidden": 46, "code": 8})
_IMAGES = Budget(SGD(0.3, 2, 16, 0.9), 40, {"hidden": 32, "code": 8})
ALL = (
    Setting(
        "hospitals",
        "everything: places, patients, devices; sizes from 4 to 91 rows",
        lambda seed: load("heart", unseen=True, seed=seed),
        Budget(SGD(0.05, 2, 16, 0.9), 30),
    ),
    Setting(
        "banks",
        "sizes, prices, hours, customers (shift = 0.6)",
        lambda seed: _payments(seed, shift=0.6),
        _BANKS,
    ),
    Setting(
        "banks apart",
        "the same, as far as the dial goes (shift = 1)",
        lambda seed: _payments(seed, shift=1.0),
        _BANKS,
    ),
    Setting(
        "banks, currencies",
        "as banks, and each counts its money in one of five currencies",
        _currencies,
        _BANKS,
    ),
    Setting(
        "digits, Dirichlet",
        "which digits a client knows (alpha = 0.2); the 4 is the anomaly",
        lambda seed: _digits(seed, Dirichlet(11, alpha=0.2)),
        _IMAGES,
    ),
    Setting(
        "digits, quantity",
        "the number of images only (alpha = 0.3); the 4 is the anomaly",
        lambda seed: _digits(seed, Quantity(11, alpha=0.3)),
        _IMAGES,
    ),
    Setting(
        "digits, opposed",
        "what is normal: digits 0-4 here, 5-9 there; the others' digits are the anomalies",
        _opposed,
        _IMAGES,
    ),
    Setting(
        "shuttle, Dirichlet",
        "which modes of flight a client knows (alpha = 0.1)",
        _shuttle,
        Budget(SGD(0.1, 2, 64, 0.9), 10),
    ),
)
SETTINGS = {setting.name: setting for setting in ALL}
