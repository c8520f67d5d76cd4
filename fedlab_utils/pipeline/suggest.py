"""A first guess of what the columns of a file are. Taught in chapter 16."""

from __future__ import annotations

import os

import numpy as np

from fedlab_utils.errors import DataError
from fedlab_utils.pipeline.findings import near_matches, some
from fedlab_utils.pipeline.mapping import MISSING, ColumnMapping
from fedlab_utils.pipeline.parsing import missing_cells, numbers
from fedlab_utils.pipeline.reading import read_cells

FEW = 20  # different texts that still look like categories


def suggest_mapping(
    path: str | os.PathLike[str],
    client: str,
    *,
    label: str | None = None,
    time: str | None = None,
    separator: str | None = None,
    decimal: str = ".",
) -> ColumnMapping:
    """Guess the kinds of all other columns from their cells; print it, read it, correct it.

    Numbers become `numeric`; texts with at most 20 different values `categorical`; columns without
    a value, whole numbers that are all different, and texts with more values go to `ignore`. What
    a guess cannot know is which columns are filled in only after an anomaly was found.

    Raises DataError as `read_csv` does. Taught in chapter 16.
    """
    cells = read_cells(path, separator)
    for name in (client, label, time):
        if name is not None and name not in cells.header:
            raise DataError(
                f"{os.path.basename(os.fspath(path))}: there is no column {name!r}."
                f"{near_matches(name, cells.header)} The file has {some(cells.header)}."
            )
    found: dict[str, list[str]] = {"numeric": [], "categorical": [], "ignore": []}
    for name in cells.header:
        if name not in (client, label, time):
            found[_kind(name, cells.columns[name], decimal, cells.lines)].append(name)
    numeric, categorical, ignore = found["numeric"], found["categorical"], found["ignore"]
    return ColumnMapping(
        client, label, time=time, numeric=numeric, categorical=categorical, ignore=ignore
    )


def _kind(name: str, column: list[str], decimal: str, lines: np.ndarray) -> str:
    there = [c for c, gone in zip(column, missing_cells(column, MISSING), strict=True) if not gone]
    if not there:
        return "ignore"
    _, wrong = numbers(name, there, (), decimal, lines[: len(there)])
    different = len(set(there))
    if wrong:
        return "categorical" if different <= FEW else "ignore"
    whole = all(cell.lstrip("+-").isdigit() for cell in there)
    return "ignore" if whole and different == len(there) > FEW else "numeric"
