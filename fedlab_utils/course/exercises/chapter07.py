"""Exercises of chapter 07: secure multi-party aggregation."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise


def headroom(clients: int, fraction_bits: int) -> float:
    """Return the largest value (a float) of each client."""
    return (2**31 - 1) // clients / 2**fraction_bits


@exercise(
    "07.1",
    "Headroom",
    solution=headroom,
    wrong=(
        lambda clients, fraction_bits: (2**31 - 1) / 2**fraction_bits,
        lambda clients, fraction_bits: (2**32 - 1) // clients / 2**fraction_bits,
        lambda clients, fraction_bits: (2**31 - 1) // clients,
        lambda clients, fraction_bits: (2**31 - 1) // clients * 2**fraction_bits,
        lambda clients, fraction_bits: 2 ** (31 - fraction_bits) / clients**0.5,
    ),
    hints=(
        "Half of the ring is for negative numbers. Which is the largest positive integer?",
        "Share it out among the clients first; then an integer stands for integer / 2^f.",
    ),
)
def check_headroom(answer: Any) -> None:
    for clients, bits in ((1, 0), (1, 16), (10, 16), (3, 8), (1000, 20)):
        what = f"{clients} client(s), {bits} fraction bits"
        expect.close(answer(clients, bits), headroom(clients, bits), what, rtol=1e-6)


def mask_vector(vector: np.ndarray, me: int, masks: Mapping[int, np.ndarray]) -> np.ndarray:
    """Return the masked vector [P] (uint32); leave `vector` as it is."""
    masked = vector.copy()
    for peer, mask in masks.items():
        masked = masked + mask if me < peer else masked - mask
    return masked


def _adds_all(vector: np.ndarray, me: int, masks: Mapping[int, np.ndarray]) -> np.ndarray:
    return vector + np.sum(list(masks.values()), axis=0, dtype=np.uint32)


def _by_parity(vector: np.ndarray, me: int, masks: Mapping[int, np.ndarray]) -> np.ndarray:
    return mask_vector(vector, 0 if me % 2 else 99, masks)


def _in_place(vector: np.ndarray, me: int, masks: Mapping[int, np.ndarray]) -> np.ndarray:
    vector[:] = mask_vector(vector, me, masks)
    return vector


def _higher_adds(vector: np.ndarray, me: int, masks: Mapping[int, np.ndarray]) -> np.ndarray:
    return mask_vector(vector, -me, {-peer: mask for peer, mask in masks.items()})


@exercise(
    "07.2",
    "Masks that cancel",
    solution=mask_vector,
    wrong=(
        _adds_all,
        _by_parity,
        _in_place,
        _higher_adds,
        lambda vector, me, masks: vector.copy(),
        lambda vector, me, masks: mask_vector(vector, me, masks).astype(float),
    ),
    hints=(
        "Of each pair, one bank adds the mask and the other subtracts it. Compare their numbers.",
        "uint32 wraps around by itself. Begin with vector.copy(), or you change the bank's own.",
    ),
)
def check_masks(answer: Any) -> None:
    rng = np.random.default_rng(7)
    for banks in (2, 3, 5):
        vectors = rng.integers(0, 2**32, (banks, 6), dtype=np.uint32)
        before = vectors.copy()
        masks = {
            (u, v): rng.integers(0, 2**32, 6, dtype=np.uint32)
            for u in range(banks)
            for v in range(u + 1, banks)
        }
        sent = []
        for me in range(banks):
            own = {v: masks[min(me, v), max(me, v)] for v in range(banks) if v != me}
            sent.append(np.asarray(answer(vectors[me], me, own)))
            expect.shape(sent[-1], (6,), "the masked vector")
            expect.that(sent[-1].dtype == np.uint32, "The masked vector must have the type uint32.")
            expect.that((vectors == before).all(), "Your function changed the bank's own vector.")
            expect.that((sent[-1] != vectors[me]).any(), "What a bank sends is not masked.")
        total, wanted = (np.sum(x, axis=0, dtype=np.uint32) for x in (sent, vectors))
        expect.that((total == wanted).all(), f"With {banks} banks the masks do not cancel.")
        lower = np.asarray(answer(vectors[0], 0, {1: masks[0, 1]}))
        expect.that(
            (lower == vectors[0] + masks[0, 1]).all(), "The bank with the lower number adds."
        )


def what_to_reveal(
    holders: set[int], survivors: set[int], threshold: int
) -> tuple[set[int], set[int]]:
    """Return (seeds, pair_keys): two sets of banks."""
    if len(survivors) < threshold or not survivors <= holders:
        raise ValueError("this request cannot be honest")
    return holders & survivors, holders - survivors


@exercise(
    "07.3",
    "Never both",
    solution=what_to_reveal,
    wrong=(
        lambda holders, survivors, threshold: (holders, holders - survivors),
        lambda holders, survivors, threshold: (holders & survivors, holders - survivors),
        lambda holders, survivors, threshold: what_to_reveal(holders, survivors, threshold)[::-1],
        lambda holders, survivors, threshold: what_to_reveal(
            holders, survivors & holders, threshold
        ),
        lambda holders, survivors, threshold: what_to_reveal(holders, survivors, threshold + 1),
        lambda holders, survivors, threshold: what_to_reveal(holders, survivors, 0),
    ),
    hints=(
        "Whose self-mask must come off: of those in the sum, or of those that vanished?",
        "Before you answer, two things can be wrong: too few survivors, or one who is no holder. "
        "For sets, a <= b says whether all of a is in b.",
    ),
)
def check_reveal(answer: Any) -> None:
    everyone = {1, 2, 3, 4, 5}
    for survivors in ({1, 2, 3, 4, 5}, {1, 2, 4, 5}, {2, 3, 5}):
        given = answer(set(everyone), set(survivors), 3)
        expect.that(
            isinstance(given, tuple) and len(given) == 2, "Return two sets: seeds, pair keys."
        )
        seeds, keys = set(given[0]), set(given[1])
        expect.that(not seeds & keys, "For one bank, both secrets are revealed.")
        expect.that(seeds | keys == everyone, "For one bank, neither secret is revealed.")
        expect.that(seeds == survivors, "The seeds must be those of the survivors, and no others.")
    for survivors, why in (
        ({1, 2}, "Two survivors are fewer than the threshold of three."),
        ({1, 2, 3, 9}, "Bank 9 has sent no shares, and cannot have survived."),
    ):
        try:
            answer(set(everyone), set(survivors), 3)
        except ValueError:
            continue
        raise expect.Wrong(f"{why} Your function answers all the same.")
