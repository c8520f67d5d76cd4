"""Clients that disagree about what is normal. Taught in chapter 09."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedlab_utils.data.bundled import digits
from fedlab_utils.data.table import Table
from fedlab_utils.errors import DataError


def opposed_digits(
    groups: Sequence[Sequence[int]] = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9)),
    *,
    clients: int = 11,
    strays: float = 0.1,
    seed: int = 0,
) -> Table:
    """Digits of which each client has one group as normal rows and finds the others odd.

    Client i belongs to group i % len(groups). A share `strays` of each group's images goes to
    clients of other groups, where they are the anomalies; the rest is dealt out at random among
    the group's own clients. So the relation of x and y differs between clients ("concept shift"),
    and no single model can be right everywhere.

    Returns the table [1797, 64] with key = client. Raises DataError if the groups overlap, a
    group has no client, or `strays` is not between 0 and 1. Taught in chapter 09.
    """
    flat = [digit for group in groups for digit in group]
    if len(groups) < 2 or len(set(flat)) < len(flat) or not set(flat) <= set(range(10)):
        raise DataError(f"opposed_digits: groups={groups} must be two or more disjoint groups.")
    if clients < len(groups):
        raise DataError(f"opposed_digits: clients={clients} cannot fill {len(groups)} groups.")
    if not 0 < strays < 1:
        raise DataError(f"opposed_digits: strays={strays} must lie between 0 and 1.")
    rng = np.random.default_rng([seed, 0x0DD])
    whole = digits(anomaly=flat[0], normal=flat[1:])
    kind, x = _labels(flat), whole.x
    home = np.array([next(g for g, group in enumerate(groups) if d in group) for d in kind])
    stray = rng.random(len(x)) < strays
    other = (home + rng.integers(1, len(groups), len(x))) % len(groups)
    group = np.where(stray, other, home)
    client = np.empty(len(x), dtype=np.int64)
    for g in range(len(groups)):
        rows, members = rng.permutation(np.flatnonzero(group == g)), np.arange(clients)
        members = members[members % len(groups) == g]
        client[rows] = members[np.arange(len(rows)) % len(members)]
    order = np.argsort(client, kind="stable")
    names = np.array([f"client {i}" for i in range(1, clients + 1)])
    return Table(
        name="opposed digits",
        x=x[order],
        y=stray[order],
        features=whole.features,
        key=names[client[order]],
        kind=np.where(stray, np.char.add("digit ", kind.astype(str)), "normal")[order],
    )


def _labels(wanted: Sequence[int]) -> np.ndarray:
    from sklearn.datasets import load_digits

    target = load_digits().target
    return target[np.isin(target, wanted)]
