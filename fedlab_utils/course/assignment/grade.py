"""Mark one student's notebooks: every exercise by its check, then by a trial with new arguments."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedlab_utils.course import checks
from fedlab_utils.course.assignment import sandbox, trials
from fedlab_utils.course.assignment.remote import Gone
from fedlab_utils.course.assignment.sandbox import Limits, Stage
from fedlab_utils.course.assignment.submission import Notebook
from fedlab_utils.course.expect import Wrong

NOT_FOUND, TWICE, STOPPED = "not handed in", "handed in twice", "stopped"


@dataclass(frozen=True)
class Mark:
    """One exercise of one student: a status of `checks` or of this module, and what it says."""

    exercise: str
    status: str
    message: str = ""
    seconds: float = 0.0

    @property
    def points(self) -> int:
        return int(self.status == checks.RIGHT)


def grade(
    notebooks: Sequence[Notebook],
    exercises: Sequence[str],
    stage: Stage,
    limits: Limits,
    rng: np.random.Generator,
) -> list[Mark]:
    """Mark the exercises of one student, each in a process of its own; never raises for a student.

    Args:
        notebooks: what was handed in.
        exercises: the ids of the assignment.
        stage, limits: see `sandbox`.
        rng: draws the trials; seed it with what nobody can know.
    """
    return [_mark(id, notebooks, stage, limits, rng) for id in exercises]


def _mark(
    id: str,
    notebooks: Sequence[Notebook],
    stage: Stage,
    limits: Limits,
    rng: np.random.Generator,
) -> Mark:
    asks = re.compile(rf"\bcheck\(\s*['\"]{re.escape(id)}['\"]")
    found = [one for one in notebooks if any(asks.search(source) for source in one.sources)]
    if not found:
        return Mark(id, NOT_FOUND, f"no notebook has a cell with check({id!r}, ...)")
    if len(found) > 1:
        names = " and ".join(one.name for one in found)
        return Mark(id, TWICE, f"{names} both have this exercise: hand in one of them")
    begin = time.monotonic()
    with sandbox.start(stage, limits) as box:
        status, message = _judge(id, found[0], box, rng)
        if box.peer.gone:
            reason = box.stopped or box.died() or box.peer.gone
            status, message = STOPPED, f"The code was stopped: {reason}."
    return Mark(id, status, message, round(time.monotonic() - begin, 1))


def _judge(
    id: str, notebook: Notebook, box: sandbox.Sandbox, rng: np.random.Generator
) -> tuple[str, str]:
    try:
        answer = box.peer.ask("load", notebook.sources, id)
    except Gone:
        return STOPPED, ""
    except Exception as error:  # the student's cell may raise anything
        return checks.WRONG, f"The exercise's cell stopped with {type(error).__name__}: {error}"
    verdict = checks.check(id, answer)
    if not verdict:
        return verdict.status, verdict.message
    try:
        trials.try_out(id, answer, checks.find(id).solution, rng)
    except Wrong as wrong:
        return checks.WRONG, str(wrong)
    except Exception as error:
        return checks.WRONG, f"With other arguments it stopped with {type(error).__name__}: {error}"
    return checks.RIGHT, ""
