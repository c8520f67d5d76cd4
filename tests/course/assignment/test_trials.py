"""Every exercise can be marked across processes, and a trial finds who has learned the check."""

import copy
import importlib
import json
import pkgutil
import random
from typing import Any

import numpy as np
import pytest

from fedlab_utils.course import checks, exercises
from fedlab_utils.course.assignment import wire
from fedlab_utils.course.assignment.trials import TRIALS, registry, try_out
from fedlab_utils.course.expect import Wrong

for _module in pkgutil.iter_modules(exercises.__path__):
    importlib.import_module(f"{exercises.__name__}.{_module.name}")
IDS = sorted(
    id for id, found in checks._exercises.items() if ".exercises." in found.test.__module__
)
# A value says nothing about how it was found; a check of many random draws needs no more.
TRIED = sorted(id for id in TRIALS if id[:2] in {known[:2] for known in IDS})
WITHOUT = {id for id in IDS if not callable(checks.find(id).solution)} - {"05.3"}


def across(answer: Any) -> Any:
    """What an answer becomes on the teacher's side, its functions included."""
    kept: list[Any] = []

    def turn(value: Any, fetch: Any) -> Any:
        def keep(function: Any) -> int:
            kept.append(function)
            return len(kept) - 1

        return wire.decode(json.loads(json.dumps(wire.encode(value, keep))), fetch)

    def there(number: int, stub: bool) -> Any:
        """A function of the teacher's that the student's side calls back."""
        return kept[number]

    def here(number: int, stub: bool) -> Any:
        def stubbed(*args: Any, **options: Any) -> Any: ...

        def call(*args: Any, **options: Any) -> Any:
            sent = turn((args, options), there)
            try:
                value = turn(kept[number](*sent[0], **sent[1]), here)
            except wire.NotPlain as error:
                raise RuntimeError(str(error)) from error
            wire.restore((args, options), turn(sent, here))
            return value

        return stubbed if stub else call

    return turn(answer, here)


@pytest.mark.parametrize("id", IDS)
def test_marking_across_processes_gives_the_notebooks_verdict(id: str) -> None:
    exercise = checks.find(id)
    assert checks.check(id, across(exercise.solution)), checks.check(id, exercise.solution).message
    assert checks.check(id, across(exercise.stub)).status == checks.NOT_ATTEMPTED
    for answer in exercise.wrong:
        try:
            there = across(answer)
        except wire.NotPlain:
            continue  # such an answer does not even arrive
        assert checks.check(id, there).status == checks.WRONG


@pytest.mark.parametrize("id", IDS)
def test_the_solution_passes_every_trial(id: str) -> None:
    solution = checks.find(id).solution
    for seed in range(8):
        try_out(id, across(solution), solution, np.random.default_rng(seed))


def test_every_exercise_that_asks_for_a_function_has_a_trial() -> None:
    assert set(IDS) - WITHOUT - registry.EXHAUSTIVE <= set(TRIALS)
    assert set(TRIED) <= set(IDS)


@pytest.mark.parametrize("id", TRIED)
def test_a_table_of_the_checks_own_cases_passes_the_check_and_no_trial(id: str) -> None:
    solution = checks.find(id).solution
    learned: dict[bytes, Any] = {}

    def key(args: Any) -> str:
        return json.dumps(wire.encode(args, lambda function: 0))

    def learn(function: Any, number: int) -> Any:
        def call(*args: Any) -> Any:
            place = (number, key(args))
            if place not in learned:
                learned[place] = _outcome(function, args)
            return _replay(learned[place])

        return call

    def cheat(number: int) -> Any:
        def call(*args: Any) -> Any:
            return _replay(learned.get((number, key(args)), _JUNK))

        return call

    both = isinstance(solution, tuple)
    functions = solution if both else (solution,)
    learner = tuple(learn(function, n) for n, function in enumerate(functions))
    random_inputs = id in ("08.1",)  # encryption is random: no table can be made of it
    assert checks.check(id, learner if both else learner[0])
    cheats = tuple(cheat(n) for n in range(len(functions)))
    cheats = cheats if both else cheats[0]
    if not random_inputs:
        assert checks.check(id, cheats)
    with pytest.raises((Wrong, TypeError, AttributeError, ValueError, IndexError)):
        try_out(id, cheats, solution, np.random.default_rng(random.randrange(10**9)))


_JUNK = ("value", "an answer that the table does not have")


def _outcome(function: Any, args: Any) -> tuple[str, Any]:
    try:
        return "value", function(*copy.deepcopy(args))
    except ValueError as error:
        return "error", error


def _replay(outcome: tuple[str, Any]) -> Any:
    kind, value = outcome
    if kind == "error":
        raise value
    return copy.deepcopy(value)


def test_same_is_exact_for_all_but_numbers() -> None:
    same = registry.same
    assert same(1.0 + 1e-6, 1.0) and not same(1.001, 1.0) and not same("a", "b")
    assert same(2**80, 2**80) and not same(2**80 + 1, 2**80) and not same("2", 2)
    assert same({"a": 1.0}, {"a": 1.0}) and not same({"a": 1.0, "b": 2}, {"a": 1.0})
    assert same([1, 2], {1, 2}) and not same([1], {1, 2}) and not same(3, {3})
    assert same(["a", 2.0], ("a", 2.0)) and not same(["a"], ("a", 2.0)) and not same("ab", ["a"])
    assert same(ValueError, ValueError) and not same(ValueError, True) and not same(1, True)
    assert same(np.array([1, 2]), [1, 2]) and not same(np.array([1, 3]), [1, 2])
