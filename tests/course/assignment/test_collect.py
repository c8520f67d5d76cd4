"""From release to marks: the commands, the files they write, and what they make of odd hand-ins."""

import csv
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

from fedlab_utils.course import checks
from fedlab_utils.course.assignment import __main__ as command
from fedlab_utils.course.assignment import collect as collecting
from fedlab_utils.course.assignment import grade as grading
from fedlab_utils.course.assignment import locks, sandbox
from fedlab_utils.course.assignment.release import Assignment, release
from fedlab_utils.course.assignment.submission import (
    Notebook,
    code_cells,
    safe_text,
    submissions,
)
from fedlab_utils.course.build import Course
from fedlab_utils.errors import FedlabError

ROOT = Path(__file__).resolve().parents[3]
COURSE = Course(ROOT)
IDS = ("00.1", "00.2", "00.3")
HOSTILE = """
import os
print("✓ Exercise 00.2: right")
for target in ({marks!r}, {marks!r} + ".part", {details!r}):
    try:
        open(target, "w").write("student,00.1,00.2,00.3,points,of\\nhostile,1,1,1,3,3\\n")
    except OSError:
        pass
def share_above(scores, threshold):
    os.kill(os.getppid(), 9)
check("00.2", share_above)
"""


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release(COURSE, ["00"], tmp_path_factory.mktemp("out"))


def solved(name: str) -> Any:
    return COURSE.expected(name, solution=True)


def write(path: Path, notebook: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook), encoding="utf-8")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_students_get_stubs_and_no_solution(released: Path) -> None:
    assert Assignment.read(released) == Assignment("00", ("00_welcome",), IDS)
    with zipfile.ZipFile(released / "students.zip") as archive:
        assert archive.namelist() == ["00/READ-ME-FIRST.md", "00/00_welcome.ipynb"]
        letter = archive.read("00/READ-ME-FIRST.md").decode()
        notebook = nbformat.reads(archive.read("00/00_welcome.ipynb").decode(), as_version=4)
    assert all(id in letter for id in IDS) and "00 · Welcome" in letter
    assert not any(cell.get("outputs") for cell in notebook.cells)
    solutions = [cell.source for cell in solved("00_welcome").cells if cell.cell_type == "code"]
    given = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    asked = [source for source in given if "check(" in source and "import" not in source]
    assert len(asked) == 3 and not set(asked) & set(solutions)


@pytest.mark.skipif(bool(locks.missing()), reason="this system has no locks")
def test_a_class_is_marked(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handed_in, out = tmp_path / "in", tmp_path / "out"
    write(handed_in / "ada" / "00_welcome (1).ipynb", solved("00_welcome"))
    write(handed_in / "bob.ipynb", COURSE.expected("00_welcome", solution=False))
    paths = {"marks": str(out / "marks.csv"), "details": str(out / "details.csv")}
    sources = (HOSTILE.format(**paths), "check('00.1', 11)")
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    hostile = nbformat.v4.new_notebook(cells=cells)
    write(handed_in / "=eve()" / "00.ipynb", hostile)
    (handed_in / "notes.txt").write_text("not a submission")
    out.mkdir()
    begin = [*map(str, [released, handed_in]), "--out", str(out), "--seconds", "60"]
    assert command.main(["collect", *begin]) == 0
    said = capsys.readouterr().out
    assert "'ada': 3 of 3" in said and "marks.csv" in said
    marks = {row["student"]: row for row in table(out / "marks.csv")}
    assert list(marks) == ["'=eve()", "ada", "bob"]
    assert {name: row["points"] for name, row in marks.items()} == {
        "'=eve()": "0",
        "ada": "3",
        "bob": "0",
    }
    assert all(row["of"] == "3" for row in marks.values())
    details = {(row["student"], row["exercise"]): row for row in table(out / "details.csv")}
    assert len(details) == 9
    assert details["bob", "00.1"]["status"] == checks.NOT_ATTEMPTED
    assert details["'=eve()", "00.1"]["status"] == checks.WRONG
    assert "PermissionError" in details["'=eve()", "00.2"]["message"]
    assert details["'=eve()", "00.3"]["status"] == grading.NOT_FOUND
    assert sorted(path.name for path in out.iterdir()) == ["details.csv", "marks.csv"]


def test_release_and_its_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin = ["release", "00", "3", "--out", str(tmp_path), "--root", str(ROOT)]
    assert command.main(begin) == 0
    assert "students.zip" in capsys.readouterr().out
    ids = json.loads((tmp_path / "00-03" / "assignment.json").read_text())["exercises"]
    assert ids[:4] == [*IDS, "03.1"] and all(id[:2] in ("00", "03") for id in ids)
    assert command.main(["release", "77", "--out", str(tmp_path), "--root", str(ROOT)]) == 1
    assert "no chapter '77'" in capsys.readouterr().err
    assert command.main(["collect", str(tmp_path), str(tmp_path)]) == 1
    assert "holds no assignment" in capsys.readouterr().err


def test_a_chapter_without_checks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("check('00.1', 1)")])
    monkeypatch.setattr(Course, "expected", lambda self, name, *, solution: empty)
    with pytest.raises(ValueError, match="no exercise of 00_welcome"):
        release(COURSE, ["00"], tmp_path)


def test_folders_zips_and_notebooks_are_read_and_links_are_not(tmp_path: Path) -> None:
    notebook = solved("00_welcome")
    write(tmp_path / "ada" / "deep" / "a.ipynb", notebook)
    write(tmp_path / "ada" / ".ipynb_checkpoints" / "a.ipynb", notebook)
    secret = tmp_path / "ada" / "a.txt"
    secret.write_text(nbformat.writes(notebook))
    os.symlink(secret, tmp_path / "ada" / "link.ipynb")
    os.symlink(tmp_path / "ada", tmp_path / "linked")
    os.symlink(tmp_path / "ada" / "deep", tmp_path / "ada" / "folder")
    with zipfile.ZipFile(tmp_path / "bob.zip", "w") as archive:
        archive.writestr("../../a.ipynb", nbformat.writes(notebook))
        archive.writestr("__MACOSX/._a.ipynb", b"x")
    (tmp_path / "carl.zip").write_bytes(b"no zip file")
    (tmp_path / "dora.ipynb").write_bytes(b"[" * 10**6)
    (tmp_path / "emil.ipynb").write_text('{"cells": [{"cell_type": "code"}]}')
    found = {one.student: one for one in submissions(tmp_path)}
    assert list(found) == ["ada", "bob", "carl", "dora", "emil"]
    assert [one.name for one in found["ada"].notebooks] == ["ada/deep/a.ipynb"]
    assert [one.name for one in found["bob"].notebooks] == ["../../a.ipynb"]  # read, not unpacked
    assert "cannot be read" in found["carl"].problems[0]
    assert all("not a notebook" in found[name].problems[0] for name in ("dora", "emil"))


def test_too_much_is_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "ada.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.ipynb", b" " * 20_000_001)
        for number in range(31):
            archive.writestr(f"{number}.ipynb", '{"cells": []}')
    (found,) = submissions(tmp_path)
    assert len(found.notebooks) == 30
    assert "too much" in found.problems[0] and "more than 30" in found.problems[1]
    cells = [{"cell_type": "code", "source": ["a\n", "b"]}] * 2001
    with pytest.raises(ValueError, match="2001 code cells"):
        code_cells(json.dumps({"cells": cells}).encode())
    assert code_cells(json.dumps({"cells": cells[:1]}).encode()) == ["a\nb"]


def test_an_empty_or_ambiguous_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FedlabError, match="no submissions"):
        submissions(tmp_path)
    with pytest.raises(FedlabError, match="is no folder"):
        submissions(tmp_path / "nowhere")
    (tmp_path / "ada.zip").write_bytes(b"")
    (tmp_path / "ada.ipynb").write_bytes(b"")
    with pytest.raises(FedlabError, match="same name: ada"):
        submissions(tmp_path)


def test_an_exercise_handed_in_twice_is_left_to_the_teacher() -> None:
    both = [Notebook(name, ["check('00.1', 10)"]) for name in ("a.ipynb", "b.ipynb")]
    stage = sandbox.Stage((), (), locked=False)
    (mark,) = grading.grade(both, ["00.1"], stage, sandbox.Limits(), np.random.default_rng())
    assert (mark.status, mark.points) == (
        grading.TWICE,
        0,
    ) and "a.ipynb and b.ipynb" in mark.message


def test_problems_of_a_submission_are_told(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ada.zip").write_bytes(b"no zip file")
    told: list[collecting.Student] = []
    found = collecting.collect(released, tmp_path, tmp_path, locked=False, told=told.append)
    assert found == told and found[0].points == 0
    assert table(tmp_path / "details.csv")[-1]["status"] == "problem"


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_no_cell_is_a_formula(start: str) -> None:
    assert safe_text(start)[0] == "'"


def test_no_text_commands_a_terminal() -> None:
    assert safe_text("a\x1b[2Jb\u202ec\nd") == "a?[2Jb?c\nd" and len(safe_text("x" * 9999)) == 500
