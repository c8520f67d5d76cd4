"""What is wrong, or odd, in somebody's file. Taught in chapter 16."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedlab_utils.errors import DataError

Level = Literal["error", "warning", "note"]
SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One thing that was noticed.

    Attributes:
        level: "error" (nothing can be done with the file as it is), "warning" (the results may
            mean something else than they seem to), or "note" (what was done with the data).
        about: the column or client, or "" for the file.
        text: what, where (line numbers of the file, the header is line 1), and what to do.
    """

    level: Level
    about: str
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {self.text}"


def refuse_errors(source: str, findings: Iterable[Finding]) -> None:
    """Raise one DataError that lists all errors among the findings; return if there are none."""
    errors = [finding.text for finding in findings if finding.level == "error"]
    if len(errors) == 1:
        raise DataError(f"{source}: {errors[0]}")
    if errors:
        listed = "\n".join(f"  {number}. {text}" for number, text in enumerate(errors, start=1))
        raise DataError(f"{source}: {len(errors)} things must be put right:\n{listed}")


def near_matches(wanted: str, known: Sequence[str]) -> str:
    """ " Did you mean 'x' or 'y'?", or "" if nothing is similar; case does not matter."""
    folded = {name.casefold(): name for name in reversed(known)}
    close = difflib.get_close_matches(wanted.casefold(), list(folded), n=3, cutoff=0.6)
    return f" Did you mean {either(folded[name] for name in close)}?" if close else ""


def either(names: Iterable[str]) -> str:
    """'a', 'b' or 'c'."""
    quoted = [repr(name) for name in names]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def some(items: Sequence[object]) -> str:
    """The first few, and how many more."""
    shown = ", ".join(str(item) for item in items[:SHOWN])
    return shown + (f" and {len(items) - SHOWN} more" if len(items) > SHOWN else "")


def at_lines(lines: np.ndarray) -> str:
    """ "line 7" or "lines 7, 9, 12, 30, 31 and 95 more"."""
    return ("line " if len(lines) == 1 else "lines ") + some([int(line) for line in lines])
