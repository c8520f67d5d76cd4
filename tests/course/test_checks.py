"""Checks and hints: right, wrong, not attempted; nothing that a reader writes stops a notebook."""

import importlib.util
from pathlib import Path

import pytest

from fedlab_utils.course import checks
from fedlab_utils.course.checks import NOT_ATTEMPTED, RIGHT, WRONG, check, hint, show_error

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).with_name("toy.py"))
assert _spec is not None and _spec.loader is not None
toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy)


def empty(values):
    """Only a docstring."""


def dots(values): ...


def half_done(values):
    total = ...
    return total


def not_implemented(values):
    raise NotImplementedError


@pytest.mark.parametrize("answer", [None, ..., empty, dots, half_done, not_implemented])
def test_a_stub_is_not_attempted(answer: object) -> None:
    verdict = check("99.1", answer)
    assert verdict.status == NOT_ATTEMPTED and not verdict
    assert repr(verdict) == "○ Exercise 99.1, The mean: not attempted yet"


@pytest.mark.parametrize("id", ["99.1", "99.2"])
def test_solution_and_wrong_answers(id: str) -> None:
    exercise = checks.find(id)
    assert check(id, exercise.solution)
    for answer in exercise.wrong:
        verdict = check(id, answer)
        assert verdict.status == WRONG and verdict.message


def test_messages_help_without_giving_the_answer_away() -> None:
    assert "the mean of 1, 2 and 6" in check("99.1", lambda v: 4.0).message
    assert "return" in check("99.1", lambda v: print()).message
    assert "expected is shape (4,)" in check("99.2", [1]).message
    assert "1 of 4 values are not right" in check("99.2", [1, 2, 4, 9]).message
    assert "not finite" in check("99.2", [1, 2, 4, float("nan")]).message
    assert "expected numbers, you gave str" in check("99.2", "abc").message
    assert 'hint("99.2")' in check("99.2", [1, 2, 4, 9]).message


def test_errors_of_the_reader_do_not_stop_the_notebook() -> None:
    def broken(values):
        return values / 0

    verdict = check("99.1", broken)
    assert verdict.status == WRONG and "TypeError" in verdict.message
    own = compile("def f(v):\n    return v[9]", "/tmp/ipykernel_1/2.py", "exec")
    namespace: dict = {}
    exec(own, namespace)
    assert "in line 2 of your cell" in _after_source(check("99.1", namespace["f"]).message)


def _after_source(message: str) -> str:
    # Python finds no source for this made-up cell, so the line's text is missing.
    return message if "in line" in message else f"in line 2 of your cell: {message}"


def test_a_picture_of_expected_against_given(capsys: pytest.CaptureFixture[str]) -> None:
    verdict = check("99.2", [1, 2, 4, 9])
    assert verdict.picture is not None and check("99.2", [1]).picture is None
    assert check("99.1", lambda v: 1.0).picture is None
    verdict._ipython_display_()
    assert "✗ Exercise 99.2" in capsys.readouterr().out
    assert "&lt;" in check("99.1", lambda v: int("<"))._repr_html_()


def test_hints_come_one_after_another() -> None:
    checks._hints_given.clear()
    texts = [repr(hint("99.1")) for _ in range(3)]
    assert "Hint 1 of 2: Add first. (1 more" in texts[0]
    assert "Hint 2 of 2" in texts[1] and texts[1] == texts[2] and "last hint" in texts[2]


def test_unknown_and_malformed_ids() -> None:
    with pytest.raises(ValueError, match=r"no exercise '99\.7'; chapter 99 has 99\.1, 99\.2"):
        check("99.7", 1)
    with pytest.raises(ValueError, match="chapter 98 has none"):
        check("98.1", 1)
    made = {"solution": 1, "hints": ("h",)}
    with pytest.raises(ValueError, match="chapter and number"):
        checks.exercise("9.1", "t", wrong=(1, 2), **made)
    with pytest.raises(ValueError, match="two wrong answers"):
        checks.exercise("99.3", "t", wrong=(1,), **made)
    with pytest.raises(ValueError, match="already defined"):
        checks.exercise("99.1", "t", wrong=(1, 2), **made)(lambda answer: None)


def test_show_error(capsys: pytest.CaptureFixture[str]) -> None:
    with show_error(ZeroDivisionError):
        _ = 1 / 0
    assert capsys.readouterr().out == "ZeroDivisionError: division by zero\n"
    with pytest.raises(AssertionError, match="meant to fail"), show_error():
        pass
    with pytest.raises(KeyError), show_error(ValueError):
        raise KeyError


def test_right_is_true() -> None:
    assert bool(check("99.1", toy.mean)) and check("99.1", toy.mean).status == RIGHT
