"""Exercises of chapter 10: Forests and one-class SVMs."""

from math import sqrt
from typing import Any

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise
from fedlab_utils.detect.forest import average_path


def isolation_score(paths: np.ndarray, sample: int) -> np.ndarray:
    """Return the score [n] of path lengths [n, T] in trees of `sample` rows."""
    return 2.0 ** (-np.asarray(paths).mean(axis=1) / average_path(sample))


@exercise(
    "10.1",
    "From path lengths to scores",
    solution=isolation_score,
    wrong=(
        lambda paths, sample: (2.0 ** (-np.asarray(paths) / average_path(sample))).mean(axis=1),
        lambda paths, sample: np.exp(-np.asarray(paths).mean(axis=1) / average_path(sample)),
        lambda paths, sample: 2.0 ** (-np.asarray(paths).mean(axis=1) / np.log2(sample)),
        lambda paths, sample: 2.0 ** (np.asarray(paths).mean(axis=1) / average_path(sample)),
        lambda paths, sample: 2.0 ** (-np.asarray(paths).mean(axis=0) / average_path(sample)),
    ),
    hints=(
        "Trees are in axis 1. What is averaged: the path lengths, or the scores of single trees?",
        "detect.average_path(sample) is c(n). Divide, turn the sign, and raise 2 to that power.",
    ),
)
def check_isolation_score(answer: Any) -> None:
    c = float(average_path(256))
    paths = np.array([[c, c, c], [0.5 * c, 1.5 * c, c], [0.0, 0.0, 0.0], [2 * c, c, 3 * c]])
    given = expect.numbers(answer(paths, 256), "the scores")
    expect.shape(given, (4,), "the scores of four rows in three trees")
    expect.close(given[0], 0.5, "a row whose paths are exactly as long as expected")
    expect.close(given[2], 1.0, "a row that is alone without a cut")
    expect.close(given, [0.5, 0.5, 1.0, 0.25], "four rows in three trees of 256 rows")
    wanted = isolation_score(paths, 20)
    expect.close(answer(paths, 20), wanted, "the same paths in trees of 20 rows")


def tree_weights(rows: np.ndarray, trees: np.ndarray) -> np.ndarray:
    """Return each tree's weight: clients have a say by their rows, shared by their trees."""
    rows, trees = np.asarray(rows, dtype=float), np.asarray(trees)
    return np.repeat(rows / rows.sum() / trees, trees)


@exercise(
    "10.2",
    "A client's say in the union",
    solution=tree_weights,
    wrong=(
        lambda rows, trees: np.full(np.sum(trees), 1 / np.sum(trees)),
        lambda rows, trees: np.repeat(np.asarray(rows) / np.sum(rows), trees),
        lambda rows, trees: np.asarray(rows) / np.sum(rows) / np.asarray(trees),
        lambda rows, trees: (
            np.repeat(np.asarray(rows), trees) / np.repeat(np.asarray(rows), trees).sum()
        ),
        lambda rows, trees: np.repeat(1 / len(rows) / np.asarray(trees), trees),
    ),
    hints=(
        "A client with twice as many trees must not have twice the say.",
        "First the share of each client, then divide it by its number of trees, then np.repeat.",
    ),
)
def check_tree_weights(answer: Any) -> None:
    given = expect.numbers(answer(np.array([300, 100]), np.array([2, 4])), "the weights")
    expect.shape(given, (6,), "2 trees of one client and 4 of another")
    expect.that(abs(given.sum() - 1) < 1e-9, "The weights of all trees must add up to 1.")
    wanted = [0.375, 0.375, 0.0625, 0.0625, 0.0625, 0.0625]
    expect.close(given, wanted, "300 rows with 2 trees, 100 rows with 4 trees")


def customer_sensitivity(trees: int, payments: int) -> tuple[float, float]:
    """Return the sensitivities (L1, L2) of all leaf counts to one customer's payments."""
    return float(payments * trees), payments * sqrt(trees)


@exercise(
    "10.3",
    "Sensitivity to a customer",
    solution=customer_sensitivity,
    wrong=(
        lambda trees, payments: (trees, sqrt(trees)),
        lambda trees, payments: (payments * trees, sqrt(payments * trees)),
        lambda trees, payments: (payments * trees, payments * trees),
        lambda trees, payments: (payments * sqrt(trees), payments * trees),
        lambda trees, payments: (payments, sqrt(payments)),
    ),
    hints=(
        "In one tree, what is the worst the customer's payments can do: fall into many leaves, or "
        "all into the same one?",
        "In the worst case one count of each tree changes by the number of payments. Then L1 is "
        "the sum of the changes, L2 the root of the sum of their squares.",
    ),
)
def check_customer_sensitivity(answer: Any) -> None:
    expect.close(answer(1, 1), (1, 1), "one tree, one payment: (L1, L2)")
    expect.close(answer(100, 1), (100, 10), "100 trees, one payment: (L1, L2)")
    expect.close(answer(1, 9), (9, 9), "one tree, 9 payments: (L1, L2)")
    expect.close(answer(25, 4), (100, 20), "25 trees, 4 payments: (L1, L2)")


def tail(scores: np.ndarray, calibration: np.ndarray) -> np.ndarray:
    """Return (1 + number of calibration scores at or above each score) / (n + 1)."""
    above = np.asarray(calibration)[None] >= np.asarray(scores)[:, None]
    return (1 + above.sum(axis=1)) / (1 + len(calibration))


@exercise(
    "10.4",
    "Tails by counting",
    solution=tail,
    wrong=(
        lambda scores, calibration: (
            np.asarray(calibration)[None] >= np.asarray(scores)[:, None]
        ).mean(axis=1),
        lambda scores, calibration: 1 - tail(scores, calibration),
        lambda scores, calibration: (
            (1 + (np.asarray(calibration)[None] > np.asarray(scores)[:, None]).sum(axis=1))
            / (1 + len(calibration))
        ),
        lambda scores, calibration: (np.asarray(scores)[None] >= np.asarray(scores)[:, None]).mean(
            axis=1
        ),
        lambda scores, calibration: (
            (1 + (np.asarray(calibration)[None] >= np.asarray(scores)[:, None]).sum(axis=1))
            / len(calibration)
        ),
    ),
    hints=(
        "calibration[None] >= scores[:, None] is a table: one row per score, one column per "
        "calibration row.",
        "The imaginary row counts above every score, and it counts in n + 1.",
    ),
)
def check_tail(answer: Any) -> None:
    calibration = np.array([1.0, 2.0, 2.0, 4.0])
    given = expect.numbers(answer(np.array([0.0, 2.0, 3.0, 9.0]), calibration), "the tails")
    expect.shape(given, (4,), "the tails of four scores")
    expect.that(given.min() > 0, "A tail of 0 has no logarithm: who is missing?")
    expect.close(given, [1.0, 0.8, 0.4, 0.2], "scores 0, 2, 3, 9 among 1, 2, 2, 4")
