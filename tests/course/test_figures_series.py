"""The figures of chapter 11 say in words what they show."""

import numpy as np

from fedlab_utils.course import figures_series as figures
from fedlab_utils.course.plots import png


def test_channels_name_their_events() -> None:
    kind = np.array(["normal"] * 10)
    kind[3:5], kind[8] = "stuck", "point"
    values = np.random.default_rng(0).normal(size=(10, 2))
    figure = figures.channels(values, kind, ["load", "fan"])
    assert (
        figure.get_label() == "10 samples of load, fan; events: stuck at 3 to 4, point at 8 to 8."
    )
    assert len(figure.axes[0].patches) == 2 and len(figure.axes[0].lines) == 2
    calm = figures.channels(values, np.array(["normal"] * 10), ["load", "fan"])
    assert "events: none" in calm.get_label()


def test_adjustment_states_both_ends() -> None:
    figure = figures.adjustment([1, 10, 100], {"F1": [0.1, 0.1, 0.2], "adjusted": [0.1, 0.5, 0.9]})
    assert "F1 from 0.10 to 0.20; adjusted from 0.10 to 0.90" in figure.get_label()
    assert "1 to 100 points" in figure.get_label()


def test_series_scores_say_where_the_highest_score_is() -> None:
    values, anomaly = np.arange(50.0), np.arange(50) // 5 == 4
    score = {"good": np.where(anomaly, 2.0, 1.0), "bad": np.arange(50.0)}
    figure = figures.series_scores(values, anomaly, score, slice(10, 40))
    assert "good at point 20 (inside), bad at point 49 (outside)" in figure.get_label()
    assert [len(axes.patches) for axes in figure.axes] == [1, 1, 1]
    low, high = figure.axes[0].patches[0].get_extents().intervalx  # type: ignore[attr-defined]
    assert high > low and len(png(figure)) < 100_000


def test_pictures_fill_rows() -> None:
    images = np.random.default_rng(0).random((3, 8, 8))
    figure = figures.pictures({"digit": images, "back": images[:2]})
    assert figure.get_label() == "Small images, 3 in a row; rows: digit, back."
    assert sum(bool(axes.images) for axes in figure.axes) == 5
    assert len(png(figure)) < 100_000
