"""The figures of chapter 13 say in words what they show."""

import numpy as np
import pandas as pd

from fedlab_utils.course.figures_robust import breakdown, by_dial, pulled, work
from fedlab_utils.course.plots import png


def test_pulled_draws_all_rows_and_says_where_the_centres_are() -> None:
    rows = np.array([[0.0, 0.0], [2.0, 0.0], [50.0, 60.0]])
    figure = pulled(rows, np.array([False, False, True]), {"mean": np.array([17.3, 20.0])})
    assert figure.get_label() == (
        "2 honest rows around (1.0, 0.0), 1 attackers far away; found: mean (17.3, 20.0)."
    )
    (axes,) = figure.axes
    assert [len(line.get_xdata()) for line in axes.lines] == [2, 1, 1]
    assert len(png(figure)) < 100_000


def test_breakdown_names_the_first_attacker_that_breaks_a_rule() -> None:
    figure = breakdown({"mean": [0.0, 500.0], "median": [0.1, 0.2]}, unit="spreads")
    assert figure.get_label() == (
        "Moves by more than 100 spreads: mean from 1, median never attackers on."
    )
    (axes,) = figure.axes
    assert list(axes.lines[0].get_ydata()) == [0.01, 500.0] and axes.get_yscale() == "log"


def test_by_dial_has_a_panel_for_each_title() -> None:
    lines = {"mean": {0.0: 0.3, 1.0: 0.25}, "median": {0.0: 0.3, 1.0: 0.125}}
    figure = by_dial({"pooled": lines, "worst": lines}, xlabel="Shift", ylabel="AP")
    assert [axes.get_title() for axes in figure.axes] == ["pooled", "worst"]
    assert "AP by shift. pooled, mean: 0.300 to 0.250; pooled, median" in figure.get_label()
    assert list(figure.axes[1].lines[1].get_xdata()) == [0.0, 1.0]
    assert figure.axes[0].get_ylim()[0] == 0


def test_work_tells_riders_from_honest_clients() -> None:
    table = pd.DataFrame(
        {"log norm": [0.0, 0.0, 0.0], "cosine with last": [0.3, 0.4, 1.0],
         "cosine with others": [0.5, 0.6, 0.8]}, index=["a", "b", "c"],
    )  # fmt: skip
    figure = work({"last": table, "again": table}, ["c"])
    assert "between 0.30 and 0.60" in figure.get_label()
    assert "last at (1.00, 0.80), again at" in figure.get_label()
    honest, riding = figure.axes[0].lines
    assert len(honest.get_xdata()) == 2 and list(riding.get_xdata()) == [1.0]
    assert len(png(figure)) < 100_000
