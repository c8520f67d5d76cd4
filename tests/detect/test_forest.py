"""Isolation forests: scikit-learn and a recursive walk are the oracles."""

from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest

from fedlab_utils.detect import (
    Detector,
    Forest,
    auc,
    average_path,
    from_sklearn,
    grow_forest,
    singled_out,
    value_bounds,
)
from fedlab_utils.detect.forest import levels
from fedlab_utils.errors import DataError


def rows(n: int = 600, d: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def walk(forest: Forest, tree: int, row: np.ndarray, node: int = 0) -> float:
    """The path length by recursion, as the paper writes it."""
    feature = forest.feature[tree, node]
    if feature < 0:
        return float(average_path(forest.count[tree, node]))
    right = row[feature] > forest.threshold[tree, node]
    return 1 + walk(forest, tree, row, 2 * node + 1 + int(right))


def test_average_path_is_scikit_learns_on_whole_numbers() -> None:
    from sklearn.ensemble._iforest import _average_path_length

    n = np.arange(300)
    assert np.allclose(average_path(n), _average_path_length(n), rtol=1e-14, atol=0)
    assert np.allclose(average_path(1.5), 0.5) and average_path(-3.0) == 0


@given(st.floats(0, 500), st.floats(0, 500))
def test_average_path_grows(a: float, b: float) -> None:
    assert (average_path(min(a, b)) <= average_path(max(a, b)) + 1e-12).all()


@pytest.mark.parametrize("options", [{}, {"max_features": 0.5}, {"max_samples": 40}])
def test_scores_are_scikit_learns(options: dict[str, float]) -> None:
    train, test = rows(), rows(700, seed=1) * 2
    theirs = IsolationForest(n_estimators=30, random_state=0, **options).fit(train)
    ours = from_sklearn(theirs)
    assert np.abs(ours.score(test) + theirs.score_samples(test)).max() < 1e-9
    assert isinstance(ours, Detector)


def test_path_lengths_are_those_of_the_recursive_walk() -> None:
    forest, test = grow_forest(rows(), trees=6, sample=50, seed=3), rows(40, seed=1)
    wanted = [[walk(forest, t, row) for t in range(6)] for row in test]
    assert np.allclose(forest.path_lengths(test), wanted, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 80), st.integers(2, 64), st.integers(1, 3), st.integers(0, 9))
def test_grown_trees_are_isolation_trees(n: int, sample: int, d: int, seed: int) -> None:
    data = np.round(rows(n, d, seed), 1)  # with ties and equal rows
    forest = grow_forest(data, trees=4, sample=sample, seed=seed)
    assert (forest.count[:, 0] == min(n, sample)).all()
    assert forest.depth == max(1, int(np.ceil(log2(min(n, sample)))))
    tree, node = np.nonzero(forest.feature >= 0)
    left, right = forest.count[tree, 2 * node + 1], forest.count[tree, 2 * node + 2]
    assert (left >= 1).all() and (right >= 1).all()
    assert np.array_equal(left + right, forest.count[tree, node])
    if n <= sample:  # every tree holds all rows, so its counts can be recounted
        ends = forest.leaves(data)
        for t in range(4):
            number = np.bincount(ends[:, t], minlength=forest.feature.shape[1])
            leaf = forest.feature[t] < 0
            assert np.array_equal(number[leaf], forest.count[t, leaf])
            deep = levels(len(leaf)) == forest.depth
            several = np.flatnonzero(leaf & ~deep & (number > 1))
            for place in several:  # only equal rows may end together above the last level
                assert (np.ptp(data[ends[:, t] == place], axis=0) == 0).all()


def test_grown_forest_is_as_good_as_scikit_learns() -> None:
    train, test = rows(2000), rows(1000, seed=1)
    y = np.arange(1000) < 100
    test[y] *= 2.5
    theirs = [-IsolationForest(random_state=s).fit(train).score_samples(test) for s in range(3)]
    ours = [grow_forest(train, seed=s).score(test) for s in range(3)]
    quality = [np.mean([auc(y, s) for s in scores]) for scores in (theirs, ours)]
    assert abs(quality[0] - quality[1]) < 0.01
    assert np.corrcoef(np.mean(theirs, axis=0), np.mean(ours, axis=0))[0, 1] > 0.99


def test_same_seed_same_forest_and_windows_are_flattened() -> None:
    windows = rows(60, 6).reshape(60, 3, 2)
    one, two = grow_forest(windows, trees=5, seed=4), grow_forest(windows, trees=5, seed=4)
    other = grow_forest(windows, trees=5, seed=5)
    assert np.array_equal(one.threshold, two.threshold)
    assert not np.array_equal(one.threshold, other.threshold)
    assert one.n_features == 6 and one.score(windows).shape == (60,)
    assert one.trees == 5 and one.score(np.empty((0, 6))).shape == (0,)


def test_bad_input_is_named() -> None:
    forest = grow_forest(rows(20), trees=2)
    with pytest.raises(DataError, match="made for 5 features, the rows have 4"):
        forest.score(rows(3, 4))
    with pytest.raises(DataError, match="row 1, column 2"):
        grow_forest(np.array([[0.0, 1, 2], [0, 1, np.nan]]))
    with pytest.raises(DataError, match="no rows"):
        grow_forest(np.empty((0, 3)))
    with pytest.raises(DataError, match="trees=0"):
        grow_forest(rows(5), trees=0)
    with pytest.raises(DataError, match="not a fitted IsolationForest"):
        from_sklearn(IsolationForest())
    shape = np.zeros((2, 3))
    with pytest.raises(DataError, match="2\\^\\(depth"):
        Forest(np.zeros((2, 4)), np.zeros((2, 4)), np.zeros((2, 4)), 3)
    with pytest.raises(DataError, match="same shape"):
        Forest(shape, np.zeros((2, 7)), shape, 3)
    with pytest.raises(DataError, match="asks for feature 3"):
        Forest(shape + 3, shape, shape, 3)
    with pytest.raises(DataError, match="as many weights"):
        Forest(shape, shape, shape, 3, np.array([1.0, -1.0]))


def test_thresholds_bound_the_values_and_lonely_leaves_single_rows_out() -> None:
    data = rows(30, 3)
    data[:, 2] = 1.0  # nobody can ask for a constant feature
    data[0] = 9.0, 9.0, 1.0
    forest = grow_forest(data, trees=40, sample=30)
    smallest, largest = value_bounds(forest)
    assert (data[:, :2].min(axis=0) <= smallest[:2]).all()
    assert (data[:, :2].max(axis=0) > largest[:2]).all() and (largest[:2] > 3).all()
    assert np.isnan(smallest[2]) and np.isnan(largest[2])
    found = singled_out(forest, data)
    assert found[0] and found.dtype == bool
    # With a second copy of every row nobody is alone in a box.
    assert not singled_out(forest, np.concatenate([data, data])).any()
