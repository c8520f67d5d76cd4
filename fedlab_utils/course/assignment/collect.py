"""Mark what a class has handed in, and write the marks as CSV."""

import csv
import io
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedlab_utils.course.assignment import sandbox
from fedlab_utils.course.assignment.grade import Mark, grade
from fedlab_utils.course.assignment.release import Assignment
from fedlab_utils.course.assignment.sandbox import Limits
from fedlab_utils.course.assignment.submission import Submission, safe_text, submissions

MARKS, DETAILS = "marks.csv", "details.csv"


@dataclass(frozen=True)
class Student:
    """One line of the marks."""

    submission: Submission
    marks: tuple[Mark, ...]

    @property
    def points(self) -> int:
        return sum(mark.points for mark in self.marks)


def collect(
    release: Path,
    folder: Path,
    out: Path,
    *,
    limits: Limits | None = None,
    locked: bool = True,
    told: Callable[[Student], object] | None = None,
) -> list[Student]:
    """Mark every submission of an assignment; write marks.csv and details.csv into `out`.

    Args:
        release: the folder that `release` has made.
        folder: the submissions, see `submission.submissions`.
        limits, locked: see `sandbox`.
        told: is called with each student when done.

    Raises FedlabError if there is no assignment, no submission, or no lock.
    """
    assignment = Assignment.read(release)
    handed_in = submissions(folder)
    rng = np.random.default_rng(secrets.randbits(128))
    students = []
    with sandbox.stage(locked=locked) as stage:
        for submission in handed_in:
            marks = grade(
                submission.notebooks, assignment.exercises, stage, limits or Limits(), rng
            )
            students.append(Student(submission, tuple(marks)))
            if told is not None:
                told(students[-1])
    out.mkdir(parents=True, exist_ok=True)
    # Written at the end, by this process: no student's code runs any more.
    _replace(out / MARKS, _marks(assignment, students))
    _replace(out / DETAILS, _details(students))
    return students


def _marks(assignment: Assignment, students: Sequence[Student]) -> list[list[object]]:
    rows: list[list[object]] = [["student", *assignment.exercises, "points", "of"]]
    for student in students:
        points = [mark.points for mark in student.marks]
        name = safe_text(student.submission.student)
        rows.append([name, *points, student.points, len(points)])
    return rows


def _details(students: Sequence[Student]) -> list[list[object]]:
    rows: list[list[object]] = [["student", "exercise", "status", "seconds", "message"]]
    for student in students:
        name = safe_text(student.submission.student)
        rows += [
            [name, mark.exercise, mark.status, mark.seconds, safe_text(mark.message)]
            for mark in student.marks
        ]
        rows += [[name, "", "problem", "", safe_text(text)] for text in student.submission.problems]
    return rows


def _replace(path: Path, rows: list[list[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    part = path.with_name(path.name + ".part")
    part.write_text(text.getvalue(), encoding="utf-8")
    part.replace(path)
