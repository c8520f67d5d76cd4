"""What the trees of a client tell about its rows. Taught in chapter 10.

Every threshold lies between two values of the client, and a leaf that holds a single row is a box
drawn around that row.
"""

from __future__ import annotations

import numpy as np

from fedlab_utils.detect.forest import Forest, flat_rows


def value_bounds(forest: Forest) -> tuple[np.ndarray, np.ndarray]:
    """Return what the thresholds prove about the extreme values of each feature, both [d].

    The client has a row at or below `smallest` and a row above `largest`: each node has rows on
    both sides. nan for a feature that no node asks for. Taught in chapter 10.
    """
    asks = forest.feature >= 0
    feature, threshold = forest.feature[asks], forest.threshold[asks]
    smallest = np.full(forest.n_features, np.inf)
    largest = np.full(forest.n_features, -np.inf)
    np.minimum.at(smallest, feature, threshold)
    np.maximum.at(largest, feature, threshold)
    unknown = smallest > largest
    return np.where(unknown, np.nan, smallest), np.where(unknown, np.nan, largest)


def singled_out(forest: Forest, X: np.ndarray) -> np.ndarray:
    """Say which of a client's rows [n, d] the forest singles out, bool [n].

    A leaf with a count of 1 says "exactly one row of this tree's sample lies in this box". Where
    exactly one of *all* rows lies in it, the box describes a single record: it is singled out,
    in the words of European data protection (Article 29 Working Party, Opinion 05/2014,
    https://ec.europa.eu/justice/article-29/documentation/opinion-recommendation/files/2014/wp216_en.pdf).
    Whoever has only the trees does not know for sure which of the leaves do so.
    Taught in chapter 10.
    """
    rows = flat_rows(X, forest.n_features)
    ends = forest.leaves(rows)
    alone = np.zeros(len(rows), dtype=bool)
    for tree, places in enumerate(ends.T):
        number = np.bincount(places, minlength=forest.feature.shape[1])
        alone |= (number[places] == 1) & (forest.count[tree, places] == 1)
    return alone
