"""Where noise and sampling coins come from: repeatable, or from the operating system.

Taught in chapter 06.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Protocol

import numpy as np

_NORMALS = 4  # normals added up for each value of `SystemNoise`


class Stream(Protocol):
    """Random numbers for one purpose: one client in one round, or the server in one round."""

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Standard normal values, float32."""
        ...

    def uniform(self, size: int) -> np.ndarray:
        """Uniform values in (0, 1], float64 [size]."""
        ...

    def skellam(self, variance: float, shape: tuple[int, ...]) -> np.ndarray:
        """Whole numbers, int64: the difference of two Poisson(variance / 2) values."""
        ...


class NoiseSource(Protocol):
    """Makes streams; a frozen dataclass, so that its repr says which source a run used."""

    def stream(self, *key: int) -> Stream:
        """The stream that belongs to the numbers in `key` (seed, purpose, round, client)."""
        ...


@dataclass(frozen=True)
class SeededNoise:
    """Repeatable noise for experiments: same key, same bits, whoever else draws.

    Whoever knows the seed can subtract the noise, and the generator (SFC64) is not a
    cryptographic one: with this source an epsilon describes the method, not a deployment.
    Taught in chapter 06.
    """

    def stream(self, *key: int) -> Stream:
        """See NoiseSource."""
        # A SeedSequence takes no negative number.
        return _Seeded(np.random.SFC64([k % 2**64 for k in key]))


class _Seeded:
    def __init__(self, bits: np.random.BitGenerator):
        self.rng = np.random.Generator(bits)

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng.standard_normal(shape, dtype=np.float32)

    def uniform(self, size: int) -> np.ndarray:
        return 1.0 - self.rng.random(size)

    def skellam(self, variance: float, shape: tuple[int, ...]) -> np.ndarray:
        half = variance / 2
        return self.rng.poisson(half, shape) - self.rng.poisson(half, shape)


@dataclass(frozen=True)
class SystemNoise:
    """Noise from the operating system's cryptographic generator; no key, never repeatable.

    A float is not a real number: which floats can come out of "value + noise" depends on the
    value, and the low bits have been used to undo textbook Laplace noise (Mironov, "On
    significance of the least significant bits for differential privacy", CCS 2012). What is done
    here: each normal value is half the sum of four, from 53-bit uniforms by Box and Muller, so that
    an output cannot be traced back to one input of the generator (Holohan and Braghin, "Secure
    random sampling in differential privacy", 2021, https://arxiv.org/abs/2107.10138; Opacus does
    the same). That makes the attack much harder and is no proof; for a proof the noise has to be
    whole numbers on a grid, as in `DistributedDP`. Timing is not hidden either.
    Taught in chapter 06.
    """

    def stream(self, *key: int) -> Stream:
        """See NoiseSource; the key is ignored."""
        return _System()


class _System:
    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        size = int(np.prod(shape))
        radius = np.sqrt(-2.0 * np.log(self.uniform(_NORMALS * size)))
        angle = 2.0 * np.pi * self.uniform(_NORMALS * size)
        values = (radius * np.cos(angle)).reshape(_NORMALS, size).sum(axis=0)
        return (values / np.sqrt(_NORMALS)).astype(np.float32).reshape(shape)

    def uniform(self, size: int) -> np.ndarray:
        words = np.frombuffer(secrets.token_bytes(8 * size), dtype=np.uint64)
        return ((words >> np.uint64(11)).astype(np.float64) + 1.0) * 2.0**-53

    def skellam(self, variance: float, shape: tuple[int, ...]) -> np.ndarray:
        from scipy.special import pdtrik

        # A Poisson value is the smallest k whose distribution function reaches a uniform value.
        size, half = int(np.prod(shape)), variance / 2
        one, two = (np.ceil(pdtrik(self.uniform(size), half)) for _ in range(2))
        return (one - two).astype(np.int64).reshape(shape)


def poisson_sample(stream: Stream, rate: float, rows: int, steps: int) -> list[np.ndarray]:
    """Draw a Poisson sample of range(rows) for each step: each row by its own coin.

    The coins of all steps form one long row of coins, and only the gaps between heads are drawn,
    so the cost grows with the rows taken, not with the rows there are. Returns `steps` arrays
    of row numbers, some of which may be empty.
    """
    total = steps * rows
    if rate >= 1:
        return [np.arange(rows)] * steps
    expected = rate * total
    heads: list[np.ndarray] = []
    last = -1
    while last < total:
        size = int(expected + 6 * np.sqrt(expected) + 16)
        # Gaps beyond the end are cut, or a tiny rate would overflow.
        gaps = np.minimum(np.log(stream.uniform(size)) / np.log1p(-rate), total).astype(np.int64)
        positions = last + np.cumsum(gaps + 1)
        heads.append(positions)
        last = int(positions[-1])
    taken = np.concatenate(heads)
    taken = taken[taken < total]
    ends = np.searchsorted(taken, rows * np.arange(1, steps))
    return np.split(taken % rows, ends)
