"""The figures of chapter 09 say in words what they show."""

from fedlab_utils.course.figures_noniid import drift, verdict


def test_drift_draws_a_line_for_each_way_to_divide():
    kept = {"IID": [0.9, 0.8], "skewed": [0.5, 0.25]}
    figure = drift([1, 4], {"IID": [30, 50], "skewed": [60, 90]}, kept)
    left, right = figure.axes
    assert [list(line.get_ydata()) for line in left.lines[:2]] == [[30, 50], [60, 90]]
    assert [list(line.get_ydata()) for line in right.lines] == [[0.9, 0.8], [0.5, 0.25]]
    alt = figure.get_label()
    assert "skewed: angle from 60 to 90 degrees, kept from 0.50 to 0.25" in alt


def test_verdict_has_a_panel_for_each_setting_and_names_the_goal():
    one = {"local": [0.1, 0.2], "central": [0.5, 0.7], "FedAvg": [0.3, 0.3], "new": [0.9, 0.7]}
    figure = verdict({"a": one, "b": one, "c": one}, "FedAvg", ["local", "central"])
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", ""]
    assert not figure.axes[3].axison
    assert "a: FedAvg 0.300, central 0.600, best new 0.800" in figure.get_label()
    ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert ticks == ["local", "central", "FedAvg", "new"]
