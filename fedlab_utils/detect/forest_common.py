"""A forest that no row has shaped: common random cuts, and counts added up. Taught in chapter 10.

Everybody draws the same trees from a common seed and a range for each feature. A client counts how
many of its rows end in each leaf. The sum of these counts, and nothing else, makes a forest: where
few rows end, a row is odd.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedlab_utils.data.federation import Federation
from fedlab_utils.detect.forest import ROWS, Forest, descend, flat_rows
from fedlab_utils.detect.forest_ranges import RangeHistograms
from fedlab_utils.errors import DataError
from fedlab_utils.federate.aggregators import (
    Aggregator,
    Mean,
    RoundAggregator,
    RoundContext,
    aggregate,
    first_memory,
)

if TYPE_CHECKING:
    from fedlab_utils.detect.forest_private import CountNoise

_COMMON = 0xC0330
_RANGES, _LEAVES = 0, 1  # rounds of a secure sum must have different numbers


@dataclass(frozen=True, eq=False)
class CommonTrees:
    """Complete trees whose cuts nobody's rows have shaped: public, before any counting.

    Attributes:
        feature: [T, 2^depth - 1] int32, the feature that each inner node asks for.
        threshold: [T, 2^depth - 1] float64; rows with a value at or below it go left.
        n_features: d.

    Taught in chapter 10.
    """

    feature: np.ndarray
    threshold: np.ndarray
    n_features: int

    @classmethod
    def draw(
        cls, low: np.ndarray, high: np.ndarray, trees: int = 100, depth: int = 8, seed: int = 0
    ) -> CommonTrees:
        """Draw trees in the box from low [d] to high [d].

        Each node draws a feature, and a threshold anywhere between the ends that the cuts above
        it have left of that feature's range. Rows outside of the box fall into outer leaves. Same
        box and seed, same trees. Raises DataError unless low < high can be said of a feature, and
        low <= high of all, or for trees or depth below 1 (depth above 16).
        """
        low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        sane = low.ndim == 1 and low.shape == high.shape and np.isfinite(high - low).all()
        if not (sane and (low <= high).all() and (low < high).any()):
            raise DataError("CommonTrees: give finite low <= high of equal length [d], not all =")
        if trees < 1 or not 1 <= depth <= 16:
            raise DataError(f"CommonTrees: trees={trees} must be >= 1, depth={depth} from 1 to 16")
        rng = np.random.default_rng([seed, _COMMON])
        inner = 2**depth - 1
        varies = np.flatnonzero(low < high)
        feature = varies[rng.integers(len(varies), size=(trees, inner))].astype(np.int32)
        share = rng.random((trees, inner))
        threshold = np.empty((trees, inner))
        tree = np.arange(trees)
        ends = np.empty((2, trees, inner, len(low)))  # of the box of each node
        ends[0, :, 0], ends[1, :, 0] = low, high
        for node in range(inner):
            asked = feature[:, node]
            left, right = ends[:, tree, node, asked]
            threshold[:, node] = left + share[:, node] * (right - left)
            for child, end in ((2 * node + 1, 1), (2 * node + 2, 0)):
                if child < inner:
                    ends[:, :, child] = ends[:, :, node]
                    ends[end, tree, child, asked] = threshold[:, node]
        return cls(feature, threshold, len(low))

    @property
    def leaves(self) -> int:
        """Leaves of one tree, 2^depth."""
        return self.feature.shape[1] + 1

    def counts(self, X: np.ndarray) -> np.ndarray:
        """A client's message: how many rows [n, d] end in each leaf, int64 [T * leaves].

        A row adds 1 in one leaf of each tree: sensitivity T in L1, sqrt(T) in L2.
        """
        rows, trees = flat_rows(X, self.n_features), len(self.feature)
        total = np.zeros(trees * self.leaves, dtype=np.int64)
        base = np.arange(trees)[:, None] * self.leaves - (self.leaves - 1)
        for start in range(0, len(rows), ROWS):
            ends = descend(self.feature, self.threshold, rows[start : start + ROWS]) + base
            total += np.bincount(ends.ravel(), minlength=total.size)
        return total

    def forest(self, counts: np.ndarray, sample: int = 256) -> Forest:
        """The detector of summed counts [T * leaves], which may be noisy.

        Counts are scaled to `sample` rows per tree, and a tree ends where no more than one row of
        such a sample is to be expected, as an isolation tree ends where a row is alone. Only the
        proportions of the counts matter. Raises DataError for counts that do not fit, or that
        add up to nothing.
        """
        trees, inner = self.feature.shape
        counts = np.asarray(counts, dtype=np.float64)
        if counts.shape != (trees * self.leaves,) or not np.isfinite(counts).all():
            raise DataError(
                f"CommonTrees: expected {trees * self.leaves} counts, got the shape "
                f"{list(counts.shape)}, or a count is not finite"
            )
        level = counts.reshape(trees, self.leaves)
        levels = [level]
        while level.shape[1] > 1:
            level = level[:, ::2] + level[:, 1::2]
            levels.append(level)
        rows = float(level.mean())  # every tree saw the same rows; noise differs
        if rows <= 0:
            raise DataError("CommonTrees: the counts add up to nothing: no rows, or all noise")
        number = np.concatenate(levels[::-1], axis=1) * (sample / rows)
        number[:, 0] = sample
        ends = np.concatenate([number[:, :inner] <= 1, np.ones_like(levels[0], bool)], axis=1)
        feature = np.concatenate([self.feature, np.zeros(levels[0].shape, np.int32)], axis=1)
        threshold = np.concatenate([self.threshold, np.zeros(levels[0].shape)], axis=1)
        feature = np.where(ends, -1, feature).astype(np.int32)
        return Forest(feature, threshold, np.maximum(number, 0), self.n_features)


def add_counts(
    messages: Sequence[np.ndarray],
    names: Sequence[str],
    aggregator: Aggregator | RoundAggregator | None = None,
    seed: int = 0,
    round_: int = 0,
) -> np.ndarray:
    """Add the clients' counts [K] of [L] to one float64 [L], through any aggregator of `fit`.

    The sum is K times the unweighted mean, so the aggregator must make one: `Mean(weighted=False)`
    (the default, which shows the server each client's counts) or
    `SecureMean(weighted=False, fraction_bits=0)`, which shows it the sum. If clients drop
    out of a secure sum, the result is their number short, and proportions are still right.
    Raises DataError for messages of different lengths. Taught in chapter 10.
    """
    if len({np.shape(message) for message in messages}) != 1 or len(names) != len(messages):
        raise DataError("add_counts: every client must send equally many counts, with its name")
    matrix = torch.from_numpy(np.stack(messages).astype(np.float64))
    aggregator = aggregator or Mean(weighted=False)
    memory = first_memory(aggregator, matrix.shape[1])
    context = RoundContext(seed, round_, tuple(names), len(names))
    mean = aggregate(aggregator, matrix, torch.ones(len(matrix)), memory, context).update
    return len(matrix) * mean.double().numpy()


def grow_common(
    federation: Federation,
    *,
    trees: int = 100,
    depth: int = 8,
    sample: int = 256,
    ranges: tuple[np.ndarray, np.ndarray] | RangeHistograms | None = None,
    aggregator: Aggregator | RoundAggregator | None = None,
    noise: CountNoise | None = None,
    seed: int = 0,
) -> Forest:
    """Make a forest of common cuts for a standardised federation; only counts leave a client.

    Two sums: of histograms, for the ranges, and of leaf counts.

    Args:
        ranges: (low, high) [d] that are public already, such as `fixed_ranges(d)`; or how to make
            histograms. None means `RangeHistograms()`.
        aggregator: how counts are added up, see `add_counts`.
        noise: differential privacy for the leaf counts; then `ranges` must be public already,
            because the noise does not cover histograms.

    Raises DataError. Taught in chapter 10.
    """
    ranges = ranges or RangeHistograms()
    if isinstance(ranges, RangeHistograms):
        if noise is not None:
            raise DataError(
                "grow_common: the noise protects the leaf counts only, but the ranges come from "
                "histograms of the rows; give public ranges, e.g. fixed_ranges(n_features)"
            )
        histograms = [ranges.counts(client.x_train) for client in federation]
        total = add_counts(histograms, federation.names, aggregator, seed, _RANGES)
        low, high = ranges.ranges(total)
    else:
        low, high = ranges
    common = CommonTrees.draw(low, high, trees, depth, seed)
    messages = [common.counts(client.x_train) for client in federation]
    if noise is not None:
        messages = noise.add(messages, federation.names, seed)
    return common.forest(add_counts(messages, federation.names, aggregator, seed, _LEAVES), sample)
