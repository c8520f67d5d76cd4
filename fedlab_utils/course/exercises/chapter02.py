"""Exercises of chapter 02: Why federate."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise


@exercise(
    "02.1",
    "What leaves a bank",
    solution={"B", "D", "F", "G"},
    wrong=(
        {"B"},
        {"B", "D", "G"},
        {"B", "D", "E", "F", "G"},
        {"A", "B", "D", "F", "G"},
        {"B", "C", "D", "F", "G"},
        "BDFGX",
    ),
    hints=(
        "Look at the table of section 2.1: its second column lists what leaves.",
        "Four of the seven leave. Scores belong to single payments; counts in bins do not.",
    ),
)
def check_leaves(answer: Any) -> None:
    given = {str(letter).strip().upper() for letter in answer}
    expect.that(given <= set("ABCDEFG"), "Use the letters A to G only.")
    expect.that(not given & {"A", "C"}, "You let something leave that belongs to single payments.")
    expect.that("E" not in given, "Scores stay at home: what is sent in their place?")
    missing = {"B", "D", "F", "G"} - given
    expect.that(not missing, f"{len(missing)} more of them leave a bank in this chapter.")


def pooled_deviation(counts: np.ndarray, means: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Return the deviation [d] of all rows, from counts [K] and moments [K, d]."""
    share = (np.asarray(counts) / np.sum(counts))[:, None]
    mean = (share * means).sum(axis=0)
    return np.sqrt((share * (np.square(deviations) + np.square(means))).sum(axis=0) - mean**2)


def _share(counts: np.ndarray) -> np.ndarray:
    return (np.asarray(counts) / np.sum(counts))[:, None]


@exercise(
    "02.2",
    "The deviation of all rows",
    solution=pooled_deviation,
    wrong=(
        lambda counts, means, deviations: np.mean(deviations, axis=0),
        lambda counts, means, deviations: (_share(counts) * deviations).sum(axis=0),
        lambda counts, means, deviations: np.sqrt(
            (_share(counts) * np.square(deviations)).sum(axis=0)
        ),
        lambda counts, means, deviations: np.sqrt(
            (np.square(deviations) + np.square(means)).mean(axis=0) - np.mean(means, axis=0) ** 2
        ),
    ),
    hints=(
        "Deviations cannot be averaged. Sums of squares can be added.",
        "A bank's mean square is its variance plus its squared mean. Weight it by rows.",
    ),
)
def check_pooled_deviation(answer: Any) -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(shift, 1.0, size=(n, 3)) for shift, n in ((0.0, 5), (4.0, 20), (-3.0, 9))]
    counts = np.array([len(part) for part in parts])
    means = np.array([part.mean(axis=0) for part in parts])
    deviations = np.array([part.std(axis=0) for part in parts])
    given = answer(counts, means, deviations)
    expect.close(given, np.concatenate(parts).std(axis=0), "three banks with different means")


def recover_row(
    before: tuple[int, np.ndarray, np.ndarray], after: tuple[int, np.ndarray, np.ndarray]
) -> np.ndarray:
    """Return the row [d] that was added between two messages (count, sums, sums of squares)."""
    return after[1] - before[1]


@exercise(
    "02.3",
    "The row between two messages",
    solution=recover_row,
    wrong=(
        lambda before, after: after[1] / after[0] - before[1] / before[0],
        lambda before, after: after[1] / after[0],
        lambda before, after: np.sqrt(after[2] - before[2]),
        lambda before, after: before[1] - after[1],
    ),
    hints=(
        "Write down the sum before and the sum after. What is the difference?",
        "The sums of squares are not needed: a root does not know the sign.",
    ),
)
def check_recover_row(answer: Any) -> None:
    rows = np.random.default_rng(1).normal(2.0, 3.0, size=(8, 4))

    def message(x: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
        return len(x), x.sum(axis=0), np.square(x).sum(axis=0)

    given = answer(message(rows[:7]), message(rows))
    expect.close(given, rows[7], "the row that was added to seven others")


def who_loses(local: Mapping[str, float], federated: Mapping[str, float]) -> list[str]:
    """Return the clients with a better model of their own, the largest loss first."""
    losers = [name for name in local if local[name] > federated[name]]
    return sorted(losers, key=lambda name: federated[name] - local[name])


@exercise(
    "02.4",
    "Who loses",
    solution=who_loses,
    wrong=(
        lambda local, federated: [name for name in local if local[name] > federated[name]],
        lambda local, federated: sorted(local, key=lambda n: federated[n] - local[n]),
        lambda local, federated: sorted(
            (n for n in local if local[n] < federated[n]), key=lambda n: local[n] - federated[n]
        ),
        lambda local, federated: [
            min(local, key=lambda n: federated[n] - local[n]),
        ],
    ),
    hints=(
        "First keep the names for which the local value is higher.",
        "sorted() takes a `key`; a loss of .2 must come before one of .1.",
    ),
)
def check_who_loses(answer: Any) -> None:
    local = {"a": 0.5, "b": 0.3, "c": 0.9, "d": 0.2, "e": 0.4}
    federated = {"a": 0.4, "b": 0.6, "c": 0.5, "d": 0.2, "e": 0.35}
    given = list(answer(local, federated))
    expect.that(all(isinstance(name, str) for name in given), "Return names, not numbers.")
    expect.that(set(given) <= set("ace"), "You name a client that does not lose.")
    expect.that(set(given) == set("ace"), "A client that loses is missing.")
    expect.that(given == ["c", "a", "e"], "The order is not right: the largest loss comes first.")
    expect.that(list(answer({"a": 0.1}, {"a": 0.2})) == [], "Where nobody loses, return no name.")
