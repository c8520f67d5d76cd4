"""Exercises of chapter 05: TensorFlow Federated."""

from typing import Any

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.attempt import NotAttempted
from fedlab_utils.course.checks import exercise

TYPES = {
    "a": "{int32}@CLIENTS",
    "b": "float32[10]@SERVER",
    "c": "({float32[10]}@CLIENTS -> float32[10]@SERVER)",
    "d": "(int32@SERVER -> int32@CLIENTS)",
}


@exercise(
    "05.1",
    "Types and placements",
    solution=TYPES,
    stub={"a": ..., "b": ..., "c": ..., "d": ...},
    wrong=(
        {**TYPES, "a": "int32@CLIENTS"},
        {**TYPES, "b": "{float32[10]}@SERVER"},
        {**TYPES, "c": "({float32[10]}@CLIENTS -> float32@SERVER)"},
        {**TYPES, "c": "{float32[10]}@CLIENTS -> {float32[10]}@SERVER"},
        {**TYPES, "d": "(int32@SERVER -> {int32}@CLIENTS)"},
        {"a": TYPES["a"]},
        "{int32}@CLIENTS",
    ),
    hints=(
        "Braces mean: one at each client, possibly different. Can that be true of the server?",
        "Section 5.2 prints (a) and (b) for other numbers. A signature is (argument -> result).",
    ),
)
def check_types(answer: Any) -> None:
    expect.that(isinstance(answer, dict), "Give a dict with the keys a, b, c and d.")
    if all(value is ... for value in answer.values()):
        raise NotAttempted
    for key, wanted in TYPES.items():
        given = answer.get(key)
        expect.that(isinstance(given, str), f"({key}) is missing, or is not a string.")
        text, goal = str(given).replace(" ", ""), wanted.replace(" ", "")
        expect.that(
            ("{" in text) == ("{" in goal) and text.count("{") == goal.count("{"),
            f"({key}) Look at the braces: where can values differ from client to client?",
        )
        expect.that(text == goal, f"({key}) is not the type that is asked for.")


def clip_update(update: np.ndarray, bound: float) -> np.ndarray:
    """Return update [P] with a length of at most bound."""
    length = np.linalg.norm(update)
    return update if length <= bound else update * (bound / length)


def _always_scaled(update: np.ndarray, bound: float) -> np.ndarray:
    return update * bound / max(float(np.linalg.norm(update)), 1e-30)


def _no_care_for_zeros(update: np.ndarray, bound: float) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return update * (bound / np.linalg.norm(update))


@exercise(
    "05.2",
    "Clip an update",
    solution=clip_update,
    wrong=(
        lambda update, bound: np.clip(update, -bound, bound),
        _always_scaled,
        lambda update, bound: update * min(1, bound / (np.abs(update).sum() + 1e-30)),
        _no_care_for_zeros,
        lambda update, bound: update * min(1, (bound / (np.linalg.norm(update) + 1e-30)) ** 2),
    ),
    hints=(
        "The length is np.linalg.norm(update). A scaled vector keeps its direction.",
        "Three cases: shorter than the bound, longer, and all zeros.",
    ),
)
def check_clip(answer: Any) -> None:
    zero = expect.numbers(answer(np.zeros(3), 1.0), "an update of zeros")
    expect.that(np.isfinite(zero).all(), "An update of zeros becomes something that is no number.")
    expect.close(zero, np.zeros(3), "an update of zeros")
    for update, bound, what in (
        ([0.3, 0.4], 1.0, "an update of length 0.5, bound 1"),
        ([3.0, 4.0], 1.0, "an update of length 5, bound 1"),
        ([-3.0, 4.0, 12.0], 6.5, "an update of length 13, bound 6.5"),
    ):
        vector = np.array(update)
        expect.close(answer(vector.copy(), bound), clip_update(vector, bound), what)


def to_integers(values: Any, low: float, high: float, bits: int) -> np.ndarray:
    """Map values [P] in [low, high] to integers [P] in 0 ... 2**bits - 1."""
    share = (np.clip(values, low, high) - low) / (high - low)
    return np.rint(share * (2**bits - 1)).astype(np.int64)


def from_sum(total: Any, clients: int, low: float, high: float, bits: int) -> np.ndarray:
    """Turn the sum [P] of the clients' integers into the sum [P] of their values."""
    return np.asarray(total) / (2**bits - 1) * (high - low) + clients * low


def _truncated(values: Any, low: float, high: float, bits: int) -> np.ndarray:
    share = (np.clip(values, low, high) - low) / (high - low)
    return (share * (2**bits - 1)).astype(np.int64)


def _not_cut(values: Any, low: float, high: float, bits: int) -> np.ndarray:
    return np.rint((np.asarray(values) - low) / (high - low) * (2**bits - 1)).astype(np.int64)


def _one_too_many(values: Any, low: float, high: float, bits: int) -> np.ndarray:
    return np.rint((np.clip(values, low, high) - low) / (high - low) * 2**bits).astype(np.int64)


def _low_once(total: Any, clients: int, low: float, high: float, bits: int) -> np.ndarray:
    return np.asarray(total) / (2**bits - 1) * (high - low) + low


def _stub_integers(values: Any, low: float, high: float, bits: int) -> Any: ...


def _stub_sum(total: Any, clients: int, low: float, high: float, bits: int) -> Any: ...


@exercise(
    "05.3",
    "The integers of a secure sum",
    solution=(to_integers, from_sum),
    stub=(_stub_integers, _stub_sum),
    wrong=(
        (_truncated, from_sum),
        (_not_cut, from_sum),
        (_one_too_many, from_sum),
        (to_integers, _low_once),
        (to_integers, lambda total, clients, low, high, bits: np.asarray(total) / (2**bits - 1)),
        (lambda values, low, high, bits: np.clip(values, low, high), from_sum),
    ),
    hints=(
        "First cut off with np.clip, then map to a share between 0 and 1, then to integers.",
        "np.rint rounds to the nearest. How often was `low` subtracted, in the sum of all clients?",
    ),
)
def check_integers(answer: Any) -> None:
    expect.that(isinstance(answer, tuple) and len(answer) == 2, "Give both functions.")
    there, back = answer
    first = there(np.array([-1.0, 0.0, 1.0]), -1.0, 1.0, 2)
    if first is None or first is ...:
        raise NotAttempted
    expect.close(there(np.array([-1.0, 1.0]), -1.0, 1.0, 3), [0, 7], "the bounds, with 3 bits")
    expect.close(there(np.array([-9.0, 9.0]), -1.0, 1.0, 3), [0, 7], "values outside, 3 bits")
    values = np.array([-0.9, -0.2, 0.05, 0.69])
    given = there(values, -1.0, 1.0, 4)
    expect.close(given, to_integers(values, -1.0, 1.0, 4), "four values, 4 bits, rounded")
    rng = np.random.default_rng(5)
    sent = rng.uniform(-2, 6, size=(5, 7))
    total = sum(to_integers(one, -2.0, 6.0, 16) for one in sent)
    expect.close(back(total, 5, -2.0, 6.0, 16), sent.sum(axis=0), "a sum of 5", rtol=0, atol=1e-3)


def next_state(state: dict, updates: np.ndarray, rows: np.ndarray, momentum: float) -> dict:
    """Return the state after a round, and leave the old one alone."""
    mean = np.average(updates, axis=0, weights=rows)
    velocity = momentum * state["velocity"] + mean
    return {"weights": state["weights"] + velocity, "velocity": velocity}


def _in_place(state: dict, updates: np.ndarray, rows: np.ndarray, momentum: float) -> dict:
    state["velocity"] *= momentum
    state["velocity"] += np.average(updates, axis=0, weights=rows)
    state["weights"] += state["velocity"]
    return state


def _no_rows(state: dict, updates: np.ndarray, rows: np.ndarray, momentum: float) -> dict:
    return next_state(state, updates, np.ones(len(rows)), momentum)


def _forgets(state: dict, updates: np.ndarray, rows: np.ndarray, momentum: float) -> dict:
    new = next_state(state, updates, rows, momentum)
    return {**new, "velocity": state["velocity"]}


def _minus(state: dict, updates: np.ndarray, rows: np.ndarray, momentum: float) -> dict:
    new = next_state(state, updates, rows, momentum)
    return {**new, "weights": state["weights"] - new["velocity"]}


@exercise(
    "05.4",
    "A server as a state machine",
    solution=next_state,
    wrong=(
        _in_place,
        _no_rows,
        _forgets,
        _minus,
        lambda state, updates, rows, momentum: next_state(state, updates, rows, 0.0),
    ),
    hints=(
        "np.average takes weights. An update is new weights minus old: it is added.",
        "`+=` on an array changes the array, and with it the caller's old state.",
    ),
)
def check_state(answer: Any) -> None:
    rng = np.random.default_rng(4)
    old = {"weights": rng.normal(size=5), "velocity": rng.normal(size=5)}
    kept = {name: value.copy() for name, value in old.items()}
    updates, rows = rng.normal(size=(3, 5)), np.array([10.0, 30.0, 60.0])
    new = answer(old, updates, rows, 0.9)
    expect.that(
        isinstance(new, dict) and {"weights", "velocity"} <= set(new),
        "Return a dict with weights and velocity.",
    )
    for name, value in kept.items():
        expect.that(
            np.array_equal(old[name], value), f"The old state was changed: look at its {name}."
        )
    wanted = next_state(kept, updates, rows, 0.9)
    for name in ("velocity", "weights"):
        expect.close(new[name], wanted[name], f"the {name} after one round")
    twice = answer(new, updates, rows, 0.9)
    expect.close(
        twice["weights"], next_state(wanted, updates, rows, 0.9)["weights"], "after two rounds"
    )
