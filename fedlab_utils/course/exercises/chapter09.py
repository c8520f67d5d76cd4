"""Exercises of chapter 09: When clients differ."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise


def kept_share(updates: np.ndarray, rows: np.ndarray) -> float:
    """Return the length of the mean update over the mean length, both weighted by rows."""
    share = np.asarray(rows) / np.sum(rows)
    return float(np.linalg.norm(share @ updates) / (share @ np.linalg.norm(updates, axis=1)))


def _length(updates: np.ndarray) -> np.ndarray:
    return np.linalg.norm(updates, axis=1)


@exercise(
    "09.1",
    "What the mean keeps",
    solution=kept_share,
    wrong=(
        lambda updates, rows: kept_share(updates, np.ones(len(updates))),
        lambda updates, rows: np.linalg.norm(updates.mean(axis=0)) / _length(updates).sum(),
        lambda updates, rows: 1 / kept_share(updates, rows),
        lambda updates, rows: np.linalg.norm((rows / rows.sum()) @ updates),
        lambda updates, rows: (
            np.linalg.norm((rows / rows.sum()) @ updates) / _length(updates).mean()
        ),
    ),
    hints=(
        "Two lengths: one of a mean, one a mean of lengths. Which comes first in each?",
        "share = rows / rows.sum(); share @ updates is the mean update. np.linalg.norm(..., "
        "axis=1) gives each client's length, and these are weighted by share, too.",
    ),
)
def check_kept_share(answer: Any) -> None:
    three = np.array([3.0, 1.0, 1.0])
    same = np.tile([3.0, 4.0], (3, 1))
    expect.close(answer(same, three), 1.0, "three clients that all walk the same way")
    against = np.array([[1.0, 0.0], [-1.0, 0.0]])
    expect.close(answer(against, np.ones(2)), 0.0, "two that walk against each other", atol=1e-9)
    right = np.array([[2.0, 0.0], [0.0, 2.0]])
    expect.close(answer(right, np.ones(2)), np.sqrt(0.5), "two at a right angle, equal rows")
    uneven = np.array([[4.0, 0.0], [0.0, 1.0]])
    rows = np.array([1.0, 3.0])
    expect.close(answer(uneven, rows), kept_share(uneven, rows), "1 row and 3 rows")


def proximal_update(
    gradient: Callable[[np.ndarray], np.ndarray], w: np.ndarray, mu: float, lr: float, steps: int
) -> np.ndarray:
    """Return the update after steps on the client's loss plus mu / 2 |v - w|^2."""
    v = np.array(w, dtype=float)
    for _ in range(steps):
        v = v - lr * (gradient(v) + mu * (v - w))
    return v - w


def _at_the_start(gradient: Any, w: np.ndarray, mu: float, lr: float, steps: int) -> np.ndarray:
    return -lr * steps * gradient(w)


def _pushed(gradient: Any, w: np.ndarray, mu: float, lr: float, steps: int) -> np.ndarray:
    return proximal_update(gradient, w, -mu, lr, steps)


def _weights(gradient: Any, w: np.ndarray, mu: float, lr: float, steps: int) -> np.ndarray:
    return proximal_update(gradient, w, mu, lr, steps) + w


def _decayed(gradient: Any, w: np.ndarray, mu: float, lr: float, steps: int) -> np.ndarray:
    v = w
    for _ in range(steps):
        v = v - lr * (gradient(v) + mu * v)
    return v - w


@exercise(
    "09.2",
    "A rubber band",
    solution=proximal_update,
    wrong=(
        _at_the_start,
        _pushed,
        _weights,
        _decayed,
        lambda gradient, w, mu, lr, steps: proximal_update(gradient, w, 0.0, lr, steps),
    ),
    hints=(
        "In the first step v is w, so the band does not pull yet. From the second on it does.",
        "Each step: v = v - lr * (gradient(v) + mu * (v - w)). Keep w as it is; return v - w.",
    ),
)
def check_proximal_update(answer: Any) -> None:
    w, goal = np.array([1.0, -2.0]), np.array([3.0, 0.0])

    def pull(v: np.ndarray) -> np.ndarray:
        return v - goal

    before = w.copy()
    expect.close(answer(pull, w, 0.0, 0.5, 1), [1.0, 1.0], "one step without a band")
    expect.that(np.array_equal(w, before), "The weights w that the client got were changed.")
    expect.close(answer(pull, w, 1.0, 0.5, 1), [1.0, 1.0], "one step: the band is not stretched")
    expect.close(answer(pull, w, 1.0, 0.25, 2), [0.75, 0.75], "two steps with mu = 1")
    many = answer(pull, w, 3.0, 0.1, 500)
    expect.close(many, (goal - w) / 4, "many steps with mu = 3: a quarter of the way", rtol=1e-4)


def new_control(
    update: np.ndarray, c_own: np.ndarray, c: np.ndarray, lr: float, steps: int
) -> np.ndarray:
    """Return the mean of the client's own gradients, from where its corrected steps have led."""
    return np.asarray(c_own - c - update / (lr * steps))


@exercise(
    "09.3",
    "A client's new control variate",
    solution=new_control,
    wrong=(
        lambda update, c_own, c, lr, steps: c_own - c + update / (lr * steps),
        lambda update, c_own, c, lr, steps: -update / (lr * steps),
        lambda update, c_own, c, lr, steps: c - c_own - update / (lr * steps),
        lambda update, c_own, c, lr, steps: c_own - c - update / lr,
        lambda update, c_own, c, lr, steps: c_own - c - update,
    ),
    hints=(
        "Each step moved the weights by -lr times what it used. What was the mean of that?",
        "The mean that was used is -update / (lr * steps). It is the mean of g - c_own + c; solve "
        "for the mean of g.",
    ),
)
def check_new_control(answer: Any) -> None:
    g = np.array([[1.0, -2.0], [3.0, 0.5], [-1.0, 0.0], [2.0, 2.0]])
    c_own, c = np.array([0.5, 1.0]), np.array([-1.0, 0.25])
    zero = np.zeros(2)
    for lr, steps in ((1.0, 1), (0.1, 4)):
        plain = -lr * g[:steps].sum(axis=0)
        what = f"{steps} step(s) of size {lr}"
        wanted = g[:steps].mean(axis=0)
        expect.close(answer(plain, zero, zero, lr, steps), wanted, f"{what}, control variates zero")
        corrected = -lr * (g[:steps] - c_own + c).sum(axis=0)
        expect.close(answer(corrected, c_own, c, lr, steps), wanted, f"{what}, with a correction")


def share_closed(
    method: np.ndarray, fedavg: np.ndarray, local: np.ndarray, central: np.ndarray
) -> float:
    """Return the share of the gap from FedAvg to the better bound that is closed, or nan."""
    low, high = np.mean(fedavg), max(np.mean(local), np.mean(central))
    return float((np.mean(method) - low) / (high - low)) if high > low else float("nan")


@exercise(
    "09.4",
    "How much of the gap",
    solution=share_closed,
    wrong=(
        lambda m, f, a, c: (np.mean(m) - np.mean(f)) / (np.mean(c) - np.mean(f)),
        lambda m, f, a, c: (
            (np.mean(m) - np.mean(f)) / (np.mean(np.maximum(a, c)) - np.mean(f))
            if np.mean(np.maximum(a, c)) > np.mean(f)
            else np.nan
        ),
        lambda m, f, a, c: np.mean(m) / max(np.mean(a), np.mean(c)),
        lambda m, f, a, c: (
            (np.mean(m) - np.mean(f)) / (max(np.mean(a), np.mean(c)) - np.mean(f) or np.nan)
        ),
        lambda m, f, a, c: 1 - share_closed(m, f, a, c),
    ),
    hints=(
        "First means over the seeds, then the better of the two bounds.",
        "What if neither bound is above FedAvg? Then there is no gap to close: np.nan.",
    ),
)
def check_share_closed(answer: Any) -> None:
    fedavg, local = np.array([0.2, 0.4]), np.array([0.5, 0.5])
    central = np.array([0.3, 0.6])
    expect.close(answer(fedavg, fedavg, local, central), 0.0, "FedAvg itself")
    expect.close(answer(local, fedavg, local, central), 1.0, "the better bound (local) itself")
    expect.close(answer(central, fedavg, central, local), 0.75, "means .45, .30, .45 and .50")
    expect.close(answer(local + 0.1, fedavg, local, central), 1.5, "beyond the better bound")
    for bound in (fedavg - 0.1, fedavg):
        none = expect.numbers(answer(local, fedavg, bound, bound), "the share")
        expect.that(np.isnan(none), "If no bound is above FedAvg, there is no gap: return nan.")
