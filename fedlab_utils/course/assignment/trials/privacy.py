"""Trials of the exercises of chapters 06 to 08."""

from typing import Any

import numpy as np

from fedlab_utils.course.assignment.trials.registry import TRIALS, WRONG, tensor, trial
from fedlab_utils.course.expect import Wrong


@trial("06.1")
def _rows_to_clip(rng: np.random.Generator) -> tuple:
    return 3 * tensor(rng, int(rng.integers(1, 9)), 4), float(rng.uniform(0.5, 9))


@trial("06.2")
def _accounts(rng: np.random.Generator) -> tuple:
    orders = np.unique(rng.integers(2, 300, size=40))
    return float(rng.uniform(0.5, 9)), int(rng.integers(1, 900)), 10 ** -rng.uniform(3, 8), orders


@trial("06.3")
def _gradients(rng: np.random.Generator) -> tuple:
    b, n_in, n_out = (int(side) for side in rng.integers(2, 9, size=3))
    return tensor(rng, b, n_out), tensor(rng, b, n_in)


@trial("06.4")
def _records(rng: np.random.Generator) -> tuple:
    return float(rng.uniform(0.5, 9)), int(rng.integers(1, 60))


@trial("07.1")
def _rooms(rng: np.random.Generator) -> tuple:
    return int(rng.integers(1, 5000)), int(rng.integers(0, 20))


@trial("07.2")
def _masks(rng: np.random.Generator) -> tuple:
    me, k, p = int(rng.integers(0, 6)), int(rng.integers(2, 7)), int(rng.integers(2, 9))
    vectors = rng.integers(0, 2**32, size=(k, p), dtype=np.uint32)
    return vectors[0], me, {peer: vectors[peer] for peer in range(k) if peer != me}


@trial("07.3")
def _reveals(rng: np.random.Generator) -> tuple:
    holders = set(rng.permutation(40)[: rng.integers(4, 12)].tolist())
    survivors = {bank for bank in holders if rng.random() < 0.7}
    if rng.random() < 0.3:
        survivors.add(99)
    return holders, survivors, int(rng.integers(2, len(holders)))


def _ciphertexts(answer: Any, solution: Any, rng: np.random.Generator) -> None:
    """Exercise 08.1 leaves open whether the result is blinded anew: what it decrypts to decides."""
    from fedlab_utils.privacy.he.textbook import SecretKey

    key = SecretKey(1_000_003, 1_000_033)
    plain, weights = ([int(x) for x in rng.integers(1, 5000, size=4)] for _ in range(2))
    given = answer([key.public.encrypt(m) for m in plain], weights, key.public.n)
    wanted = sum(m * w for m, w in zip(plain, weights, strict=True))
    if not isinstance(given, int) or key.decrypt(given) != wanted:
        raise Wrong(WRONG)


TRIALS["08.1"] = _ciphertexts


@trial("08.2")
def _slots(rng: np.random.Generator) -> tuple:
    weights = tuple(int(w) for w in rng.integers(1, 5000, size=int(rng.integers(1, 9))))
    return int(rng.integers(1, 20)), int(rng.integers(1, 24)), weights


@trial("08.3")
def _splits(rng: np.random.Generator) -> tuple:
    width, count = int(rng.integers(2, 50)), int(rng.integers(1, 9))
    integer = 0
    for slot in rng.integers(0, 2**width, size=count).tolist():
        integer = integer << width | slot
    return integer, width, count


@trial("08.4")
def _points(rng: np.random.Generator) -> tuple:
    holders = int(rng.integers(3, 9))
    numbers = (rng.permutation(holders)[: rng.integers(1, holders)] + 1).tolist()
    return numbers, holders
