"""The figures of chapter 12: what they draw, and what their alternative texts say."""

import numpy as np

from fedlab_utils.course.figures_communication import (
    before_and_after,
    bytes_to_reach,
    error_by_bytes,
)
from fedlab_utils.course.plots import png


def test_bytes_to_reach_marks_where_the_goal_is_first_reached():
    curves = {"plain": ([1, 2, 4], [0.1, 0.3, 0.4]), "coarse": ([0.1, 0.2], [0.1, 0.2])}
    figure = bytes_to_reach(curves, 0.3)
    alt = figure.get_label()
    assert "Reached 0.300: plain after 2 MB; coarse never, it ends at 0.200" in alt
    (axes,) = figure.axes
    marks = [line for line in axes.get_lines() if len(line.get_xdata()) == 1]
    assert [(m.get_xdata()[0], m.get_ydata()[0]) for m in marks] == [(2, 0.3)]
    assert axes.get_xscale() == "log" and "0.1" in [t.get_text() for t in axes.get_xticklabels()]
    assert axes.get_xlabel() and axes.get_ylabel() and len(png(figure)) < 100_000


def test_error_by_bytes_names_every_codec():
    points = {"QSGD": {"8 bits": (3000, 0.005), "2 bits": (800, 16.0)}, "sign": {"": (400, 0.4)}}
    figure = error_by_bytes(points)
    alt = figure.get_label()
    assert "QSGD 8 bits 3,000 bytes 0.005" in alt and "sign 400 bytes 0.4" in alt
    (axes,) = figure.axes
    assert {t.get_text() for t in axes.texts} == {"8 bits", "2 bits", ""}
    assert axes.get_xscale() == axes.get_yscale() == "log" and len(png(figure)) < 100_000


def test_before_and_after_counts_in_deviations():
    before = np.array([8.0] + [0.0] * 15)  # root mean square 2
    figure = before_and_after(before, np.full(16, 2.0), xlabel="Number")
    assert "before the rotation the largest is 4.0 deviations" in figure.get_label()
    assert "after the rotation the largest is 1.0 deviations" in figure.get_label()
    assert [axes.get_title() for axes in figure.axes] == ["before", "after"]
    assert len(png(figure)) < 100_000
