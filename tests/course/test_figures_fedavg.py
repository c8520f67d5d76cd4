"""The figures of chapter 03 say in words what they show."""

import numpy as np

from fedlab_utils.course.figures_fedavg import (
    expected_and_given,
    rounds_and_work,
    update_matrix,
)


def test_rounds_and_work_draws_each_curve_against_both_axes():
    figure = rounds_and_work({1: [4.0, 2.0, 1.0], 3: [1.5]})
    left, right = figure.axes
    assert [list(line.get_xdata()) for line in left.lines] == [[1, 2, 3], [1]]
    assert [list(line.get_xdata()) for line in right.lines] == [[1, 2, 3], [3]]
    assert "with 1 local epochs 1 after 3 rounds (3 passes)" in figure.get_label()
    assert "with 3 local epochs 1.5 after 1 rounds (3 passes)" in figure.get_label()


def test_update_matrix_names_the_largest_and_the_smallest_row():
    updates = np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0], [2.0, 0.0, 0.0]])
    figure = update_matrix(updates, ["a", "b", "c"], {"encoder": 2, "decoder": 1})
    alt = figure.get_label()
    assert "largest row norm is 5 (a)" in alt and "smallest 1 (b)" in alt
    assert "encoder 1.5, decoder 0.33" in alt
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["encoder", "decoder"]


def test_expected_and_given_counts_what_agrees():
    figure = expected_and_given(np.eye(2), np.ones((2, 2)), xlabel="Row", ylabel="Client")
    assert figure.get_label() == "Expected and given values; 2 of 4 agree."
    assert [axes.get_title() for axes in figure.axes] == ["expected", "given"]
