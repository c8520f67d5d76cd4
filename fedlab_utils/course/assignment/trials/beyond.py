"""Trials of the exercises from chapter 09 on."""

from typing import Any

import numpy as np

from fedlab_utils.course.assignment.trials.registry import TRIALS, WRONG, trial
from fedlab_utils.course.expect import Wrong


@trial("09.1")
def _walks(rng: np.random.Generator) -> tuple:
    k, p = (int(side) for side in rng.integers(2, 9, size=2))
    return rng.normal(size=(k, p)), rng.uniform(1, 99, size=k)


@trial("09.2")
def _bands(rng: np.random.Generator) -> tuple:
    goal, scale = rng.normal(size=4), rng.uniform(0.1, 1, size=4)

    def gradient(v: np.ndarray) -> np.ndarray:
        return scale * (v - goal)

    knobs = (float(rng.uniform(0, 2)), float(rng.uniform(0.01, 0.3)), int(rng.integers(1, 30)))
    return gradient, rng.normal(size=4), *knobs


@trial("09.3")
def _controls(rng: np.random.Generator) -> tuple:
    update, own, common = rng.normal(size=(3, int(rng.integers(2, 9))))
    return update, own, common, float(rng.uniform(0.01, 1)), int(rng.integers(1, 40))


@trial("09.4")
def _gaps(rng: np.random.Generator) -> tuple:
    fedavg, method = rng.uniform(0.1, 0.4, size=(2, int(rng.integers(2, 7))))
    local, central = rng.uniform(0.45, 0.9, size=(2, len(fedavg)))
    return method, fedavg, local, central


@trial("10.1")
def _paths(rng: np.random.Generator) -> tuple:
    return rng.uniform(0, 20, size=rng.integers(2, 9, size=2)), int(rng.integers(3, 600))


@trial("10.2")
def _trees(rng: np.random.Generator) -> tuple:
    k = int(rng.integers(2, 7))
    return rng.integers(1, 900, size=k), rng.integers(1, 9, size=k)


@trial("10.3")
def _payments(rng: np.random.Generator) -> tuple:
    return int(rng.integers(1, 300)), int(rng.integers(1, 50))


@trial("10.4")
def _tails(rng: np.random.Generator) -> tuple:
    return rng.integers(0, 9, size=7).astype(float), rng.integers(0, 9, size=12).astype(float)


@trial("11.1")
def _ranges(rng: np.random.Generator) -> tuple:
    return float(rng.uniform(0.001, 0.5)), int(rng.integers(1, 300))


@trial("11.2")
def _widths(rng: np.random.Generator) -> tuple:
    return tuple(int(side) for side in rng.integers(1, 40, size=3))


@trial("11.3")
def _sessions(rng: np.random.Generator) -> tuple:
    n, steps, templates = (int(side) for side in rng.integers(3, 9, size=3))
    probabilities = rng.dirichlet(np.ones(templates), size=(n, steps))
    events = rng.integers(0, templates, size=(n, steps))
    return probabilities, events, int(rng.integers(1, templates))


def _rounded(answer: Any, solution: Any, rng: np.random.Generator) -> None:
    """Exercise 12.1 leaves open which random numbers mean "up": the mean decides."""
    value = float(rng.uniform(-9, 9))
    given = np.asarray(answer(np.full(4000, value), rng.random(4000)))
    low, high = np.floor(value), np.ceil(value)
    if given.shape != (4000,) or not np.isin(given, (low, high)).all():
        raise Wrong(WRONG)
    if abs(given.mean() - value) > 0.05:  # six deviations of the mean of the largest spread
        raise Wrong(WRONG)


TRIALS["12.1"] = _rounded


@trial("12.2")
def _messages(rng: np.random.Generator) -> tuple:
    bucket = int(2 ** rng.integers(4, 10))
    return int(rng.integers(1, 9000)), int(rng.integers(2, 9)), bucket


@trial("12.3")
def _memories(rng: np.random.Generator) -> tuple:
    p = int(rng.integers(4, 30))
    return rng.normal(size=p), rng.normal(size=p), int(rng.integers(1, p))


@trial("12.4")
def _lanes(rng: np.random.Generator) -> tuple:
    return int(rng.integers(1, 300)), int(rng.integers(1, 16))


@trial("13.1")
def _boosts(rng: np.random.Generator) -> tuple:
    rows = rng.uniform(1, 900, size=int(rng.integers(3, 12)))
    return rows, rng.permutation(len(rows)) < rng.integers(1, len(rows))


@trial("13.2")
def _trimmed(rng: np.random.Generator) -> tuple:
    k = int(rng.integers(3, 12))
    return rng.normal(size=(k, 4)), int(rng.integers(0, (k + 1) // 2 + 1))


@trial("13.3")
def _distances(rng: np.random.Generator) -> tuple:
    f = int(rng.integers(1, 4))
    rows = rng.normal(size=(int(rng.integers(2 * f + 3, 15)), 3))
    return np.square(rows[:, None] - rows[None]).sum(axis=2), f


@trial("13.4")
def _groups(rng: np.random.Generator) -> tuple:
    return int(rng.integers(2, 200)), int(rng.integers(0, 20))


@trial("14.1")
def _asked(rng: np.random.Generator) -> tuple:
    names = [f"bank {number}" for number in rng.permutation(40)[:8]]
    asked = {name: f"09:0{rng.integers(3)}" for name in names[:6]}
    online = {name: f"09:0{rng.integers(3)}" for name in names[1:]}
    return asked, online, {name for name in names if rng.random() < 0.3}


@trial("14.2")
def _budgets(rng: np.random.Generator) -> tuple:
    # With a prime number of rows the rank is never a whole number by chance.
    return rng.gamma(2.0, size=int(rng.integers(200, 900))), int(rng.integers(10, 200)), 1009


@trial("14.3")
def _shares(rng: np.random.Generator) -> tuple:
    expected, seen = rng.integers(0, 300, size=(2, int(rng.integers(2, 12))))
    return expected, seen


@trial("15.1")
def _members(rng: np.random.Generator) -> tuple:
    knobs = rng.uniform(0.2, 5, size=3)
    z, clip, signal = (float(one) for one in knobs)
    return z, clip, int(rng.integers(10, 5000)), signal, float(rng.uniform(0.01, 0.9))


@trial("15.2")
def _people(rng: np.random.Generator) -> tuple:
    rows = rng.integers(50, 900, size=int(rng.integers(2, 9)))
    # Away from the whole numbers, where rounding may go either way.
    return rows, float(rows.sum() / (rng.integers(3, 400) + rng.uniform(0.1, 0.9)))


@trial("16.1")
def _holes(rng: np.random.Generator) -> tuple:
    d = int(rng.integers(1, 5))
    parts = [rng.normal(size=(int(rng.integers(2, 9)), d)) for _ in range(int(rng.integers(2, 6)))]
    for part in parts:
        part[1:][rng.random((len(part) - 1, d)) < 0.4] = np.nan  # one value of each is there
    return (parts,)


def _cuts(answer: Any, solution: Any, rng: np.random.Generator) -> None:
    """Exercise 16.2 returns words, which are compared one by one."""
    times = rng.integers(0, 60, size=int(rng.integers(20, 90)))
    shares = float(rng.uniform(0.1, 0.5)), float(rng.uniform(0.1, 0.5))
    given = np.asarray(answer(times.copy(), *shares))
    if not np.array_equal(given, solution(times, *shares)):
        raise Wrong(WRONG)


TRIALS["16.2"] = _cuts


@trial("16.3")
def _features(rng: np.random.Generator) -> tuple:
    n, d = int(rng.integers(20, 60)), int(rng.integers(2, 6))
    y = rng.permutation(n) < n // 3
    return rng.normal(size=(n, d)) + y[:, None] * rng.normal(size=d), y
