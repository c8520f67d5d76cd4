"""Exercises of chapter 01: Centralised baseline."""

from math import ceil, floor
from typing import Any

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise


def row_norm(x: np.ndarray) -> np.ndarray:
    """Return the Euclidean norm [n] of rows x [n, d]."""
    return np.sqrt(np.square(x).sum(axis=1))


@exercise(
    "01.1",
    "The norm of a row",
    solution=row_norm,
    wrong=(
        lambda x: np.square(x).sum(axis=1),
        lambda x: np.linalg.norm(x, axis=0),
        lambda x: np.abs(x).sum(axis=1),
    ),
    hints=("Square, add up, take the root.", "There is one number per row: add up over axis 1."),
)
def check_row_norm(answer: Any) -> None:
    x = np.array([[3.0, 4.0, 0.0], [1.0, -2.0, 2.0]])
    given = expect.numbers(answer(x), "the norms")
    expect.shape(given, (2,), "the norms of two rows")
    expect.close(given, [5.0, 3.0], "the norms of (3, 4, 0) and (1, -2, 2)")


def precision_at(y: np.ndarray, scores: np.ndarray, k: int) -> float:
    """Return the share of anomalies among the k highest scores."""
    return float(np.asarray(y)[np.argsort(-np.asarray(scores))[:k]].mean())


@exercise(
    "01.2",
    "Precision among the first k",
    solution=precision_at,
    wrong=(
        lambda y, scores, k: np.asarray(y)[np.argsort(scores)[:k]].mean(),
        lambda y, scores, k: np.asarray(y)[np.argsort(-scores)[:k]].sum(),
        lambda y, scores, k: np.asarray(y)[:k].mean(),
        lambda y, scores, k: np.asarray(y)[np.argsort(-scores)[:k]].sum() / np.asarray(y).sum(),
    ),
    hints=("np.argsort(-scores) lists the rows from the highest score down.", "Keep the first k."),
)
def check_precision_at(answer: Any) -> None:
    y = np.array([True, False, False, True, False])
    scores = np.array([0.9, 0.1, 0.8, 0.7, 0.2])
    expect.close(answer(y, scores, 1), 1.0, "precision among the first 1")
    expect.close(answer(y, scores, 2), 0.5, "precision among the first 2")
    expect.close(answer(y, scores, 3), 2 / 3, "precision among the first 3")


def rows_needed(alarm_rate: float) -> int:
    """Return the smallest number of calibration rows for which a threshold exists."""
    return ceil(1 / alarm_rate) - 1


@exercise(
    "01.3",
    "Enough calibration rows",
    solution=rows_needed,
    wrong=(
        lambda alarm_rate: ceil(1 / alarm_rate),
        lambda alarm_rate: floor(1 / alarm_rate) - 1,
        lambda alarm_rate: 1 / alarm_rate - 1,
        lambda alarm_rate: floor(1 / alarm_rate),
    ),
    hints=(
        "The threshold is one of the n calibration scores, so its place among them is at most n.",
        "Solve ceil((n + 1)(1 - a)) <= n for n: when is (n + 1) a at least 1?",
        "A number of rows is a whole number: round up, not down.",
    ),
)
def check_rows_needed(answer: Any) -> None:
    expect.close(answer(0.01), 99, "rows for an alarm rate of 0.01")
    expect.close(answer(0.3), 3, "rows for an alarm rate of 0.3")
    expect.close(answer(0.03), 33, "rows for an alarm rate of 0.03")


def auc_by_pairs(y: np.ndarray, scores: np.ndarray) -> float:
    """Return the share of pairs (anomaly, normal row) in which the anomaly scores higher."""
    y, scores = np.asarray(y, dtype=bool), np.asarray(scores)
    difference = scores[y][:, None] - scores[~y][None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


@exercise(
    "01.4",
    "AUC by counting pairs",
    solution=auc_by_pairs,
    wrong=(
        lambda y, scores: (scores[y][:, None] > scores[~y][None]).mean(),
        lambda y, scores: (scores[y][:, None] >= scores[~y][None]).mean(),
        lambda y, scores: 1 - auc_by_pairs(y, scores),
        lambda y, scores: (scores[y].mean() > scores[~y].mean()) * 1.0,
    ),
    hints=(
        "scores[y][:, None] - scores[~y][None] is a table: one row per anomaly, one column per "
        "normal row.",
        "The mean of a table of True and False is the share of True. What counts half?",
    ),
)
def check_auc_by_pairs(answer: Any) -> None:
    y = np.array([True, False, False, True, False])
    scores = np.array([0.9, 0.1, 0.8, 0.7, 0.2])
    expect.close(answer(y, scores), 5 / 6, "six pairs, one of them in the wrong order")
    expect.close(answer(y, np.ones(5)), 0.5, "all scores equal")
    expect.close(answer(y, np.array([3, 1, 3, 2, 1])), 4.5 / 6, "scores with one tie")
