"""Exercises of chapter 01: Centralised baseline."""

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
    ),
    hints=("np.argsort(-scores) lists the rows from the highest score down.", "Keep the first k."),
)
def check_precision_at(answer: Any) -> None:
    y = np.array([True, False, False, True, False])
    scores = np.array([0.9, 0.1, 0.8, 0.7, 0.2])
    expect.close(answer(y, scores, 1), 1.0, "precision among the first 1")
    expect.close(answer(y, scores, 2), 0.5, "precision among the first 2")
    expect.close(answer(y, scores, 3), 2 / 3, "precision among the first 3")
