"""A CSV file as columns of text, with the line of the file for each row. Taught in chapter 16."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedlab_utils.errors import DataError
from fedlab_utils.pipeline.findings import at_lines, near_matches

SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a file, as they are written, without blanks at their ends.

    Attributes:
        header: names of the columns.
        columns: name -> its cells [n].
        lines: [n] int, the line of the file on which a row ends; the header is on line 1.
    """

    header: tuple[str, ...]
    columns: dict[str, list[str]]
    lines: np.ndarray

    def __len__(self) -> int:
        return len(self.lines)


def read_cells(path: str | os.PathLike[str], separator: str | None = None) -> Cells:
    """Read a CSV file (UTF-8, first line with names). `separator` None finds it in the header.

    Raises DataError for a file that is not there (with similar names), is empty, is not text or
    not a table: rows of another length, columns with the same name, quotes that do not end.
    """
    file = Path(path)
    text = _text(file)
    first = text.split("\n", 1)[0]
    if separator is None:
        separator = max(SEPARATORS, key=first.count) if any(s in first for s in SEPARATORS) else ","
    elif len(separator) != 1 or separator in '"\r\n':
        raise DataError(f"separator={separator!r} must be one character, such as ',' or ';'.")
    rows, lines = _records(text, separator, file.name)
    if not rows:
        raise DataError(f"{file.name}: the file is empty; its first line must name the columns.")
    header = tuple(
        name.strip() or f"(column {number})" for number, name in enumerate(rows[0], start=1)
    )
    if double := [name for name, count in Counter(header).items() if count > 1]:
        raise DataError(
            f"{file.name}: {len(double)} column name(s) occur more than once, first {double[0]!r}. "
            f"Rename them."
        )
    body, at = rows[1:], np.array(lines[1:], dtype=np.int64)
    uneven = np.array([len(row) != len(header) for row in body], dtype=bool)
    if uneven.any():
        found = len(body[int(uneven.argmax())])
        raise DataError(
            f"{file.name}: the header has {len(header)} column(s), separated by {separator!r}, but "
            f"{at_lines(at[uneven])} differ(s), the first with {found}. Another separator= , or a "
            f"separator inside a cell without quotes?"
        )
    if not body:
        raise DataError(f"{file.name}: there are names of columns, and no row below them.")
    cells = list(zip(*body, strict=True))
    columns = {
        name: [cell.strip() for cell in column] for name, column in zip(header, cells, strict=True)
    }
    return Cells(header, columns, at)


def _text(file: Path) -> str:
    """The file's text, line ends unified. Raises DataError."""
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        folder = file.parent
        there = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        hint = near_matches(file.name, there) or f" The folder is {str(folder)!r}."
        raise DataError(f"there is no file {str(file)!r}.{hint}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{str(file)!r} cannot be read: {error}") from error
    if raw[:2] in (b"PK", b"\x1f\x8b"):
        raise DataError(
            f"{file.name}: this is not text but a packed file (a spreadsheet or an archive). "
            f"Unpack it, or save it as CSV."
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{file.name}: line {line} is not UTF-8 text ({error.reason}). Save the file as CSV in "
            f"UTF-8."
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _records(text: str, separator: str, name: str) -> tuple[list[list[str]], list[int]]:
    """The rows that are not blank, and the line on which each ends."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, lines = [], []
    try:
        for row in reader:
            if row and (len(row) > 1 or row[0].strip()):
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(
            f"{name}: line {reader.line_num} is not CSV ({error}). A quote that does not end?"
        ) from error
    return rows, lines
