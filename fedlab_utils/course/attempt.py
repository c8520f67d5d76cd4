"""Tell an exercise that nobody has tried yet from a wrong answer."""

import dis
import functools
import types
from collections.abc import Callable
from typing import Any

from fedlab_utils.course.expect import Wrong

# What the body of `def f(x): ...` consists of, on every Python from 3.11 on.
_EMPTY_BODY = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "CACHE"}


class NotAttempted(Exception):
    """The reader's function is still the stub."""


def is_stub(answer: Any) -> bool:
    """Tell whether an answer is None, `...`, or a function whose body is empty."""
    if answer is None or answer is ...:
        return True
    if not isinstance(answer, types.FunctionType):
        return False
    steps = list(dis.get_instructions(answer))
    if not {step.opname for step in steps} <= _EMPTY_BODY:
        return False
    returned = [step.argval for step in steps if step.opname in ("LOAD_CONST", "RETURN_CONST")]
    return all(value is None or value is ... for value in returned)


def watched(answer: Any) -> Any:
    """Wrap a function so that a stub's result is noticed wherever the test calls it.

    The wrapper raises NotAttempted if the function returns `...` or raises NotImplementedError,
    and Wrong if it returns None. Other answers are returned as they are.
    """
    if not isinstance(answer, types.FunctionType):
        return answer
    function: Callable[..., Any] = answer

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            value = function(*args, **options)
        except NotImplementedError:
            raise NotAttempted from None
        if value is ...:
            raise NotAttempted
        if value is None:
            raise Wrong("Your function returned None: does it end with `return`?")
        return value

    return call
