"""Every exercise of the course accepts its solution and rejects its stub and its wrong answers."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from fedlab_utils.course import checks, exercises

ROOT = Path(__file__).resolve().parents[2]
for _module in pkgutil.iter_modules(exercises.__path__):
    importlib.import_module(f"{exercises.__name__}.{_module.name}")
IDS = sorted(
    id for id, found in checks._exercises.items() if ".exercises." in found.test.__module__
)


@pytest.mark.parametrize("id", IDS)
def test_exercise(id: str) -> None:
    exercise = checks.find(id)
    assert exercise.test.__module__.endswith(f"chapter{id[:2]}")
    assert checks.check(id, exercise.solution), checks.check(id, exercise.solution).message
    for stub in (exercise.stub, None, ...):
        assert checks.check(id, stub).status == checks.NOT_ATTEMPTED
    for answer in exercise.wrong:
        verdict = checks.check(id, answer)
        assert verdict.status == checks.WRONG and verdict.message


def test_chapters_and_exercises_agree() -> None:
    """Each exercise is asked in its chapter, and each chapter asks only for known ones."""
    asked = set()
    for source in (ROOT / "chapters" / "src").glob("[0-9][0-9]_*.py"):
        ids = set(re.findall(r"\bcheck\(\s*['\"]([\d.]+)['\"]", source.read_text()))
        assert all(id.startswith(source.name[:2]) for id in ids)
        asked |= ids
    assert asked == set(IDS)
