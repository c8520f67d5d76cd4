"""Exercises of chapter 12: Fewer bytes."""

from math import ceil
from typing import Any

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise


def round_randomly(x: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Round x [n] down, or up if u [n] is below the fraction of x."""
    below = np.floor(x)
    return below + (np.asarray(u) < np.asarray(x) - below)


@exercise(
    "12.1",
    "Rounding with chance",
    solution=round_randomly,
    wrong=(
        lambda x, u: np.rint(x),
        lambda x, u: np.floor(x) + (np.asarray(u) < 0.5),
        lambda x, u: np.floor(x) + (np.asarray(u) > np.asarray(x) - np.floor(x)),
        lambda x, u: np.trunc(x) + (np.asarray(u) < np.asarray(x) - np.trunc(x)),
        lambda x, u: np.floor(x) + (np.asarray(u) <= np.asarray(x) - np.floor(x)),
    ),
    hints=(
        "How far is x above the next lower whole number? A number of 2.9 should nearly always go "
        "up, and 2.1 nearly never.",
        "np.floor(x) works for negative numbers too: floor(-0.25) is -1, and -0.25 is 0.75 above.",
    ),
)
def check_round_randomly(answer: Any) -> None:
    rng = np.random.default_rng(0)
    for value in (0.25, 2.9, -0.25, -7.5):
        x = np.full(20_000, value)
        given = expect.numbers(answer(x, rng.random(20_000)), f"{value} rounded 20,000 times")
        expect.shape(given, x.shape, "as many numbers as you got")
        allowed = {np.floor(value), np.ceil(value)}
        expect.that(
            set(np.unique(given)) <= allowed, f"{value} must become one of its two neighbours."
        )
        expect.that(
            abs(given.mean() - value) < 0.02,
            f"{value}, rounded 20,000 times, has a mean of {given.mean():.3f}.",
        )
    whole = np.array([-3.0, 0.0, 5.0])
    expect.close(answer(whole, np.zeros(3)), whole, "whole numbers, with u = 0")


def message_bytes(parameters: int, bits: int, bucket: int) -> int:
    """Return 8 + 4 for each (started) bucket + the packed bits, in whole bytes."""
    return 8 + 4 * ceil(parameters / bucket) + ceil(parameters * bits / 8)


@exercise(
    "12.2",
    "Bytes of a message",
    solution=message_bytes,
    wrong=(
        lambda parameters, bits, bucket: 8 + 4 * ceil(parameters / bucket) + parameters * bits,
        lambda parameters, bits, bucket: 8 + 4 * (parameters // bucket) + parameters * bits // 8,
        lambda parameters, bits, bucket: (
            4 * ceil(parameters / bucket) + ceil(parameters * bits / 8)
        ),
        lambda parameters, bits, bucket: 8 + 4 + ceil(parameters * bits / 8),
        lambda parameters, bits, bucket: (
            8 + 4 * ceil(parameters / bucket) + parameters * ceil(bits / 8)
        ),
    ),
    hints=(
        "Three parts: the header, one float32 for each bucket, and the numbers, without gaps "
        "between them.",
        "A bucket that is not full has a norm too, and a byte that is not full is sent too.",
    ),
)
def check_message_bytes(answer: Any) -> None:
    from fedlab_utils.federate.compress import QSGD

    expect.close(answer(512, 8, 512), 8 + 4 + 512, "512 parameters, 8 bits, one bucket")
    for parameters, bits, bucket in ((2975, 4, 512), (2975, 3, 64), (10, 2, 512), (1, 5, 1)):
        codec = QSGD(bits, bucket)
        wanted = codec.header_length + codec.length(parameters)
        what = f"{parameters} parameters, {bits} bits, buckets of {bucket}"
        expect.close(answer(parameters, bits, bucket), wanted, what)


def sparse_step(update: np.ndarray, memory: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (what is sent, the new memory): the k largest of update + memory, and the rest."""
    wanted = np.asarray(update, dtype=float) + np.asarray(memory, dtype=float)
    sent = np.zeros_like(wanted)
    largest = np.argsort(-np.abs(wanted), kind="stable")[:k]
    sent[largest] = wanted[largest]
    return sent, wanted - sent


def _forgets(update: np.ndarray, memory: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    sent, _ = sparse_step(update, memory, k)
    return sent, np.asarray(update) - sent


def _signed(update: np.ndarray, memory: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    wanted = np.asarray(update, dtype=float) + np.asarray(memory, dtype=float)
    sent = np.where(wanted >= np.sort(wanted)[-k], wanted, 0)
    return sent, wanted - sent


@exercise(
    "12.3",
    "A step of error feedback",
    solution=sparse_step,
    wrong=(
        _forgets,
        _signed,
        lambda update, memory, k: (
            sparse_step(update, 0 * memory, k)[0],
            sparse_step(update, 0 * memory, k)[1] + memory,
        ),
        lambda update, memory, k: sparse_step(update, 0 * memory, k),
        lambda update, memory, k: sparse_step(update, memory, k)[::-1],
    ),
    hints=(
        "First add the memory to the update; choose, send and remember from this sum.",
        "The largest are the largest in absolute value: np.argsort(-np.abs(...))[:k].",
    ),
)
def check_sparse_step(answer: Any) -> None:
    update, memory = np.array([1.0, -5.0, 2.0, 0.5]), np.array([0.0, 0.0, 2.5, -0.25])
    kept = update.copy(), memory.copy()
    given = answer(update, memory, 2)
    expect.that(isinstance(given, tuple) and len(given) == 2, "Return a pair: sent, memory.")
    expect.close(given[0], [0, -5, 4.5, 0], "what is sent, k = 2")
    expect.close(given[1], [1, 0, 0, 0.25], "the new memory, k = 2")
    expect.that(
        np.array_equal(update, kept[0]) and np.array_equal(memory, kept[1]),
        "Leave the arguments as they are.",
    )
    rng = np.random.default_rng(0)
    updates, left, sent = rng.normal(size=(30, 50)), np.zeros(50), np.zeros(50)
    for row in updates:
        one, left = answer(row, left, 3)
        expect.that(np.count_nonzero(one) == 3, "Exactly k numbers must be sent.")
        sent = sent + one
    expect.close(sent + left, updates.sum(axis=0), "all that was sent, and what is left")


def lanes(clients: int, bits: int) -> int:
    """Return 31 // (bits that hold the sum of `clients` numbers of `bits` bits)."""
    return 31 // (clients * (2**bits - 1)).bit_length()


@exercise(
    "12.4",
    "Lanes in a ring element",
    solution=lanes,
    wrong=(
        lambda clients, bits: 31 // bits,
        lambda clients, bits: 31 // (bits * clients),
        lambda clients, bits: 31 // (bits + clients.bit_length()),
        lambda clients, bits: 32 // (clients * (2**bits - 1)).bit_length(),
        lambda clients, bits: 31 // (2**bits - 1).bit_length() // clients,
    ),
    hints=(
        "What is the largest sum that can occur in one lane? How many bits does it need?",
        "The largest number of b bits is 2**b - 1; (n).bit_length() says how many bits n needs.",
    ),
)
def check_lanes(answer: Any) -> None:
    expect.close(answer(1, 8), 3, "one client, 8 bits: three lanes in 31 bits")
    expect.close(answer(10, 8), 2, "ten clients, 8 bits")
    expect.close(answer(10, 4), 3, "ten clients, 4 bits")
    for clients, bits in ((2, 1), (3, 2), (4, 8), (100, 1), (1000, 6), (16, 4), (1, 16)):
        expect.close(answer(clients, bits), lanes(clients, bits), f"{clients} clients, {bits} bits")
