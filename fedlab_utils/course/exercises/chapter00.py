"""Exercises of chapter 00: Welcome."""

from typing import Any

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise


@exercise(
    "00.1",
    "The number of banks",
    solution=10,
    wrong=(9, 11, "ten", [10, 10]),
    hints=("Section 0.1 tells the story.", "Count the banks that would like to work together."),
)
def check_banks(answer: Any) -> None:
    expect.close(answer, 10, "the number of banks")


def share_above(scores: np.ndarray, threshold: float) -> float:
    """Return the share of the scores [n] that lie above the threshold."""
    return float((np.asarray(scores) > threshold).mean())


@exercise(
    "00.2",
    "The share of alarms",
    solution=share_above,
    wrong=(
        lambda scores, threshold: (np.asarray(scores) > threshold).sum(),
        lambda scores, threshold: (np.asarray(scores) < threshold).mean(),
        lambda scores, threshold: (np.asarray(scores) >= threshold).mean(),
        lambda scores, threshold: 100 * (np.asarray(scores) > threshold).mean(),
    ),
    hints=(
        "Compare the array with the threshold: the result is an array of True and False.",
        "numpy counts True as 1 and False as 0. What is then the mean of such an array?",
    ),
)
def check_share(answer: Any) -> None:
    scores = np.array([0.1, 0.2, 0.2, 0.9, 1.5])
    expect.close(answer(scores, 0.5), 0.4, "the share above 0.5 of 0.1, 0.2, 0.2, 0.9, 1.5")
    expect.close(answer(scores, 9.0), 0.0, "a threshold above all scores")
    expect.close(answer(scores, 0.2), 0.4, "a score equal to the threshold is no alarm")


def worst_client(ap: dict[str, float]) -> str:
    """Return the name of the client with the lowest average precision."""
    return min(ap, key=lambda name: ap[name])


@exercise(
    "00.3",
    "The worst client",
    solution=worst_client,
    wrong=(
        lambda ap: min(ap.values()),
        lambda ap: max(ap, key=lambda name: ap[name]),
        lambda ap: min(ap),
    ),
    hints=(
        "min() of a dictionary compares its keys, not its values.",
        "min() takes an argument `key`: a function that says by what to compare.",
    ),
)
def check_worst(answer: Any) -> None:
    given = answer({"bank 1": 0.6, "bank 2": 0.4, "bank 3": 0.9})
    expect.that(isinstance(given, str), "Return a name, not a number.")
    expect.that(given == "bank 2", "Of 0.6, 0.4 and 0.9 (banks 1, 2, 3) you name another one.")
    expect.that(answer({"a": 0.1, "b": 0.2}) == "a", "A case with two clients comes out wrong.")
