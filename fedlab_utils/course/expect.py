"""What a check may expect of an answer. Each function raises Wrong, its message for the reader."""

from typing import Any

import numpy as np


class Wrong(Exception):
    """The answer is wrong: the message says how; `given` and `wanted` may be drawn."""

    def __init__(self, message: str, given: Any = None, wanted: Any = None) -> None:
        super().__init__(message)
        self.given, self.wanted = given, wanted


def that(condition: Any, message: str) -> None:
    """Expect a condition to be true; `message` says what is wrong if it is not."""
    if not condition:
        raise Wrong(message)


def close(given: Any, wanted: Any, what: str, *, rtol: float = 1e-5, atol: float = 1e-8) -> None:
    """Expect numbers of the same shape and (nearly) the same values; `what` names them."""
    found = numbers(given, what)
    expected = numbers(wanted, what)
    shape(found, expected.shape, what)
    if not np.isfinite(found).all():
        raise Wrong(f"{what}: there are values that are not finite numbers.", found, expected)
    right = np.isclose(found, expected, rtol=rtol, atol=atol)
    if not right.all():
        n = right.size
        which = "the value is" if n == 1 else f"{n - int(right.sum())} of {n} values are"
        raise Wrong(f"{what}: {which} not right.", found, expected)


def shape(given: Any, wanted: tuple[int, ...], what: str) -> None:
    """Expect an array of this shape."""
    found = np.shape(given)
    if found != tuple(wanted):
        names = ["a single number" if not s else f"shape {tuple(s)}" for s in (found, wanted)]
        raise Wrong(f"{what}: you gave {names[0]}, expected is {names[1]}.")


def numbers(given: Any, what: str) -> np.ndarray:
    """Expect something that numpy reads as numbers; return it as float64 (bool included)."""
    if hasattr(given, "detach"):
        given = given.detach().cpu()
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise Wrong(f"{what}: expected numbers, you gave {type(given).__name__}.") from None
