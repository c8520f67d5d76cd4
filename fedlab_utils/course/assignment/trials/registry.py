"""What a trial is made of: the register, the comparison, and random arguments."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.expect import Wrong

Trial = Callable[[Any, Any, np.random.Generator], None]  # answer, solution, generator
TRIALS: dict[str, Trial] = {}
# Their checks try every argument that there is.
EXHAUSTIVE = {"15.3"}
_REPEATS = 4
WRONG = "It passes the notebook's check, but with other arguments its result is not right."


def try_out(id: str, answer: Any, solution: Any, rng: np.random.Generator) -> None:
    """Try an answer that has passed its check with new arguments. Raises Wrong, or its error."""
    if id in TRIALS:
        for _ in range(_REPEATS):
            TRIALS[id](answer, solution, rng)


def trial(id: str) -> Callable[[Callable[..., tuple]], Callable[..., tuple]]:
    """Register a function that draws arguments: the answer must give what the solution gives."""

    def register(draw: Callable[..., tuple]) -> Callable[..., tuple]:
        def compare(answer: Any, solution: Any, rng: np.random.Generator) -> None:
            seed = int(rng.integers(2**63))
            # Drawn twice, since either function may change its arguments.
            wanted = _outcome(solution, draw(np.random.default_rng(seed)))
            given = _outcome(answer, draw(np.random.default_rng(seed)))
            if not same(given, wanted):
                raise Wrong(WRONG)

        TRIALS[id] = compare
        return draw

    return register


def _outcome(function: Any, args: tuple) -> Any:
    """What a function returns, or the built-in class of the ValueError that it raises."""
    try:
        return function(*args)
    except ValueError:
        return ValueError


def same(given: Any, wanted: Any) -> bool:
    """Tell whether two results agree: numbers nearly, everything else exactly."""
    if isinstance(wanted, str | bytes | bool | type) or wanted is None:
        return type(given) is type(wanted) and bool(given == wanted)
    if isinstance(wanted, dict):
        return (
            isinstance(given, dict)
            and given.keys() == wanted.keys()
            and all(same(given[key], wanted[key]) for key in wanted)
        )
    if isinstance(wanted, set | frozenset):
        return isinstance(given, set | frozenset | list | tuple) and set(given) == wanted
    if isinstance(wanted, list | tuple) and not all(isinstance(item, int) for item in wanted):
        return (
            isinstance(given, list | tuple)
            and len(given) == len(wanted)
            and all(same(one, other) for one, other in zip(given, wanted, strict=True))
        )
    if isinstance(wanted, int):  # exactly, however large
        return isinstance(given, int | np.integer | float) and given == wanted
    try:
        expect.close(given, wanted, "", rtol=1e-4, atol=1e-6)
    except Wrong:
        return False
    return True


def vector(rng: np.random.Generator, low: int = 3, high: int = 12) -> np.ndarray:
    return rng.normal(size=int(rng.integers(low, high)))


def tensor(rng: np.random.Generator, *shape: int) -> Any:
    import torch

    return torch.from_numpy(rng.normal(size=shape).astype(np.float32))
