"""How isolation trees grow, and scikit-learn's trees in our layout. Taught in chapter 10."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedlab_utils.detect.forest import Forest, flatten_rows
from fedlab_utils.errors import DataError

_FOREST = 0xF02E57


def grow_forest(X: np.ndarray, trees: int = 100, sample: int = 256, seed: int = 0) -> Forest:
    """Grow an isolation forest on rows X [n, d] (or windows [n, T, c], flattened).

    Each tree gets `sample` rows drawn without replacement (all, if there are fewer). A node
    draws a feature that is not constant there and a threshold between the smallest and the
    largest value. It ends when a row is alone, when all rows are equal, or at depth
    ceil(log2(sample)): who is not alone by then is not odd. Same seed, same forest.
    Raises DataError if there are no rows, or for trees < 1 or sample < 2.
    Source: Liu, Ting, Zhou, "Isolation Forest", ICDM 2008, https://doi.org/10.1109/ICDM.2008.17.
    Taught in chapter 10.
    """
    rows = flatten_rows(X)
    if not len(rows):
        raise DataError("grow_forest: there are no rows")
    if trees < 1 or sample < 2:
        raise DataError(f"grow_forest: trees={trees} must be >= 1 and sample={sample} >= 2")
    rng = np.random.default_rng([seed, _FOREST])
    sample = min(sample, len(rows))
    chosen = np.stack([rng.choice(len(rows), sample, replace=False) for _ in range(trees)])
    depth = max(1, int(np.ceil(np.log2(sample))))
    return _grow(rows[chosen], depth, rng)


def _grow(rows: np.ndarray, depth: int, rng: np.random.Generator) -> Forest:
    """Grow all trees level by level from their samples [T, sample, d]."""
    trees, sample, d = rows.shape
    nodes = 2 ** (depth + 1) - 1
    feature = np.full((trees, nodes), -1, dtype=np.int32)
    threshold, count = np.zeros((trees, nodes)), np.zeros((trees, nodes))
    values = rows.reshape(-1, d)
    place = np.repeat(np.arange(trees) * nodes, sample)  # the node of each row, trees one by one
    for level in range(depth + 1):
        order = np.argsort(place, kind="stable")
        values, place = values[order], place[order]
        first = np.flatnonzero(np.diff(place, prepend=-1))  # rows of a node stand together
        here, number = place[first], np.diff(first, append=len(place))
        count.ravel()[here] = number
        if level == depth:
            break
        low = np.minimum.reduceat(values, first).astype(np.float64)
        high = np.maximum.reduceat(values, first).astype(np.float64)
        # The largest of d random numbers picks a feature; constant ones do not take part.
        lottery = rng.random(low.shape) * (high > low)
        asked = lottery.argmax(axis=1)
        pick = np.arange(len(here)), asked
        cut = low[pick] + rng.random(len(here)) * (high[pick] - low[pick])
        cut = np.minimum(cut, np.nextafter(high[pick], -np.inf))
        splits = high[pick] > low[pick]
        feature.ravel()[here[splits]] = asked[splits]
        threshold.ravel()[here[splits]] = cut[splits]
        segment = np.repeat(np.arange(len(here)), number)
        goes_on = splits[segment]
        values, place, segment = values[goes_on], place[goes_on], segment[goes_on]
        if not len(place):
            break
        right = values[np.arange(len(values)), asked[segment]] > cut[segment]
        base = place // nodes * nodes
        place = base + 2 * (place - base) + 1 + right
    return Forest(feature, threshold, count, d)


def from_sklearn(estimator: Any) -> Forest:
    """Return a fitted scikit-learn IsolationForest as a `Forest` with the same trees.

    Its scores are minus the estimator's `score_samples`. Raises DataError for an estimator that
    is not fitted, or is not an isolation forest. Taught in chapter 10.
    """
    if not hasattr(estimator, "estimators_features_"):
        raise DataError(f"{type(estimator).__name__} is not a fitted IsolationForest")
    trees = [tree.tree_ for tree in estimator.estimators_]
    nodes = 2 ** (max(tree.max_depth for tree in trees) + 1) - 1
    shape = (len(trees), nodes)
    feature, threshold, count = np.full(shape, -1, np.int32), np.zeros(shape), np.zeros(shape)
    for t, (tree, names) in enumerate(zip(trees, estimator.estimators_features_, strict=True)):
        todo = [(0, 0)]  # (scikit-learn's number, ours)
        for theirs, ours in todo:
            count[t, ours] = tree.n_node_samples[theirs]
            if tree.children_left[theirs] >= 0:
                feature[t, ours] = names[tree.feature[theirs]]
                threshold[t, ours] = tree.threshold[theirs]
                todo.append((tree.children_left[theirs], 2 * ours + 1))
                todo.append((tree.children_right[theirs], 2 * ours + 2))
    # Each tree counts its sample; scikit-learn divides by c of the number it asked for.
    return Forest(feature, threshold, count, estimator.n_features_in_)
