"""Columns as numbers, from counts and sums only. Taught in chapter 16.

What a client tells about its training rows, and to whom, is `ClientSummary`; everything else is
done at the client, with the `Encoding` that is made of the sums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedlab_utils.errors import DataError
from fedlab_utils.pipeline.table import OwnTable

OTHER = "(other)"
ABSENT = "(missing)"


@dataclass(frozen=True)
class ClientSummary:
    """A client's message about its training rows, so that all can encode rows in the same way.

    Attributes:
        rows: training rows.
        counts: [p] rows in which each numeric column has a value.
        sums: [p] sums of these values.
        frequent: categorical column -> {value: rows}, only for values that at least `min_count` of
            the client's rows have. A rare value may name a person, so it is not told. Columns with
            a public list of values are not in it.

    With few rows a sum tells much of each: `split_rows` asks for a least number of rows. All but
    `frequent` can be added up by a secure sum (chapter 07).
    """

    rows: int
    counts: np.ndarray
    sums: np.ndarray
    frequent: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, table: OwnTable, min_count: int = 10) -> ClientSummary:
        """Summarise one client's rows."""
        x = table.numeric
        frequent = {}
        for i, name in enumerate(table.categorical_names):
            if name not in table.mapping.categories:
                seen = Counter(_named(table.categorical[:, i]))
                frequent[name] = {v: c for v, c in seen.items() if c >= min_count}
        return cls(len(table), (~np.isnan(x)).sum(axis=0), np.nansum(x, axis=0), frequent)

    @property
    def told(self) -> int:
        """How many numbers the message has."""
        return 1 + 2 * len(self.counts) + sum(map(len, self.frequent.values()))


@dataclass(frozen=True)
class Encoding:
    """How every client turns its rows into numbers: the same for all.

    A number loses the federation's mean, and a missing one becomes 0: neither odd nor telling. A
    category becomes a column of 0 and 1 for each known value, and one for all others. Afterwards
    `Federation.standardised()` gives all columns variance 1.

    Attributes:
        numeric: column -> mean over the clients' training rows that have a value.
        categories: column -> the values with a column of their own, most frequent first.
    """

    numeric: Mapping[str, float]
    categories: Mapping[str, tuple[str, ...]]

    @classmethod
    def agree(cls, table: OwnTable, summaries: Sequence[ClientSummary], most: int = 30) -> Encoding:
        """Make it of the clients' messages, and of the public lists in the mapping.

        `most` values of a column get a column of their own. Raises DataError for a numeric column
        without any value in the training rows, and if fewer than two features come out.
        """
        counts = np.sum([summary.counts for summary in summaries], axis=0)
        sums = np.sum([summary.sums for summary in summaries], axis=0)
        empty = [name for name, c in zip(table.numeric_names, counts, strict=True) if c == 0]
        if empty:
            raise DataError(
                f"{table.source}: column {empty[0]!r} has no value in any row that trains; put it "
                f"into ignore=."
            )
        categories = {}
        for name in table.categorical_names:
            public = table.mapping.categories.get(name)
            total: Counter[str] = Counter()
            for summary in summaries:
                total.update(summary.frequent.get(name, {}))
            common = sorted(total, key=lambda value: (-total[value], value))[:most]
            categories[name] = tuple(public) if public is not None else tuple(common)
        means = dict(zip(table.numeric_names, (sums / counts).tolist(), strict=True))
        encoding = cls(means, categories)
        if len(encoding.features) < 2:
            raise DataError(
                f"{table.source}: only one feature is left ({encoding.features[0]!r}); a detector "
                f"of odd combinations needs two or more."
            )
        return encoding

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the d features."""
        names = list(self.numeric)
        for column, values in self.categories.items():
            names += [f"{column}={value}" for value in (*values, OTHER)]
        return tuple(names)

    def apply(self, table: OwnTable) -> np.ndarray:
        """A client's rows as float32 [n, d]."""
        mean = np.array(list(self.numeric.values()))
        x = table.numeric - mean
        # What rounding leaves of a constant must not be blown up by standardising.
        x[np.isnan(x) | (np.abs(x) <= 1e-12 * np.abs(mean))] = 0.0
        parts = [x]
        for i, values in enumerate(self.categories.values()):
            own = _named(table.categorical[:, i])
            known = own[:, None] == np.array(values, dtype=object)[None]
            parts.append(np.concatenate([known, ~known.any(axis=1, keepdims=True)], axis=1))
        return np.concatenate(parts, axis=1).astype(np.float32)


def _named(values: np.ndarray) -> np.ndarray:
    """Categories [n] with a name for missing ones."""
    return np.where(values == "", ABSENT, values).astype(object)
