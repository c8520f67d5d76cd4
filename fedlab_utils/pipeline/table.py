"""Somebody's own data, read and checked. Taught in chapter 16.

    mapping = ColumnMapping(client="hospital", label="disease", categorical=("sex",))
    own = read_csv("my.csv", mapping)
    own.findings_table()

All checks here need the rows of one client at a time, or of the one file that somebody has; in a
consortium each member runs `read_csv` on its own file, and no row has to be shown to anybody.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.errors import DataError
from fedlab_utils.pipeline.findings import Finding, at_lines, near_matches, refuse_errors, some
from fedlab_utils.pipeline.mapping import ColumnMapping
from fedlab_utils.pipeline.parsing import categories, labels, missing_cells, numbers, times
from fedlab_utils.pipeline.reading import Cells, read_cells

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class OwnTable:
    """The rows of a file, by kind of column. n rows, p numeric and q categorical columns.

    Attributes:
        source: name of the file.
        mapping: what the columns are.
        client: [n] str.
        numeric: [n, p] float64, nan = missing.
        numeric_names: p names.
        categorical: [n, q] str, "" = missing.
        categorical_names: q names.
        label: [n] bool, True = anomaly; None without labels.
        time: [n] float64, seconds or the file's own numbers; None without a time column.
        lines: [n] int, lines of the file.
        findings: warnings and notes.
    """

    source: str
    mapping: ColumnMapping
    client: np.ndarray
    numeric: np.ndarray
    numeric_names: tuple[str, ...]
    categorical: np.ndarray
    categorical_names: tuple[str, ...]
    label: np.ndarray | None
    time: np.ndarray | None
    lines: np.ndarray
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def clients(self) -> tuple[str, ...]:
        """Names of the clients, in the order in which they first appear."""
        return tuple(dict.fromkeys(self.client.tolist()))

    def rows(self, chosen: np.ndarray) -> OwnTable:
        """The table of the chosen rows (indices or bool)."""
        parts = ("client", "numeric", "categorical", "lines")
        cut = {name: getattr(self, name)[chosen] for name in parts}
        for name in ("label", "time"):
            values = getattr(self, name)
            cut[name] = None if values is None else values[chosen]
        return replace(self, **cut)

    def describe(self) -> pd.DataFrame:
        """A pandas table, one row per client: rows, share of missing cells, known anomalies."""
        import pandas as pd

        found = {}
        for name in self.clients:
            mine = self.rows(self.client == name)
            cells = self.numeric.shape[1] + self.categorical.shape[1]
            absent = np.isnan(mine.numeric).sum() + (mine.categorical == "").sum()
            found[name] = {"rows": len(mine), "missing cells": absent / (len(mine) * cells)}
            if mine.label is not None:
                found[name]["anomalies"] = int(mine.label.sum())
                found[name]["prevalence"] = mine.label.mean()
        return pd.DataFrame.from_dict(found, orient="index").rename_axis("client")

    def findings_table(self) -> pd.DataFrame:
        """A pandas table of the findings, warnings first."""
        import pandas as pd

        ordered = sorted(self.findings, key=lambda f: ("error", "warning", "note").index(f.level))
        rows = [{"level": f.level, "about": f.about or "the file", "what": f.text} for f in ordered]
        return pd.DataFrame(rows, columns=["level", "about", "what"])


def read_csv(
    path: str | os.PathLike[str],
    mapping: ColumnMapping,
    *,
    separator: str | None = None,
    decimal: str = ".",
) -> OwnTable:
    """Read and check a CSV file with a client column.

    Args:
        path: the file, in UTF-8, names of the columns in its first line.
        mapping: what the columns are.
        separator: one character; None finds it: comma, semicolon, tabulator or bar.
        decimal: the decimal sign of the numbers.

    Raises DataError that lists everything that is wrong, with columns and lines: columns that are
    not there (with similar names), cells that are no numbers, rows without client, one class only,
    features without any value. What is odd, but possible, becomes a finding of the table: see
    `inspect`. Taught in chapter 16.
    """
    from fedlab_utils.pipeline.checks import inspect

    if decimal not in (".", ","):
        raise DataError(f"decimal={decimal!r} must be '.' or ','.")
    cells = read_cells(path, separator)
    source = os.path.basename(os.fspath(path))
    try:
        mapping.check(cells.header)
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    cells, left_out = _without(cells, mapping, source)
    numeric_names = mapping.numeric_of(cells.header)
    findings = list(left_out) + _clients_missing(cells, mapping)
    numeric = np.empty((len(cells), len(numeric_names)))
    for i, name in enumerate(numeric_names):
        column = cells.columns[name]
        numeric[:, i], found = numbers(name, column, mapping.missing_of(name), decimal, cells.lines)
        findings += found
    label = time = None
    if mapping.label is not None:
        label, found = labels(cells.columns[mapping.label], mapping, cells.lines)
        findings += found
    if mapping.time is not None:
        time, found = times(cells.columns[mapping.time], mapping, cells.lines)
        findings += found
    refuse_errors(source, findings)
    if unused := mapping.unused(cells.header):
        findings.append(Finding("note", "", f"columns that are not used: {some(unused)}."))
    texts = [
        categories(cells.columns[name], mapping.missing_of(name)) for name in mapping.categorical
    ]
    table = OwnTable(
        source=source,
        mapping=mapping,
        client=np.array(cells.columns[mapping.client], dtype=str),
        numeric=numeric,
        numeric_names=numeric_names,
        categorical=np.stack(texts, axis=1) if texts else np.empty((len(cells), 0), dtype=str),
        categorical_names=tuple(mapping.categorical),
        label=label,
        time=time,
        lines=cells.lines,
        findings=tuple(findings),
    )
    findings += inspect(table)
    refuse_errors(source, findings)
    return replace(table, findings=tuple(findings))


def _clients_missing(cells: Cells, mapping: ColumnMapping) -> list[Finding]:
    absent = missing_cells(cells.columns[mapping.client], mapping.missing)
    if not absent.any():
        return []
    text = f"client column {mapping.client!r}: no client at {at_lines(cells.lines[absent])}."
    return [Finding("error", mapping.client, text + " Fill it in, or delete these rows.")]


def _without(cells: Cells, mapping: ColumnMapping, source: str) -> tuple[Cells, list[Finding]]:
    """The cells without the clients in `leave_out`."""
    if not mapping.leave_out:
        return cells, []
    column = cells.columns[mapping.client]
    there = list(dict.fromkeys(column))
    for name in mapping.leave_out:
        if name not in there:
            raise DataError(
                f"{source}: leave_out= names {name!r}, which "
                f"is no client.{near_matches(name, there)} The column {mapping.client!r} has "
                f"{some(there)}."
            )
    keep = [i for i, name in enumerate(column) if name not in mapping.leave_out]
    if not keep:
        raise DataError(f"{source}: leave_out= leaves no row.")

    def kept(values: Sequence[str]) -> list[str]:
        return [values[i] for i in keep]

    columns = {name: kept(values) for name, values in cells.columns.items()}
    note = Finding("note", "", f"clients that were left out: {some(mapping.leave_out)}.")
    return Cells(cells.header, columns, cells.lines[keep]), [note]
