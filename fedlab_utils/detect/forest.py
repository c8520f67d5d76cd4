"""Isolation forests as arrays: all trees side by side, no recursion. Taught in chapter 10.

Every tree is laid out like a heap: the children of node i are the nodes 2 i + 1 (value at or below
the threshold) and 2 i + 2 (above it). So a forest is three arrays [trees, nodes], and sending a
row down all trees takes one step of array arithmetic for each level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from fedlab_utils.detect.scores import check_rows
from fedlab_utils.errors import DataError

EULER_GAMMA = 0.5772156649015329  # numpy's value is the same; scikit-learn uses it too
ROWS = 1024  # scored at once: the node numbers of 100 trees then fit a core's cache


def average_path(count: np.ndarray | float) -> np.ndarray:
    """Return c(n), the mean depth at which a row is alone among n rows cut at random.

    c(n) = 2 H(n - 1) - 2 (n - 1) / n with H(m) = ln(m) + 0.5772 (as the paper and scikit-learn
    have it), c(2) = 1, c(1) = c(0) = 0. Between whole numbers, which occur where counts are scaled
    or noisy, it is a straight line. `count` any shape, the result is float64 of that shape.
    Source: Liu, Ting, Zhou, "Isolation Forest", ICDM 2008. Taught in chapter 10.
    """
    count = np.maximum(np.asarray(count, dtype=np.float64), 0.0)
    below = np.floor(count)
    return _whole(below) + (count - below) * (_whole(below + 1) - _whole(below))


def _whole(n: np.ndarray) -> np.ndarray:
    many = np.maximum(n, 3.0)
    formula = 2.0 * (np.log(many - 1.0) + EULER_GAMMA) - 2.0 * (many - 1.0) / many
    return np.where(n <= 1, 0.0, np.where(n <= 2, 1.0, formula))


@dataclass(frozen=True, eq=False)
class Forest:
    """An isolation forest: a detector, and a message that can be looked at.

    Attributes:
        feature: [T, M] int32, the feature that a node asks for; -1 where the tree ends.
        threshold: [T, M] float64; rows with a value at or below it go left.
        count: [T, M] float64, training rows that came to the node; count[:, 0] is the sample.
        n_features: d.
        weight: [T] each tree's say; None means equal.

    M is 2^(depth + 1) - 1. Raises DataError for arrays that do not fit together.
    Taught in chapter 10.
    """

    feature: np.ndarray
    threshold: np.ndarray
    count: np.ndarray
    n_features: int
    weight: np.ndarray | None = None
    _end: np.ndarray = field(init=False, repr=False)
    _path: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shape = np.shape(self.feature)
        if len(shape) != 2 or 0 in shape or (shape[1] + 1) & shape[1]:
            raise DataError(
                f"a forest needs arrays [trees, 2^(depth + 1) - 1], got the shape {list(shape)}"
            )
        if np.shape(self.threshold) != shape or np.shape(self.count) != shape:
            raise DataError("feature, threshold and count of a forest must have the same shape")
        if np.max(self.feature) >= self.n_features:
            raise DataError(
                f"a node asks for feature {int(np.max(self.feature))}, but there are only "
                f"{self.n_features}"
            )
        weight = np.ones(shape[0]) if self.weight is None else np.asarray(self.weight, float)
        if weight.shape != shape[:1] or (weight < 0).any() or not weight.sum() > 0:
            raise DataError(f"a forest of {shape[0]} trees needs as many weights, not negative")
        object.__setattr__(self, "weight", weight / weight.sum())
        object.__setattr__(self, "_end", _ends(np.asarray(self.feature)))
        # A row that ends among n others would have been alone some c(n) cuts later.
        object.__setattr__(self, "_path", levels(shape[1]) + average_path(self.count))

    @property
    def trees(self) -> int:
        """How many trees there are."""
        return len(self.feature)

    @property
    def depth(self) -> int:
        """The largest number of cuts on a path."""
        return self.feature.shape[1].bit_length() - 1

    def leaves(self, X: np.ndarray) -> np.ndarray:
        """Return the node in which each row ends, X [n, d] -> int32 [n, T]."""
        rows, inner = flat_rows(X, self.n_features), self.feature.shape[1] // 2
        # All rows go to the last level; where a tree ends earlier, any way down will do.
        feature, threshold = np.maximum(self.feature[:, :inner], 0), self.threshold[:, :inner]
        ends, tree = np.empty((len(rows), self.trees), np.int32), np.arange(self.trees)
        for start in range(0, len(rows), ROWS):
            part = slice(start, start + ROWS)
            ends[part] = self._end[tree, descend(feature, threshold, rows[part]).T]
        return ends

    def path_lengths(self, X: np.ndarray) -> np.ndarray:
        """Return the cuts until each row is alone, X [n, d] -> float64 [n, T].

        Where a tree ends early, the c(count) cuts that are still to be expected are added.
        """
        return self._path[np.arange(self.trees), self.leaves(X)]

    def score(self, X: np.ndarray, /) -> np.ndarray:
        """Return the anomaly score of each row, X [n, d] or [n, T, c] -> [n], between 0 and 1.

        2 to the power of minus the weighted mean of path length / c(sample): 0.5 for a path as
        long as expected, near 1 for a row that is alone after few cuts.
        """
        expected = average_path(self.count[:, 0])
        share = self.weight / np.where(expected > 0, expected, 1.0)
        return np.exp2(-self.path_lengths(X) @ share)

    @staticmethod
    def score_edges() -> np.ndarray:
        """Return bin edges for a histogram of the scores, which lie between 0 and 1."""
        return np.linspace(0.0, 1.0, 1001)


def levels(nodes: int) -> np.ndarray:
    """Return the depth of each node of the heap layout, [nodes]. Taught in chapter 10."""
    return np.floor(np.log2(np.arange(1, nodes + 1))).astype(int)


def descend(feature: np.ndarray, threshold: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Send rows [n, d] down complete trees, all at once; returns nodes of the last level [T, n].

    `feature` and `threshold` are those of the inner nodes, [T, 2^depth - 1]. Taught in chapter 10.
    """
    trees, inner = feature.shape
    ask, cut, values = feature.ravel().astype(np.intp), threshold.ravel(), rows.ravel()
    first = np.arange(trees)[:, None] * inner  # where each tree begins in the flat arrays
    row_start = np.arange(len(rows)) * rows.shape[1]
    node = np.zeros((trees, len(rows)), dtype=np.intp)
    here, where = np.empty_like(node), np.empty_like(node)
    value, limit = np.empty(node.shape, rows.dtype), np.empty(node.shape)
    for _ in range((inner + 1).bit_length() - 1):
        np.add(node, first, out=here)
        # mode="clip" skips a check of each index, which would take longer than the lookup
        np.take(ask, here, out=where, mode="clip")
        where += row_start
        np.take(values, where, out=value, mode="clip")
        np.take(cut, here, out=limit, mode="clip")
        node *= 2
        node += 1
        node += value > limit
    return node


def _ends(feature: np.ndarray) -> np.ndarray:
    """[T, M] the node at which a row that would come to a node has really ended."""
    trees, nodes = feature.shape
    end = np.tile(np.arange(nodes, dtype=np.int32), (trees, 1))
    for start in (2**level - 1 for level in range(nodes.bit_length() - 1)):
        parent = np.arange(start, 2 * start + 1)
        over = (feature[:, parent] < 0) | (end[:, parent] != parent)
        for side in (1, 2):
            child = 2 * parent + side
            end[:, child] = np.where(over, end[:, parent], end[:, child])
    return end


def flatten_rows(X: np.ndarray) -> np.ndarray:
    """Return rows, or windows laid flat, as float32 [n, d]. Taught in chapter 10."""
    rows = check_rows(X)
    # float32, because that is how scikit-learn compares
    return rows.reshape(len(rows), math.prod(rows.shape[1:])).astype(np.float32)


def flat_rows(X: np.ndarray, n_features: int) -> np.ndarray:
    """Return rows or windows as float32 [n, d], or raise DataError. Taught in chapter 10."""
    rows = flatten_rows(X)
    if rows.shape[1] != n_features:
        raise DataError(
            f"the forest was made for {n_features} features, the rows have {rows.shape[1]}"
        )
    return rows
