"""Random numbers that sender and receiver draw alike. Taught in chapter 12.

They come from a counter and a hash, not from a library's generator, so that they are part of the
message format: another machine, with another version of NumPy, draws the same. They are random
enough for rounding and sampling, and no secret.
"""

from __future__ import annotations

import hashlib

import numpy as np

from fedlab_utils.federate.order import GOLDEN, mix

# What a draw is for; each purpose has numbers of its own.
ROUNDING, SIGNS, SUBSET = 1, 2, 3


def seed_of(*parts: int | str) -> int:
    """A 64-bit seed that depends on all parts: run, purpose, round, name of the client, ..."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little")


def integers(seeds: np.ndarray, purpose: int, length: int) -> np.ndarray:
    """Seeds [K] (uint64) -> random 64-bit numbers [K, length] (uint64).

    Source: SplitMix64, Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195.
    """
    start = mix(seeds + np.asarray([purpose], np.uint64) * GOLDEN)
    return mix(start[:, None] + np.arange(1, length + 1, dtype=np.uint64) * GOLDEN)


def uniforms(seeds: np.ndarray, length: int) -> np.ndarray:
    """Numbers [K, length] in [0, 1), for stochastic rounding."""
    return (integers(seeds, ROUNDING, length) >> np.uint64(11)) * 2.0**-53


def signs(seeds: np.ndarray, length: int) -> np.ndarray:
    """-1 or 1 [K, length] (float32), for the random rotation."""
    top = integers(seeds, SIGNS, length) >> np.uint64(63)
    return 1 - 2 * top.astype(np.float32)


def subsets(seeds: np.ndarray, size: int, count: int) -> np.ndarray:
    """`count` of `size` positions [K, count], rising, each subset equally likely."""
    keys = integers(seeds, SUBSET, size)
    return np.sort(np.argpartition(keys, count - 1, axis=1)[:, :count], axis=1)
