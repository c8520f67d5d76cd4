"""The figure of chapter 01 says in words what it shows."""

import numpy as np
import pytest

from fedlab_utils.course.figures_baseline import two_features
from fedlab_utils.course.plots import png


def test_two_features_names_the_correlation_of_each_kind() -> None:
    x = np.linspace(-1, 1, 4000)
    rows = np.concatenate([np.c_[x, x], np.c_[x[:9], -x[:9]]])
    kind = np.array(["normal"] * 4000 + ["odd"] * 9)
    figure = two_features(rows, kind, ["normal", "odd"], xlabel="amount", ylabel="its past")
    alt = str(figure.get_label())
    assert "1.00 of normal rows" in alt and "-1.00 of odd rows" in alt
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["normal (1,334 of 4,000)", "odd (9 of 9)"]
    assert len(png(figure)) < 100_000


def test_a_kind_without_rows_is_named() -> None:
    with pytest.raises(ValueError, match="'odd' has 0 rows"):
        two_features(np.zeros((3, 2)), np.array(["a"] * 3), ["odd"], xlabel="x", ylabel="y")
