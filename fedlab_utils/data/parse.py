"""Reading text tables with errors that name file, line and column."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def read_table(
    source: Path | io.StringIO,
    columns: Sequence[str],
    *,
    text: Sequence[str] = (),
    separator: str = ",",
    where: str = "",
    first_line: int = 1,
) -> pd.DataFrame:
    """Read delimited text whose columns are known and that has no header.

    Args:
        source: a file, or text whose origin `where` and `first_line` tell.
        columns: the names of all columns, in order.
        text: those of them that stay text; the others must be finite numbers.
        separator: "," or a regular expression.
        where: what errors call the source; the path if it is one.
        first_line: line number of the first row in errors.

    Raises DataError that names file, line and column for an empty file, a line with too few or
    too many fields, and a value that is missing or not a finite number.
    """
    import pandas as pd

    if isinstance(source, Path):
        where = str(source)
        source = io.StringIO(source.read_text(encoding="utf-8", errors="replace"))
    _check_first_line(source, len(columns), separator, where, first_line)
    try:
        data = pd.read_csv(
            source,
            header=None,
            names=list(columns),
            index_col=False,
            sep=separator,
            dtype=dict.fromkeys(text, str),
            keep_default_na=False,
            na_values=[""],
            skip_blank_lines=False,  # keeps the line numbers of errors right
            low_memory=False,
        )
    except pd.errors.ParserError as error:
        raise DataError(
            f"{where}: cannot be read as {len(columns)} columns (counting from line {first_line}: "
            f"{error}). The file is damaged or another one; delete it and load again."
        ) from error
    for name in columns:
        column = data[name]
        if name in text:
            bad = column.isna().to_numpy()
        else:
            if not pd.api.types.is_numeric_dtype(column):
                column = data[name] = pd.to_numeric(column, errors="coerce")
            bad = ~np.isfinite(column.to_numpy(dtype=float))
        if bad.any():
            line = first_line + int(bad.argmax())
            raise DataError(
                f"{where}, line {line}, column {name!r}: the value is missing or not a finite "
                f"number ({int(bad.sum())} such line(s)). The file is damaged or cut off; delete "
                f"it and load again."
            )
    return data


def _check_first_line(
    source: io.StringIO, expected: int, separator: str, where: str, number: int
) -> None:
    """pandas would silently drop surplus fields of the first line."""
    line = source.readline().strip()
    source.seek(0)
    if not line:
        raise DataError(f"{where} has no data (line {number} is empty). Delete it and load again.")
    found = len(re.split(separator, line))
    if found != expected:
        raise DataError(
            f"{where}, line {number}: {found} columns instead of {expected}. This is another file "
            f"or another version of it."
        )


def one_hot(values: np.ndarray, vocabulary: Sequence[str], where: str) -> np.ndarray:
    """[n, len(vocabulary)] float32 of 0 and 1, one column per word of a fixed, public vocabulary.

    Fixed, because a vocabulary collected from the data would tell who has which value, and would
    differ between clients. Raises DataError for a word that is not in it.
    """
    coded = np.asarray(values)[:, None] == np.asarray(vocabulary)[None, :]
    unknown = ~coded.any(axis=1)
    if unknown.any():
        row = int(unknown.argmax())
        raise DataError(
            f"{where}, line {row + 1}: unknown value {str(values[row])!r}; known are "
            f"{', '.join(vocabulary)}."
        )
    return coded.astype(np.float32)
