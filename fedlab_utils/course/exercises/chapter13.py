"""Exercises of chapter 13: attacks on aggregation and robust aggregation."""

from typing import Any

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise


def boost(rows: np.ndarray, attackers: np.ndarray) -> float:
    """Return the factor that makes the weighted mean equal to the attackers' update."""
    return float(np.sum(rows) / np.sum(np.asarray(rows)[np.asarray(attackers)]))


@exercise(
    "13.1",
    "How much to boost",
    solution=boost,
    wrong=(
        lambda rows, attackers: len(rows) / np.sum(attackers),
        lambda rows, attackers: np.sum(rows) / np.max(np.asarray(rows)[attackers]),
        lambda rows, attackers: np.sum(np.asarray(rows)[attackers]) / np.sum(rows),
        lambda rows, attackers: (
            np.sum(np.asarray(rows)[~np.asarray(attackers)])
            / np.sum(np.asarray(rows)[np.asarray(attackers)])
        ),
    ),
    hints=(
        "If the honest updates are zero, the mean is (attackers' rows / all rows) * boost * u.",
        "rows[attackers] are the attackers' numbers of rows; divide the sum of all by their sum.",
    ),
)
def check_boost(answer: Any) -> None:
    equal = np.array([100.0] * 20)
    four = np.arange(20) < 4
    expect.close(answer(equal, four), 5.0, "4 attackers of 20 banks of equal size")
    rows = np.array([300.0, 100.0, 500.0, 100.0])
    expect.close(answer(rows, np.array([True, False, False, False])), 10 / 3, "300 of 1,000 rows")
    expect.close(answer(rows, np.array([False, True, False, True])), 5.0, "two banks of 100 rows")
    expect.close(answer(rows, np.array([True] * 4)), 1.0, "attackers who are alone")


def trimmed_mean(updates: np.ndarray, f: int) -> np.ndarray:
    """Return [P]: per coordinate the mean without the f smallest and f largest values."""
    updates = np.asarray(updates)
    if len(updates) <= 2 * f:
        raise ValueError(f"{len(updates)} rows are too few for f={f}")
    return np.sort(updates, axis=0)[f : len(updates) - f].mean(axis=0)


def _unchecked(updates: np.ndarray, f: int) -> np.ndarray:
    updates = np.asarray(updates)
    kept = np.sort(updates, axis=0)[f : len(updates) - f]
    return kept.mean(axis=0) if len(kept) else np.median(updates, axis=0)


def _by_norm(updates: np.ndarray, f: int) -> np.ndarray:
    if len(updates) <= 2 * f:
        raise ValueError
    order = np.argsort(np.linalg.norm(updates, axis=1))
    return np.asarray(updates)[order[f : len(order) - f]].mean(axis=0)


def _one_side(updates: np.ndarray, f: int) -> np.ndarray:
    if len(updates) <= 2 * f:
        raise ValueError
    return np.sort(np.asarray(updates), axis=0)[: len(updates) - f].mean(axis=0)


def _minus_f(updates: np.ndarray, f: int) -> np.ndarray:
    if len(updates) <= 2 * f:
        raise ValueError
    kept = np.sort(np.asarray(updates), axis=0)[f:-f]
    return kept.sum(axis=0) / max(len(kept), 1)


@exercise(
    "13.2",
    "A trimmed mean",
    solution=trimmed_mean,
    wrong=(_unchecked, _by_norm, _one_side, _minus_f),
    hints=(
        "np.sort(updates, axis=0) sorts each coordinate by itself; then a slice, then the mean.",
        "With f = 0 nothing is cut, but rows[0:-0] is empty. If nothing is left, raise ValueError.",
    ),
)
def check_trimmed_mean(answer: Any) -> None:
    updates = np.array([[1.0, 0.0], [2.0, 9.0], [3.0, -50.0], [4.0, 3.0], [900.0, 6.0]])
    given = expect.numbers(answer(updates, 1), "the trimmed mean")
    expect.shape(given, (2,), "the trimmed mean of updates [5, 2]")
    expect.close(given, [3.0, 3.0], "five rows, f = 1")
    expect.close(answer(updates, 2), [3.0, 3.0], "five rows, f = 2")
    expect.close(answer(updates, 0), updates.mean(axis=0), "f = 0, the plain mean")
    for rows, f in ((updates, 3), (updates[:4], 2)):
        try:
            answer(rows, f)
        except ValueError:
            continue
        raise expect.Wrong(f"{len(rows)} rows cannot withstand f = {f}: raise a ValueError.")


def krum(distances: np.ndarray, f: int) -> int:
    """Return the number of the row that Krum chooses."""
    near = np.sort(np.asarray(distances), axis=1)[:, 1 : len(distances) - f - 1]
    return int(near.sum(axis=1).argmin())


@exercise(
    "13.3",
    "Krum from distances",
    solution=krum,
    wrong=(
        lambda d, f: int(np.asarray(d).sum(axis=1).argmin()),
        lambda d, f: int(np.sort(d, axis=1)[:, 1 : len(d) - f - 1].sum(axis=1).argmax()),
        lambda d, f: int(np.sort(d, axis=1)[:, 1:3].sum(axis=1).argmin()),
        lambda d, f: int(np.sort(d, axis=1)[:, : len(d) - f - 2].sum(axis=1).argmin()),
        lambda d, f: int(np.sort(d, axis=1)[:, 1 : len(d) - f].sum(axis=1).argmin()),
    ),
    hints=(
        "Sort each line of the table. Its first number is the distance of a row to itself.",
        "After that one count the next K - f - 2, add them up, and take the smallest sum.",
    ),
)
def check_krum(answer: Any) -> None:
    # f = 2 of 9. Every other number of neighbours than 5 gives another row, as do far rows.
    rng = np.random.default_rng(_SEED)
    for f, clients in ((2, 9), (1, 7), (3, 12)):
        for _ in range(40):
            rows = rng.normal(size=(clients, 2)) * rng.choice([1.0, 4.0], size=(clients, 1))
            distances = np.square(rows[:, None] - rows[None]).sum(axis=2)
            given = expect.numbers(answer(distances.copy(), f), "the choice")
            expect.shape(given, (), "the choice")
            what = f"the row chosen among {clients} with f = {f}"
            expect.that(int(given) == krum(distances, f), f"{what} has not the lowest score.")


_SEED = 13


def secure_groups(clients: int, f: int) -> tuple[int, int]:
    """Return (groups, members of the smallest): as few groups as withstand f attackers."""
    groups = 2 * f + 1
    if clients < 2 * groups:
        raise ValueError(f"{clients} clients make no {groups} groups of two")
    return groups, clients // groups


def _any_size(clients: int, f: int) -> tuple[int, int]:
    return 2 * f + 1, clients // (2 * f + 1)


def _even(clients: int, f: int) -> tuple[int, int]:
    if clients < 4 * f:
        raise ValueError
    return 2 * f, clients // max(2 * f, 1)


def _like_krum(clients: int, f: int) -> tuple[int, int]:
    if clients < 2 * (2 * f + 3):
        raise ValueError
    return 2 * f + 3, clients // (2 * f + 3)


def _rounds_up(clients: int, f: int) -> tuple[int, int]:
    groups, _ = secure_groups(clients, f)
    return groups, -(-clients // groups)


@exercise(
    "13.4",
    "Groups against attackers",
    solution=secure_groups,
    wrong=(_any_size, _even, _like_krum, _rounds_up),
    hints=(
        "In the worst case every attacker sits in another group. How many honest groups must a "
        "median have beside f bad ones?",
        "2 f + 1 groups. If the clients do not divide evenly, the smallest group has "
        "clients // groups members; with fewer than two it is no group.",
    ),
)
def check_secure_groups(answer: Any) -> None:
    for clients, f in ((20, 2), (20, 4), (100, 3), (23, 2), (10, 0)):
        what = f"{clients} clients, {f} attackers: (groups, members of the smallest)"
        expect.close(answer(clients, f), secure_groups(clients, f), what)
    for clients, f in ((20, 5), (9, 2), (1, 0)):
        try:
            answer(clients, f)
        except ValueError:
            continue
        raise expect.Wrong(
            f"With {clients} clients and {f} attackers some group would have one member, whose "
            f"secret the sum is: raise a ValueError."
        )
