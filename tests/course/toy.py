"""A toy exercise, registered by the tests of the checks."""

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise
from fedlab_utils.course.figures import curves


def mean(values):
    return float(np.sum(values)) / len(values)


@exercise(
    "99.1",
    "The mean",
    solution=mean,
    wrong=(lambda values: float(np.median(values)), sum, lambda values: print()),
    hints=("Add first.", "Then divide by how many there are."),
)
def check_mean(answer):
    expect.close(answer([1.0, 2.0, 6.0]), 3.0, "the mean of 1, 2 and 6")
    expect.that(answer([5.0]) == 5.0, "one value is its own mean")


@exercise(
    "99.2",
    "Powers of two",
    solution=[1, 2, 4, 8],
    wrong=([1, 2, 3, 4], [1, 2, 4], "1248", [1, 2, 4, float("nan")]),
    hints=("Double.",),
    draw=lambda given, wanted: curves({"given": given, "expected": wanted}),
)
def check_powers(answer):
    expect.close(answer, 2.0 ** np.arange(4), "the powers")
