"""The figures of the attacks say in words what they show."""

import numpy as np
import pytest

from fedlab_utils.attacks import AttackScores, tpr_bound
from fedlab_utils.course.figures_attacks import membership_roc, recovered_rows


def test_recovered_rows_are_drawn_in_the_order_of_the_true_ones():
    true = np.random.default_rng(0).normal(size=(3, 4))
    figure = recovered_rows(true, {"plain": true[::-1], "masked": np.zeros((2, 4))}, "abcd")
    alt = figure.get_label()
    assert "plain: 100% recovered, median error 0;" in alt and "masked: 0% recovered" in alt
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in panels[1:]] == ["plain", "masked"]
    assert np.allclose(panels[1].images[0].get_array(), true)
    assert np.ma.count_masked(panels[2].images[0].get_array()) == 4  # the row that is missing
    assert [tick.get_text() for tick in panels[2].get_xticklabels()] == list("abcd")


def test_true_rows_alone_are_a_figure_too():
    assert len(recovered_rows(np.eye(2), {}).axes) == 2


def test_membership_roc_is_logarithmic_and_draws_the_bound():
    member = np.tile(np.arange(200) < 100, (3, 1))
    scores = AttackScores(member, np.where(member, 1.0, 0.0))
    figure = membership_roc({"LiRA": scores}, epsilon=1.0, delta=1e-5)
    (axes,) = figure.axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    curve, guessing, bound = axes.lines
    assert list(curve.get_ydata()[:3]) == [1, 1, 1]
    assert np.allclose(guessing.get_xdata(), guessing.get_ydata())
    assert bound.get_ydata()[0] == pytest.approx(tpr_bound(1e-3, 1.0, 1e-5))
    assert "LiRA AUC 1.000, true positive rate 1.000" in figure.get_label()
    assert f"no attack exceeds {tpr_bound(0.01, 1.0, 1e-5):.3f} there" in figure.get_label()
    assert "exceeds" not in membership_roc({"LiRA": scores}).get_label()
