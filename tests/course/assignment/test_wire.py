"""Values cross whole, and nothing but values crosses."""

import json
from contextlib import suppress
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedlab_utils.course.assignment import wire

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers()
SCALARS = SCALARS | st.text() | st.binary() | st.fractions() | st.just(...)
KEYS = st.integers() | st.text() | st.tuples(st.booleans(), st.binary())
ARRAYS = hnp.arrays(
    st.sampled_from(["<f8", "<f4", ">i4", "|u1", "|b1", "<c8", "<U5"]), hnp.array_shapes(min_dims=0)
)
VALUES = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(KEYS, inner)
        | st.lists(inner).map(tuple)
        | st.sets(KEYS)
        | st.frozensets(KEYS)
    ),
    max_leaves=12,
)


def across(value: Any) -> Any:
    def keep(function: Any) -> int:
        return 7

    def fetch(number: int, stub: bool) -> Any:
        return ("function", number, stub)

    return wire.decode(json.loads(json.dumps(wire.encode(value, keep))), fetch)


def equal(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and (one.tobytes() == other.tobytes())
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    return repr(one) == repr(other) or one == other  # NaN has one spelling, a set none


@settings(deadline=None, max_examples=40)
@given(VALUES)
def test_what_arrives_is_what_was_sent(value: Any) -> None:
    assert equal(across(value), value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_tensors_arrive(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    sent = torch.arange(6)[: int(np.prod(shape))].reshape(shape).to(dtype)
    found = across(sent.requires_grad_() if dtype.is_floating_point else sent)
    assert found.dtype == dtype and found.shape == sent.shape and torch.equal(found, sent)


def test_numpy_scalars_and_generators_stay_what_they_are() -> None:
    for value in (np.float64(0.1), np.uint32(7), np.bool_(True)):
        assert type(across(value)) is type(value) and across(value) == value
    sent = np.random.default_rng(3)
    sent.random(5)
    assert across(sent).random() == np.random.default_rng(3).random(6)[-1]


class Liar(float):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = float.__hash__


def test_a_class_of_ones_own_arrives_as_what_it_holds_or_not_at_all() -> None:
    assert type(across(Liar(3.0))) is float and across(Liar(3.0)) != 4.0
    with pytest.raises(wire.NotPlain, match="an object of the type Liar"):
        across(type("Liar", (), {"__eq__": lambda self, other: True})())
    with pytest.raises(wire.NotPlain, match="objects"):
        across(np.array([Liar(1.0), "x"], dtype=object))


def test_functions_cross_as_numbers_and_stubs_as_stubs() -> None:
    def stub(x: Any) -> Any: ...

    assert across((len, stub)) == (("function", 7, False), ("function", 7, True))


@pytest.mark.parametrize(
    "message",
    [
        [],
        ["nonsense", 1],
        ["int", "0x" + "f" * 30_000],
        ["int", 3],
        ["str", ["a"]],
        ["str", 5],
        ["array", "|O8", [1], ""],
        ["array", "<f8", [3], "AAAA"],
        ["array", "<f8", [-1], ""],
        ["array", "<f8", [10**9, 0], ""],
        ["array", ["<f8"], [1], ""],
        ["tensor", "load", [1], ""],
        ["tensor", "float32", [2], "AAAA"],
        ["dict", [[["list", []], None]]],
        ["set", [["int", hex(i)] for i in range(20_000)]],
        ["fraction", ["0x1", "0x0"]],
        ["generator", ["int", "0x1"]],
        ["generator", ["dict", [[["str", "bit_generator"], ["str", "MT19937"]]]]],
        ["function", "x", False],
        ["function"],
        ["dict"],
        ["array", "<f8"],
        ["one", "<M8[s]", [], "AAAA"],
        {"a": 1},
        "text",
        5,
    ],
)
def test_a_forged_message_is_refused(message: Any) -> None:
    with pytest.raises(wire.NotPlain):
        wire.decode(message, lambda number, stub: None)


@settings(deadline=None)
@given(
    st.recursive(
        st.none()
        | st.text()
        | st.integers()
        | st.sampled_from(
            [
                "int",
                "float",
                "array",
                "tensor",
                "dict",
                "set",
                "str",
                "one",
                "fraction",
                "generator",
            ]
        ),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=15,
    )
)
def test_no_message_raises_anything_else(message: Any) -> None:
    with suppress(wire.NotPlain):
        wire.decode(message, lambda number, stub: None)


def test_changes_of_arguments_are_done_to_the_originals() -> None:
    array, tensor, rng = np.zeros(3), torch.zeros(2), np.random.default_rng(0)
    inner = {"a": array, "b": 1}
    original = (inner, [tensor, 5], {1, 2}, (array,), rng, [1])
    after_rng = np.random.default_rng(9)
    after = ({"a": np.ones(3), "b": 2}, [torch.ones(2), 6], {3}, (np.ones(3),), after_rng, [1, 2])
    wire.restore(original, after)
    assert array.tolist() == [1, 1, 1] and tensor.tolist() == [1, 1]
    assert inner["a"] is array and inner["b"] == 2
    assert original[1][1] == 6 and original[2] == {3} and original[5] == [1, 2]
    assert rng.random() == np.random.default_rng(9).random()
    other = {"a": 1}
    wire.restore(other, {"b": 2})
    assert other == {"b": 2}
    wire.restore(array, np.ones(4))  # of another shape: left alone
    wire.restore(array, "text")
    assert array.tolist() == [1, 1, 1] and across(Fraction(2, 4)) == Fraction(1, 2)
