"""Clients that know few groups of rows: two or three digits each. Taught in chapter 11."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedlab_utils.data.table import Table
from fedlab_utils.errors import DataError


@dataclass(frozen=True)
class FewGroups:
    """Each client holds the normal rows of `each` groups; anomalies are dealt out to all.

    A client's groups are neighbours in a random circle, and the clients are spread evenly around
    it, so groups are shared as evenly as possible. A group's rows are divided equally among the
    clients that hold it. Groups are the table's `group` column, for digits the digit. Source of
    the scheme: McMahan et al. 2017, arXiv:1602.05629, who gave two digits to each client.
    Taught in chapter 11.

    Attributes:
        clients: number of clients.
        each: groups per client.
    """

    clients: int = 9
    each: int = 3

    def __call__(self, table: Table, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return {client name: row indices}; each row once.

        Raises DataError if the table names no groups, or there are too few clients or groups.
        """
        if table.group is None:
            raise DataError(
                f"table {table.name!r} does not say which group a row belongs to; use Dirichlet, "
                f"which finds groups by clustering."
            )
        names = rng.permutation(np.unique(table.group[~table.y]))
        if not 1 <= self.each <= len(names):
            raise DataError(f"each={self.each}: must lie between 1 and the {len(names)} groups.")
        if self.clients * self.each < len(names):
            raise DataError(
                f"{self.clients} clients with {self.each} groups each leave some of the "
                f"{len(names)} groups to nobody. Use more clients or more groups each."
            )
        # Neighbours in a circle, the clients' starts spread evenly over it: no group is left out.
        start = np.arange(self.clients) * len(names) // self.clients
        owned = (start[:, None] + np.arange(self.each)) % len(names)
        parts: list[list[np.ndarray]] = [[] for _ in range(self.clients)]
        for g, name in enumerate(names):
            rows = rng.permutation(np.flatnonzero(~table.y & (table.group == name)))
            owners = np.flatnonzero((owned == g).any(axis=1))
            for owner, piece in zip(owners, np.array_split(rows, len(owners)), strict=True):
                parts[owner].append(piece)
        anomalies = np.array_split(rng.permutation(np.flatnonzero(table.y)), self.clients)
        merged = [np.concatenate([*own, a]) for own, a in zip(parts, anomalies, strict=True)]
        return {f"client {k}": np.sort(rows) for k, rows in enumerate(merged, start=1)}
