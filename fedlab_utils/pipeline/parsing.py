"""Cells as numbers, categories, labels and times. Taught in chapter 16."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedlab_utils.pipeline.findings import Finding, at_lines, either, near_matches, some
from fedlab_utils.pipeline.mapping import ANOMALY_WORDS, NORMAL_WORDS, ColumnMapping

# Squares of larger numbers could not be added up any more.
LARGEST = 1e30
Findings = list[Finding]


def missing_cells(cells: Sequence[str], missing: Sequence[str]) -> np.ndarray:
    """[n] bool: which cells mean "no value"; see `ColumnMapping.missing`."""
    words = {word.casefold() for word in missing} | {""}
    return np.array([cell.casefold() in words for cell in cells], dtype=bool)


def numbers(
    name: str, cells: Sequence[str], missing: Sequence[str], decimal: str, lines: np.ndarray
) -> tuple[np.ndarray, Findings]:
    """Cells as float64 [n], nan for missing ones; cells that are no numbers are errors."""
    absent = missing_cells(cells, missing)
    values = np.full(len(cells), np.nan)
    wrong = np.zeros(len(cells), dtype=bool)
    for i in np.flatnonzero(~absent).tolist():
        try:
            values[i] = _number(cells[i], decimal)
        except ValueError:
            wrong[i] = True
    # "inf", "1e400", and numbers whose squares cannot be added up
    far = ~absent & ~wrong & ~(np.abs(values) <= LARGEST)
    found = []
    if wrong.any():
        found.append(Finding("error", name, _not_numbers(name, cells, wrong, absent, lines)))
    if far.any():
        first = cells[int(far.argmax())]
        found.append(
            Finding(
                "error",
                name,
                f"column {name!r}: {first!r} is not a finite number of reasonable size, at "
                f"{at_lines(lines[far])}. Correct it, or leave the cell empty.",
            )
        )
    values[far] = np.nan
    return values, found


def _number(cell: str, decimal: str) -> float:
    """Stricter than `float`: no 1_000, and no point where the decimal sign is a comma."""
    if "_" in cell or (decimal == "," and "." in cell):
        raise ValueError(cell)
    return float(cell.replace(decimal, "."))


def _not_numbers(
    name: str, cells: Sequence[str], wrong: np.ndarray, absent: np.ndarray, lines: np.ndarray
) -> str:
    """What is wrong with a column of numbers, and the advice that fits."""
    kinds = list(dict.fromkeys(cells[i] for i in np.flatnonzero(wrong).tolist()))
    text = (
        f"column {name!r} should hold numbers, but has {some([repr(kind[:40]) for kind in kinds])} "
        f"at {at_lines(lines[wrong])}. "
    )
    for sign, name_of in ((",", "commas"), (".", "points")):
        if all(kind.replace(sign, "", 1).lstrip("+-").isdigit() for kind in kinds):
            return text + f'Decimal {name_of}? Read the file with decimal="{sign}".'
    if wrong.sum() > 0.5 * (~absent).sum():
        return text + f"Is it a category? Then put {name!r} into categorical=, or into ignore=."
    return text + "Correct these cells, or name what stands for a missing value in missing=."


def categories(cells: Sequence[str], missing: Sequence[str]) -> np.ndarray:
    """Cells as text [n], "" for missing ones."""
    values = np.array(cells, dtype=object)
    values[missing_cells(cells, missing)] = ""
    return values.astype(str) if len(values) else np.empty(0, dtype=str)


def labels(
    cells: Sequence[str], mapping: ColumnMapping, lines: np.ndarray
) -> tuple[np.ndarray, Findings]:
    """Cells of the label column as bool [n], True = anomaly. Missing or unknown ones are errors."""
    name = mapping.label
    assert name is not None
    none = np.zeros(len(cells), dtype=bool)
    absent = missing_cells(cells, [w for w in mapping.missing if w not in (mapping.anomaly or ())])
    if absent.any():
        text = (
            f"label column {name!r}: no label at {at_lines(lines[absent])}. Fill in or delete "
            f"these rows, or set label=None and go on without labels."
        )
        return none, [Finding("error", name, text)]
    kinds = sorted(set(cells))
    if mapping.anomaly is not None:
        if unknown := [value for value in mapping.anomaly if value not in kinds]:
            text = (
                f"label column {name!r}: the value {unknown[0]!r} of anomaly= does not occur."
                f"{near_matches(unknown[0], kinds)} It has {some([repr(k) for k in kinds])}."
            )
            return none, [Finding("error", name, text)]
        y = np.isin(np.array(cells, dtype=object), mapping.anomaly)
    else:
        folded = [cell.casefold() for cell in cells]
        if strange := sorted({c for c in folded if c not in NORMAL_WORDS + ANOMALY_WORDS}):
            text = (
                f"label column {name!r} has {some([repr(k) for k in strange])}; which values mean "
                f"an anomaly? Say it with anomaly=[...]."
            )
            return none, [Finding("error", name, text)]
        y = np.array([cell in ANOMALY_WORDS for cell in folded], dtype=bool)
    if y.all() or not y.any():
        text = (
            f"label column {name!r} has one class only: every row is "
            f"{'an anomaly' if y.all() else 'normal'} ({either(kinds[:5])}). Nothing can be tested "
            f"with it: set label=None and go on without labels, or check anomaly=."
        )
        return y, [Finding("error", name, text)]
    return y, []


def times(
    cells: Sequence[str], mapping: ColumnMapping, lines: np.ndarray
) -> tuple[np.ndarray, Findings]:
    """Cells of the time column as float64 [n]: numbers as they are, dates as seconds since 1970."""
    import pandas as pd

    name = mapping.time
    assert name is not None
    absent = missing_cells(cells, mapping.missing)
    if mapping.time_format is None:
        values = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").to_numpy(float)
        if np.isfinite(values).all():
            return values, []
    try:
        parsed = pd.to_datetime(
            pd.Series(cells, dtype=object).mask(absent),
            format=mapping.time_format or "ISO8601",
            errors="coerce",
            utc=True,
        )
    except (ValueError, OverflowError, TypeError) as error:
        text = f"time column {name!r}: time_format={mapping.time_format!r} cannot be used: {error}"
        return np.zeros(len(cells)), [Finding("error", name, text)]
    wrong = parsed.isna().to_numpy()
    if wrong.any():
        first = cells[int(wrong.argmax())]
        wanted = (
            "numbers, or ISO 8601 dates such as 2026-11-26 14:30; for others give time_format="
            if mapping.time_format is None
            else f"dates like {mapping.time_format!r}"
        )
        text = (
            f"time column {name!r}: {first[:40]!r} at {at_lines(lines[wrong])} is no time. "
            f"Expected are {wanted}."
        )
        return np.zeros(len(cells)), [Finding("error", name, text)]
    since = (parsed - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    return since.to_numpy(float), []
