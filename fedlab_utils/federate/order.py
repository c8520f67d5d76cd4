"""The order in which each client visits its rows: fixed by the seed alone. Taught in chapter 03."""

from __future__ import annotations

import numpy as np

# 2^64 over the golden ratio: the step of the counter that `mix` turns into random numbers.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_INDEX_BITS = 24
_INDEX_MASK = np.uint64((1 << _INDEX_BITS) - 1)


def mix(z: np.ndarray) -> np.ndarray:
    """A hash of 64-bit numbers: the finaliser of SplitMix64.

    Source: Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195.
    """
    z = z ^ (z >> np.uint64(30))
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def batch_order(
    seed: int, round_: int, clients: np.ndarray, epochs: np.ndarray, length: int, sizes: np.ndarray
) -> np.ndarray:
    """Shuffled row numbers of many clients at once.

    Each client's order is a function of (seed, round, client, epoch) only, so it is the same
    whoever else takes part, in whatever chunk, and in the loop as in the stacked engine. Random
    keys come from a counter, and sorting keys that carry their row number in the low bits
    shuffles the rows; one generator object per client would cost more than the training.

    Args:
        clients: [K] numbers of the clients in the federation.
        epochs: [K] number of the local epoch each client begins.
        length: width L of the result, at least max(sizes) and less than 2^24.
        sizes: [K] training rows of each client.

    Returns:
        [K, L] int64. The first sizes[k] entries of row k are a permutation of
        range(sizes[k]); the rest are padding (0).
    """
    stream = np.asarray([seed % 2**64], dtype=np.uint64)
    for part in (round_, clients, epochs):
        stream = mix((stream + np.asarray(part, dtype=np.uint64)) * GOLDEN + np.uint64(1))
    rows = np.arange(length, dtype=np.uint64)
    keys = mix(stream[:, None] + rows * GOLDEN)
    keys &= ~_INDEX_MASK
    keys |= rows
    padding = rows >= np.asarray(sizes, dtype=np.uint64)[:, None]
    keys[padding] = np.iinfo(np.uint64).max  # sorts to the end
    keys.sort(axis=1)
    keys &= _INDEX_MASK
    keys[padding] = 0
    return keys.view(np.int64)
