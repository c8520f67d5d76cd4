"""Checks and hints for the exercises: `check("03.2", answer)` and `hint("03.2")`.

A check never stops a notebook: it says right, not attempted yet, or what is wrong. How to write
one: see `exercise`.
"""

import importlib
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from fedlab_utils.course.attempt import NotAttempted, is_stub, watched
from fedlab_utils.course.expect import Wrong

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIGHT, WRONG, NOT_ATTEMPTED = "right", "wrong", "not attempted yet"
_MARKS = {RIGHT: ("✓", "#00664d"), WRONG: ("✗", "#a33f00"), NOT_ATTEMPTED: ("○", "#555555")}


@dataclass(frozen=True)
class Exercise:
    """One exercise: its test, and answers that the course's own tests try on it."""

    id: str
    title: str
    test: Callable[[Any], None]
    solution: Any
    wrong: tuple[Any, ...]
    stub: Any
    hints: tuple[str, ...]
    draw: "Callable[[Any, Any], Figure] | None"


@dataclass(frozen=True)
class Verdict:
    """What `check` returns: shown by a notebook, true if the answer is right."""

    id: str
    title: str
    status: str
    message: str
    picture: "Figure | None" = None

    def __bool__(self) -> bool:
        return self.status == RIGHT

    def __repr__(self) -> str:
        tail = f": {self.message}" if self.message else ""
        return f"{_MARKS[self.status][0]} Exercise {self.id}, {self.title}: {self.status}{tail}"

    def _repr_html_(self) -> str:
        mark, colour = _MARKS[self.status]
        head = f"{mark} Exercise {self.id}, {escape(self.title)}: {self.status}"
        body = f"<br>{escape(self.message)}" if self.message else ""
        return f'<p style="color:{colour}"><strong>{head}</strong>{body}</p>'

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(
            {"text/plain": repr(self), "text/html": self._repr_html_()},
            raw=True,
        )
        if self.picture is not None:
            from fedlab_utils.course.plots import show

            show(self.picture, alt=f"Expected and given values of exercise {self.id}")


@dataclass(frozen=True)
class Hint:
    """One hint, shown by a notebook."""

    text: str

    def __repr__(self) -> str:
        return self.text


_exercises: dict[str, Exercise] = {}
_hints_given: dict[str, int] = {}


def exercise(
    id: str,
    title: str,
    *,
    solution: Any,
    wrong: tuple[Any, ...],
    hints: tuple[str, ...],
    stub: Any = ...,
    draw: "Callable[[Any, Any], Figure] | None" = None,
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Register the decorated test as the check of exercise `id` ("CC.N": chapter, number).

    The test takes the answer and calls the functions of `fedlab_utils.course.expect`, whose
    messages say what is wrong without giving the answer away. `solution` must pass, `stub` is
    what the reader starts from, each of at least two `wrong` answers must be rejected; the
    course's tests prove all three. `draw(given, wanted)` makes a picture for an array that
    `expect.close` rejects. Raises ValueError for a malformed or repeated id.
    """
    if not re.fullmatch(r"\d\d\.\d+", id):
        raise ValueError(f"exercise id {id!r}: write chapter and number, such as '03.2'")
    if len(wrong) < 2 or not hints:
        raise ValueError(f"exercise {id}: give at least two wrong answers and one hint")

    def register(test: Callable[[Any], None]) -> Callable[[Any], None]:
        known = _exercises.get(id)
        # The same test may come again: a notebook reloads the module.
        if known is not None and _home(known.test) != _home(test):
            raise ValueError(f"exercise {id} is already defined by {_home(known.test)}")
        _exercises[id] = Exercise(id, title, test, solution, wrong, stub, hints, draw)
        return test

    return register


def _home(test: Callable[[Any], None]) -> str:
    return f"{test.__module__}.{test.__qualname__}"


def find(id: str) -> Exercise:
    """Return the exercise with this id; raises ValueError that lists the chapter's ids."""
    chapter = str(id).split(".")[0]
    if id not in _exercises and re.fullmatch(r"\d\d", chapter):
        name = f"fedlab_utils.course.exercises.chapter{chapter}"
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    if id not in _exercises:
        known = sorted(other for other in _exercises if other.startswith(f"{chapter}."))
        raise ValueError(f"no exercise {id!r}; chapter {chapter} has {', '.join(known) or 'none'}")
    return _exercises[id]


def check(id: str, answer: Any) -> Verdict:
    """Check your answer to an exercise; the verdict is shown below the cell.

    `answer` is a value or a function, as the exercise asks. Wrong answers do not raise.
    Raises ValueError for an unknown `id`. Taught in chapter 00.
    """
    found = find(id)

    def verdict(status: str, message: str = "", picture: "Figure | None" = None) -> Verdict:
        return Verdict(found.id, found.title, status, message, picture)

    if is_stub(answer):
        return verdict(NOT_ATTEMPTED)
    try:
        found.test(watched(answer))
    except NotAttempted:
        return verdict(NOT_ATTEMPTED)
    except Wrong as wrong:
        picture = None
        if found.draw is not None and wrong.wanted is not None:
            picture = found.draw(wrong.given, wrong.wanted)
        return verdict(WRONG, f'{wrong} For a hint run hint("{id}").', picture)
    except Exception as error:  # a reader's function may raise anything
        return verdict(WRONG, _explain(error))
    return verdict(RIGHT)


def _explain(error: Exception) -> str:
    """Name the reader's own line if the error came from it."""
    text = f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "ipykernel" in frame.filename]
    if own:
        line = f" in line {own[-1].lineno} of your cell (`{own[-1].line}`)" if own[-1].line else ""
        return f"Your code stopped{line} with {text}"
    return f"The check could not use your answer: {text}"


def hint(id: str) -> Hint:
    """Return the next hint for an exercise; after the last one, the last again.

    Raises ValueError for an unknown `id`. Taught in chapter 00.
    """
    hints = find(id).hints
    number = min(_hints_given.get(id, 0), len(hints) - 1)
    _hints_given[id] = number + 1
    left = len(hints) - number - 1
    more = f"{left} more: run the cell again." if left else "This is the last hint."
    return Hint(f"Hint {number + 1} of {len(hints)}: {hints[number]} ({more})")


@contextmanager
def show_error(kind: type[BaseException] = Exception) -> Iterator[None]:
    """Run code that is meant to fail and print its error in one line, so the notebook goes on.

    Raises AssertionError if the code does not fail with `kind`. Taught in chapter 00.
    """
    try:
        yield
    except kind as error:
        print(f"{type(error).__name__}: {error}")
    else:
        raise AssertionError(f"this code was meant to fail with {kind.__name__}, but it did not")
