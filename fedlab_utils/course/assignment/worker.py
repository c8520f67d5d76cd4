"""What runs in a student's process, after the locks (`launch`): the notebook's code, and calls."""

from typing import Any

from fedlab_utils.course.assignment import cells as notebook
from fedlab_utils.course.assignment.remote import Peer


class NotFound(Exception):
    """No cell that can be read asks the exercise."""


def load(sources: list[str], id: str) -> Any:
    """Run what an exercise needs of a notebook and return its answer: a value or a function.

    Args:
        sources: the code cells.
        id: the exercise, "03.2".

    First only the cells that bind what the exercise mentions are run; if one of them fails, all
    cells up to the exercise are, and those may fail. Raises NotFound, or what the exercise's cell
    raises.
    """
    cells = notebook.parse(sources)
    found = notebook.find(cells, id)
    if found is None:
        raise NotFound(f"no cell without a syntax error calls check({id!r}, your answer)")
    goal, answer = found
    try:
        return notebook.run(notebook.needed(cells, goal), answer)
    except Exception:
        everything = cells[: cells.index(goal) + 1]
        return notebook.run(everything, answer, forgiving=True)


def _say_nothing() -> None:
    """A notebook's own calls of `check` and `hint` count for nothing and reach no solution."""
    from fedlab_utils.course import checks

    checks.check = checks.hint = lambda *_, **__: None  # type: ignore[assignment]


def serve(reading: int, writing: int) -> None:
    """Answer the teacher's process until it hangs up."""
    _say_nothing()
    Peer(reading, writing, requests={"load": load}).serve()
