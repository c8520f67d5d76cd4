"""Make an assignment: the notebooks for the students, and the list of what it asks."""

import json
import re
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat

from fedlab_utils.course.build import Course
from fedlab_utils.course.notebook import title
from fedlab_utils.errors import FedlabError

MANIFEST = "assignment.json"
_CHECK = re.compile(r"\bcheck\(\s*['\"](\d\d\.\d+)['\"]")


@dataclass(frozen=True)
class Assignment:
    """What an assignment asks: its chapters, and the exercises that are marked, in order."""

    name: str
    chapters: tuple[str, ...]
    exercises: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> "Assignment":
        """Read it from a released folder. Raises FedlabError if it is not one."""
        try:
            data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            return cls(data["name"], tuple(data["chapters"]), tuple(data["exercises"]))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise FedlabError(
                f"{folder} holds no assignment ({error}): release it first, or name its folder."
            ) from None


def release(course: Course, chapters: list[str], out: Path) -> Path:
    """Write `out`/NAME with `students.zip`, which students get, and `assignment.json`.

    The notebooks are the readers' own, without outputs. Raises ValueError for a chapter that is
    unknown or of which no exercise can be marked.
    """
    names = course.names(chapters)
    asked = {name: _exercises(course, name) for name in names}
    if empty := [name for name, ids in asked.items() if not ids]:
        raise ValueError(f"no exercise of {', '.join(empty)} has a check")
    name = "-".join(chapter[:2] for chapter in names)
    exercises = tuple(id for ids in asked.values() for id in ids)
    assignment = Assignment(name, tuple(names), exercises)
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "students.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/READ-ME-FIRST.md", _letter(course, assignment))
        for chapter in names:
            notebook = course.expected(chapter, solution=False)
            archive.writestr(f"{name}/{chapter}.ipynb", nbformat.writes(notebook) + "\n")
    text = json.dumps(asdict(assignment), indent=1)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return folder


def _exercises(course: Course, name: str) -> list[str]:
    notebook = course.expected(name, solution=False)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return list(dict.fromkeys(id for source in cells for id in _CHECK.findall(source)))


def _letter(course: Course, assignment: Assignment) -> str:
    titles = [title(course.expected(name, solution=False)) for name in assignment.chapters]
    asked = ", ".join(assignment.exercises)
    lines = "\n".join(f"- {title}" for title in titles)
    return f"""# Assignment {assignment.name}

{lines}

1. Install the course, or open the notebooks on a service where it is installed:
   {course.repository.address}
2. Work through the notebooks. In each exercise replace `...` by your answer; run the cell until its
   check says *right*. `hint("{assignment.exercises[0]}")` helps.
3. Hand in the notebooks (.ipynb), in one zip file if there are several.

Marked are the exercises {asked}, one point each. For that your
code is run anew, from the top: keep the cells in order, and keep each `check(...)` call. It has two
minutes for an exercise, 2 GB of memory, no network, and no files but those of its own folder. What
a check printed does not count. Each answer is also tried with other arguments than the check's.
"""
