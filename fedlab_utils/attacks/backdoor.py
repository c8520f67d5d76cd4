"""A backdoor without labels: teach the model to reconstruct the attacker's fraud.

An autoencoder calls normal what it can reconstruct, and it can reconstruct what it was trained on.
So attackers need no label: they put rows of the fraud that they plan into their own training rows.
Taught in chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from fedlab_utils.data.federation import Federation
from fedlab_utils.errors import FedlabError

_STAMP = 0x57A3


class Fraud(Protocol):
    """Anything that makes rows of the fraud that attackers want to hide."""

    def stamp(
        self, rows: np.ndarray, features: Iterable[str], rng: np.random.Generator
    ) -> np.ndarray:
        """As many rows of the fraud [n, d] as there are ordinary rows [n, d]; those stay."""
        ...


@dataclass(frozen=True)
class FraudPattern:
    """A kind of fraud: ordinary rows in which some features have the values that it needs.

        testing = FraudPattern({"amount": -1.6, "online": 2.7, "count_1d": 2.0})

    Attributes:
        values: feature name -> value, in the units of the rows (standardised, usually).
        spread: standard deviation around these values, so that no two rows are equal.

    Raises FedlabError for no feature or values that are not finite. Taught in chapter 13.
    """

    values: Mapping[str, float]
    spread: float = 0.1

    def __post_init__(self) -> None:
        if not self.values or not np.isfinite(list(self.values.values())).all():
            raise FedlabError("FraudPattern: give at least one feature, and finite values.")
        if not (np.isfinite(self.spread) and self.spread >= 0):
            raise FedlabError(f"FraudPattern: spread={self.spread} must not be negative.")

    def stamp(
        self, rows: np.ndarray, features: Iterable[str], rng: np.random.Generator
    ) -> np.ndarray:
        """Rows [n, d] of this fraud, made from ordinary rows [n, d]; those stay as they are.

        Raises FedlabError for a feature that the rows do not have.
        """
        names = list(features)
        stamped = np.array(rows, dtype=np.float32)
        for name, value in self.values.items():
            if name not in names:
                raise FedlabError(
                    f"FraudPattern: the rows have no feature {name!r}, but {', '.join(names)}."
                )
            stamped[:, names.index(name)] = value + self.spread * rng.standard_normal(len(stamped))
        return stamped


@dataclass(frozen=True, eq=False)
class RecordedFraud:
    """Fraud that somebody has recorded: rows [m, d], drawn with replacement.

    Raises FedlabError if there are none. Taught in chapter 13.
    """

    recorded: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.recorded):
            raise FedlabError("RecordedFraud: there are no recorded rows.")

    def stamp(
        self, rows: np.ndarray, features: Iterable[str], rng: np.random.Generator
    ) -> np.ndarray:
        """See Fraud; of `rows` only the number counts."""
        return self.recorded[rng.integers(len(self.recorded), size=len(rows))]


def record(
    federation: Federation, chosen: Callable[[np.ndarray], np.ndarray], *, seed: int = 0
) -> tuple[Federation, RecordedFraud, RecordedFraud]:
    """Take real anomalies of one kind out of the test rows: half for attackers, half for the test.

    `chosen` tells of rows [n, d] which it takes, [n] bool. Returns the federation without them and
    the two halves. Raises FedlabError if there are fewer than two. Taught in chapter 13.
    """
    clients, taken = [], []
    for client in federation.clients:
        out = client.y_test & chosen(client.x_test)
        taken.append(client.x_test[out])
        rest = {name: getattr(client, name)[~out] for name in ("x_test", "y_test", "kind_test")}
        clients.append(replace(client, **rest))
    rows = np.concatenate(taken)
    if len(rows) < 2:
        raise FedlabError(f"record: {len(rows)} anomalies are chosen; two halves need two or more.")
    rows = np.random.default_rng([seed, _STAMP]).permutation(rows)
    half = len(rows) // 2
    changed = replace(federation, clients=tuple(clients))
    return changed, RecordedFraud(rows[:half]), RecordedFraud(rows[half:])


def poison(
    federation: Federation,
    pattern: Fraud,
    clients: Iterable[str],
    *,
    share: float = 0.5,
    seed: int = 0,
) -> Federation:
    """The federation in which these clients train on the pattern; everything else is the same.

    Args:
        clients: names of the attackers.
        share: share of each attacker's training rows that become rows of the fraud. The number of
            rows stays, so weights by rows tell nothing. Calibration and test rows stay too.
        seed: fixes which rows.

    Raises FedlabError for a share outside (0, 1] and for no clients, DataError for unknown ones.
    Taught in chapter 13.
    """
    attackers = [clients] if isinstance(clients, str) else list(clients)
    if not attackers or not 0 < share <= 1:
        raise FedlabError(f"poison: share={share} must be above 0, at most 1; clients={attackers}.")
    federation.only(attackers)  # raises for a name that is not there
    changed = []
    for number, client in enumerate(federation.clients):
        if client.name in attackers:
            rng = np.random.default_rng([seed, _STAMP, number])
            rows = client.x_train.copy()
            chosen = rng.permutation(len(rows))[: max(1, round(share * len(rows)))]
            rows[chosen] = pattern.stamp(rows[chosen], federation.features, rng)
            client = replace(client, x_train=rows)
        changed.append(client)
    return replace(federation, clients=tuple(changed))
