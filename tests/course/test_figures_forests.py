"""The figures of chapter 10 say in words what they show."""

import numpy as np

from fedlab_utils.course.figures_forests import isolation, score_maps
from fedlab_utils.course.plots import png


class Norm:
    def score(self, X: np.ndarray, /) -> np.ndarray:
        return np.linalg.norm(X, axis=1)


def test_isolation_draws_each_cut_across_the_box_that_is_left() -> None:
    rows = np.array([[0.0, 0.0], [1.0, 1.0], [4.0, 2.0]])
    cuts = [(0, 2.0), (1, 0.5)]
    figure = isolation(
        rows, {"odd": (rows[2], cuts[:1]), "usual": (rows[0], cuts)}, xlabel="a", ylabel="b"
    )
    assert figure.get_label() == "3 rows by a and b; random cuts: odd after 1, usual after 2."
    left, right = figure.axes
    assert len(left.lines) == 3 and len(right.lines) == 4
    # The first cut leaves the left part, so the second ends at it.
    second = right.lines[2]
    assert list(second.get_ydata()) == [0.5, 0.5] and max(second.get_xdata()) == 2.0


def test_score_maps_state_the_area_outside() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 2))
    figure = score_maps({"norm": Norm(), "again": Norm()}, rows, xlabel="a", ylabel="b")
    assert "norm 84%, again 84%" in figure.get_label()
    assert [axes.get_title() for axes in figure.axes] == ["norm", "again"]
    assert len(png(figure)) < 100_000
