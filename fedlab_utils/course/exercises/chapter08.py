"""Exercises of chapter 08: homomorphic aggregation."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise
from fedlab_utils.course.expect import Wrong
from fedlab_utils.privacy.he.messages import CiphertextError
from fedlab_utils.privacy.he.textbook import SecretKey


def weighted_sum(ciphertexts: Sequence[int], weights: Sequence[int], n: int) -> int:
    """Return a Paillier ciphertext of the weighted sum of the plaintexts."""
    total = 1
    for c, w in zip(ciphertexts, weights, strict=True):
        total = total * pow(c, w, n * n) % (n * n)
    return total


def _times_weights(ciphertexts: Sequence[int], weights: Sequence[int], n: int) -> int:
    return math.prod(c * w for c, w in zip(ciphertexts, weights, strict=True)) % (n * n)


@exercise(
    "08.1",
    "A weighted sum under Paillier",
    solution=weighted_sum,
    wrong=(
        lambda ciphertexts, weights, n: (
            sum(c * w for c, w in zip(ciphertexts, weights, strict=True)) % (n * n)
        ),
        lambda ciphertexts, weights, n: math.prod(ciphertexts) % (n * n),
        lambda ciphertexts, weights, n: (
            math.prod(pow(c, w, n) for c, w in zip(ciphertexts, weights, strict=True)) % n
        ),
        _times_weights,
    ),
    hints=(
        "What must be done to ciphertexts to add their plaintexts? What, to multiply one by w?",
        "Ciphertexts are numbers modulo n * n, not modulo n.",
    ),
)
def check_weighted_sum(answer: Any) -> None:
    key = SecretKey(1_000_003, 1_000_033)
    public = key.public
    for plaintexts, weights in (((5,), (1,)), ((3, 4), (1, 1)), ((10, 0, 7), (2, 50, 1000))):
        ciphertexts = [public.encrypt(m) for m in plaintexts]
        given = answer(ciphertexts, weights, public.n)
        expect.that(isinstance(given, int), "A ciphertext is one whole number.")
        expect.that(0 < given < public.square, "A ciphertext lies between 0 and n * n.")
        wanted = sum(m * w for m, w in zip(plaintexts, weights, strict=True))
        try:
            found = key.decrypt(given)
        except CiphertextError:
            raise Wrong("The result is no ciphertext under this key.") from None
        expect.that(
            found == wanted,
            f"plaintexts {plaintexts} with weights {weights}: it does not decrypt to the sum.",
        )


def slot_bits(limit: int, fraction_bits: int, weights: Sequence[int]) -> int:
    """Return the bits of a slot that holds any weighted sum of codes."""
    return (2 * limit * 2**fraction_bits * sum(weights)).bit_length()


@exercise(
    "08.2",
    "Room for a sum",
    solution=slot_bits,
    wrong=(
        lambda limit, fraction_bits, weights: (
            limit * 2**fraction_bits * sum(weights)
        ).bit_length(),
        lambda limit, fraction_bits, weights: (2 * limit * 2**fraction_bits).bit_length(),
        lambda limit, fraction_bits, weights: (
            2 * limit * 2**fraction_bits * len(weights)
        ).bit_length(),
        lambda limit, fraction_bits, weights: (
            2 * limit * 2**fraction_bits * max(weights)
        ).bit_length(),
        lambda limit, fraction_bits, weights: 2 * limit * 2**fraction_bits * sum(weights),
    ),
    hints=(
        "What is the largest code of one number in [-limit, limit]? It is the code of +limit.",
        "And the largest sum: every client sends that code, each multiplied by its weight.",
        "How many bits has the whole number m? m.bit_length() says it.",
    ),
)
def check_slot_bits(answer: Any) -> None:
    for limit, fraction_bits, weights in (
        (1, 1, (1,)),
        (8, 20, (1, 1, 1)),
        (8, 20, (1300, 700, 5000)),
        (1, 16, (3,)),
        (2, 10, (512,)),
    ):
        what = f"limit {limit}, {fraction_bits} fraction bits, weights {weights}"
        given = expect.numbers(answer(limit, fraction_bits, weights), what)
        expect.shape(given, (), what)
        expect.close(given, slot_bits(limit, fraction_bits, weights), what)


def split_slots(integer: int, width: int, count: int) -> list[int]:
    """Return the `count` slots of `width` bits, the highest first."""
    return [integer >> (width * i) & ((1 << width) - 1) for i in reversed(range(count))]


@exercise(
    "08.3",
    "Slots out of an integer",
    solution=split_slots,
    wrong=(
        lambda integer, width, count: [
            integer >> (width * i) & ((1 << width) - 1) for i in range(count)
        ],
        lambda integer, width, count: [integer >> (width * i) for i in reversed(range(count))],
        lambda integer, width, count: [
            integer >> (width * i) & (1 << width) for i in reversed(range(count))
        ],
        lambda integer, width, count: [
            int(digit) for digit in format(integer, f"0{width * count}b")
        ],
    ),
    hints=(
        "integer >> (width * i) moves slot i to the lowest place. What must go away above it?",
        "The mask of `width` ones is (1 << width) - 1; & keeps what is under the mask.",
        "Which of the shifts belongs to the first slot of the list?",
    ),
)
def check_split(answer: Any) -> None:
    for slots, width in (([1, 2, 3], 4), ([0, 255, 7, 0], 8), ([9], 5), ([2**40, 1], 41)):
        integer = 0
        for slot in slots:
            integer = integer << width | slot
        given = answer(integer, width, len(slots))
        expect.close(given, slots, f"{len(slots)} slots of {width} bits")


def lagrange(numbers: Sequence[int], holders: int) -> list[int]:
    """Return the whole-number Lagrange coefficients at 0, times holders!."""
    weights = []
    for i in numbers:
        weight = Fraction(math.factorial(holders))
        for j in numbers:
            if j != i:
                weight *= Fraction(j, j - i)
        weights.append(int(weight))
    return weights


def _swapped(numbers: Sequence[int], holders: int) -> list[int]:
    return [
        int(
            math.factorial(holders)
            * math.prod([Fraction(j, i - j) for j in numbers if j != i], start=Fraction(1))
        )
        for i in numbers
    ]


@exercise(
    "08.4",
    "Weights of the parts",
    solution=lagrange,
    wrong=(
        lambda numbers, holders: [w // math.factorial(holders) for w in lagrange(numbers, holders)],
        lambda numbers, holders: lagrange(numbers, len(numbers)),
        lambda numbers, holders: [math.factorial(holders)] * len(numbers),
        lambda numbers, holders: lagrange(sorted(numbers), holders),
        _swapped,
    ),
    hints=(
        "For the polynomial of degree 1 through the points 1 and 2: f(0) = 2 f(1) - f(2).",
        "The coefficient of point i is the product of j / (j - i) over the other points j.",
        "Multiply by holders! first, then divide: with fractions.Fraction nothing is lost.",
    ),
)
def check_lagrange(answer: Any) -> None:
    expect.close(answer([1, 2], 2), [4, -2], "points 1 and 2 of 2 holders")
    for numbers, holders in (([1, 2, 3], 5), ([5, 2, 4], 5), ([3], 4), ([1, 7, 4, 6], 7)):
        what = f"points {numbers} of {holders} holders"
        given = answer(numbers, holders)
        expect.close(given, lagrange(numbers, holders), what)
