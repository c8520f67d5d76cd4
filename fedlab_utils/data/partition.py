"""Ways to divide a data set among clients. Taught in chapters 02 and 09.

A partition is called with the rows and returns one index array per client. Every row goes to
exactly one client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fedlab_utils.data.table import Table
from fedlab_utils.errors import DataError


class Partition(Protocol):
    """Divides a table among named clients."""

    def __call__(self, table: Table, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return {client name: row indices}; each row once."""
        ...


def _check_clients(clients: int, rows: int) -> None:
    if clients < 1:
        raise DataError(f"clients={clients}: a federation needs at least one client.")
    if clients > rows:
        raise DataError(f"clients={clients}, but there are only {rows} rows to divide.")


def _check_positive(alpha: float) -> None:
    if not (np.isfinite(alpha) and alpha > 0):
        raise DataError(f"alpha={alpha}: must be a positive number (small = clients differ more).")


def _named(parts: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"client {i}": np.sort(part) for i, part in enumerate(parts, start=1)}


@dataclass(frozen=True)
class IID:
    """Rows dealt out at random: every client sees the same distribution."""

    clients: int = 10

    def __call__(self, table: Table, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return {client name: row indices}."""
        _check_clients(self.clients, len(table.x))
        return _named(np.array_split(rng.permutation(len(table.x)), self.clients))


@dataclass(frozen=True)
class Quantity:
    """Clients alike in kind but not in size: sizes are drawn from Dirichlet(alpha).

    Small alpha gives a few large clients and many small ones. Each client gets at least
    `min_rows` rows.
    """

    clients: int = 10
    alpha: float = 0.5
    min_rows: int = 20

    def __call__(self, table: Table, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return {client name: row indices}."""
        rows = len(table.x)
        _check_clients(self.clients, rows)
        _check_positive(self.alpha)
        spare = rows - self.clients * self.min_rows
        if spare < 0:
            raise DataError(
                f"{rows} rows cannot give {self.clients} clients min_rows={self.min_rows} each."
            )
        share = rng.dirichlet(np.full(self.clients, self.alpha))
        cuts = np.floor(np.cumsum(share)[:-1] * spare).astype(int)
        cuts += self.min_rows * np.arange(1, self.clients)
        return _named(np.split(rng.permutation(rows), cuts))


@dataclass(frozen=True)
class Dirichlet:
    """Clients that differ in kind: each cluster of rows is divided by a Dirichlet(alpha) draw.

    Anomaly detection has no class labels to skew, so the rows are first clustered (k-means on
    standardised rows); alpha -> infinity is IID, alpha = 0.1 gives clients that know few
    clusters. Draws are repeated until each client has at least `min_rows` rows.
    Source of the scheme for labels: Hsu, Qi and Brown 2019, arXiv:1909.06335.
    """

    clients: int = 10
    alpha: float = 0.3
    clusters: int = 10
    min_rows: int = 20

    def __call__(self, table: Table, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return {client name: row indices}."""
        rows = len(table.x)
        _check_clients(self.clients, rows)
        _check_positive(self.alpha)
        if self.clients * self.min_rows > rows:
            raise DataError(
                f"{rows} rows cannot give {self.clients} clients min_rows={self.min_rows} each."
            )
        cluster = self.assign(table, seed=int(rng.integers(2**31)))
        members = [rng.permutation(np.flatnonzero(cluster == c)) for c in range(self.clusters)]
        for _ in range(1000):
            shares = rng.dirichlet(np.full(self.clients, self.alpha), size=self.clusters)
            cuts = [
                np.floor(np.cumsum(share)[:-1] * len(rows_of)).astype(int)
                for share, rows_of in zip(shares, members, strict=True)
            ]
            pieces = [np.split(rows_of, cut) for rows_of, cut in zip(members, cuts, strict=True)]
            parts = [np.concatenate([piece[k] for piece in pieces]) for k in range(self.clients)]
            if min(map(len, parts)) >= self.min_rows:
                return _named(parts)
        raise DataError(
            f"Dirichlet(alpha={self.alpha}) left a client with fewer than {self.min_rows} rows in "
            f"1,000 draws. Use a larger alpha, fewer clients or a smaller min_rows."
        )

    def assign(self, table: Table, seed: int) -> np.ndarray:
        """[n] int: the cluster of each row. Clusters are formed on the normal rows."""
        from sklearn.cluster import KMeans

        from fedlab_utils.data.standardise import federated_scaler

        normal = table.x[~table.y].reshape(int((~table.y).sum()), -1)
        if self.clusters < 1 or self.clusters > len(normal):
            raise DataError(
                f"clusters={self.clusters}: must lie between 1 and the {len(normal)} normal rows."
            )
        scaler = federated_scaler([normal])
        model = KMeans(self.clusters, n_init=1, random_state=seed).fit(scaler.apply(normal))
        return model.predict(scaler.apply(table.x.reshape(len(table.x), -1)))


@dataclass(frozen=True)
class ByKey:
    """One client per value of the table's natural key: a hospital, a bank, a device."""

    def __call__(self, table: Table, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return {key value: row indices}, in the order in which the keys first appear."""
        if table.key is None:
            raise DataError(
                f"table {table.name!r} has no client key; use IID, Dirichlet or Quantity instead."
            )
        values, first = np.unique(table.key, return_index=True)
        return {
            str(value): np.flatnonzero(table.key == value) for value in values[np.argsort(first)]
        }
