"""Which cells of a notebook are run for an exercise."""

import pytest

from fedlab_utils.course.assignment import cells, worker

NOTEBOOK = [
    'import sys\nif "google.colab" in sys.modules:\n    %pip install something',
    "import numpy as np\nfrom fedlab_utils.course import check",
    "heavy = 1 / 0  # nobody needs this",
    "%%tff\nthis is not Python here",
    "scale = np.float64(2)",
    "table = {}",
    "table['x'] = scale",
    "def helper(x):\n    return [scale for scale in x]",
    "def f(x):\n    heavy_local = x\n    return helper(x)[0] * table['x']\n\n\ncheck('01.2', f)",
    "scale = 100",
]


def test_only_the_cells_that_are_needed_run() -> None:
    parsed = cells.parse(NOTEBOOK)
    assert [cell.number for cell in parsed] == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    found = cells.find(parsed, "01.2")
    assert found is not None
    chosen = cells.needed(parsed, found[0])
    assert [cell.number for cell in chosen] == [2, 5, 6, 7, 8, 9]
    assert cells.run(chosen, found[1])([21]) == 42.0


def test_where_that_fails_all_cells_run_and_may_fail() -> None:
    hidden = ["globals()['k' + 'ey'] = 5", "1 / 0", "check('01.1', key + 1)", "1 / 0"]
    assert worker.load(hidden, "01.1") == 6


def test_the_last_of_several_calls_counts_whatever_it_is_called_on() -> None:
    twice = ["check('01.1', 1)", "import fedlab_utils as fl\nfl.course.check('01.1', 2)"]
    assert worker.load(twice, "01.1") == 2


def test_star_imports_are_always_needed() -> None:
    assert worker.load(["from math import *", "check('01.1', floor(2.5))"], "01.1") == 2


def test_an_exercise_that_is_not_there_is_said() -> None:
    broken = ["def f(:\n  check('01.1', 3)", "check('01.2', 3)", "check(x, 3)", "check('01.1')"]
    with pytest.raises(worker.NotFound, match="syntax error"):
        worker.load(broken, "01.1")


def test_an_error_names_the_students_line() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        worker.load(["x = 0", "def f():\n    return 1 / x\n\n\ny = f()\ncheck('01.1', y)"], "01.1")
    assert cells.place(caught.value) == "line 2 of your cell: `return 1 / x`"
    assert cells.place(ValueError()) == ""
