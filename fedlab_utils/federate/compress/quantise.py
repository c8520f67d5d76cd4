"""Each number becomes one of few levels, at random such that the mean is right.

Taught in chapter 12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.compress.bits import pack, unpack
from fedlab_utils.federate.compress.codec import Codec, as_bytes, from_bytes, take
from fedlab_utils.federate.compress.draws import uniforms


def check_bits(name: str, bits: int, bucket: int, fewest: int = 1) -> None:
    """Raise FedlabError for numbers of bits or bucket sizes that make no sense."""
    if not (fewest <= bits <= 16 and int(bits) == bits):
        raise FedlabError(f"{name}: bits={bits}: give a whole number from {fewest} to 16.")
    if bucket < 1 or int(bucket) != bucket:
        raise FedlabError(f"{name}: bucket={bucket}: give a whole number of at least 1.")


def buckets(size: int, bucket: int) -> int:
    """How many buckets `size` numbers fill."""
    return -(-size // bucket)


def split(values: np.ndarray, bucket: int) -> np.ndarray:
    """[K, P] -> [K, B, bucket], the last bucket filled up with zeros."""
    rows, size = values.shape
    filled = np.zeros((rows, buckets(size, bucket) * bucket))
    filled[:, :size] = values
    return filled.reshape(rows, -1, bucket)


def join(parts: np.ndarray, size: int) -> np.ndarray:
    """The inverse of `split`: [K, B, bucket] -> [K, size]."""
    return parts.reshape(len(parts), -1)[:, :size]


def round_randomly(values: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Values [K, P] rounded up or down (int64), up with the probability that keeps the mean."""
    below = np.floor(values)
    return (below + (uniforms(seeds, values.shape[1]) < values - below)).astype(np.int64)


def upwards(values: np.ndarray) -> np.ndarray:
    """float64 -> float32, never below: a norm that is rounded down would be exceeded."""
    with np.errstate(over="ignore"):
        near = values.astype(np.float32)
    return np.where(near < values, np.nextafter(near, np.float32(np.inf)), near)


@dataclass(frozen=True)
class QSGD(Codec):
    """Stochastic quantisation: v_i becomes |v| sign(v_i) l / s, where l is a level 0, ..., s.

    |v| is the Euclidean norm of a bucket, sent as float32. s |v_i| / |v| is rounded to one of its
    two neighbours at random, such that the mean is v_i. The error is at most min(n / s^2, sqrt(n)
    / s) |v|^2 for a bucket of n numbers.

    Attributes:
        bits: for each number, 2 to 16; s = 2^(bits - 1) - 1 levels, and the sign.
        bucket: numbers that share a norm; small buckets err less and need more norms.

    Source: Alistarh et al. 2017, arXiv:1610.02132. (There levels get a variable-length code; see
    `Deflated`.) Taught in chapter 12.
    """

    bits: int = 8
    bucket: int = 512
    unbiased: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_bits("QSGD", self.bits, self.bucket, fewest=2)

    @property
    def levels(self) -> int:
        """s."""
        return 2 ** (self.bits - 1) - 1

    def body(self, values: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        parts = split(values, self.bucket)
        norm = upwards(np.sqrt(np.square(parts).sum(axis=2)))
        if not np.isfinite(norm).all():
            raise FedlabError("QSGD: the norm of an update is beyond float32. Look for divergence.")
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.where(norm[..., None] > 0, parts / norm[..., None] * self.levels, 0)
        flat = join(scaled, values.shape[1])
        level = round_randomly(np.abs(flat), seeds)
        codes = np.where(flat < 0, -level, level) + self.levels
        return np.concatenate([as_bytes(norm, "<f4"), pack(codes, self.bits)], axis=1)

    def read(self, bodies: np.ndarray, size: int, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        count = buckets(size, self.bucket)
        first, rest = take(bodies, [4 * count, bodies.shape[1] - 4 * count])
        norm, codes = from_bytes(first, "<f4").astype(np.float64), unpack(rest, self.bits, size)
        if (norm < 0).any() or (codes > 2 * self.levels).any():
            raise FedlabError("QSGD: a message has a negative norm or a level that does not exist.")
        level = split(codes - self.levels, self.bucket)
        return join(level * norm[..., None] / self.levels, size)

    def length(self, size: int) -> int:
        """See Codec."""
        return 4 * buckets(size, self.bucket) + (size * self.bits + 7) // 8

    def error(self, size: int) -> float:
        """The paper's bound, for the fullest bucket."""
        n = min(size, self.bucket)
        return float(min(n / self.levels**2, np.sqrt(n) / self.levels))


@dataclass(frozen=True)
class Uniform(Codec):
    """Stochastic rounding to 2^bits equally spaced levels from -m to m, m a bucket's largest value.

    One large number spoils the resolution of its bucket: use it after a rotation, which leaves no
    large ones (`Rotated(Uniform(4))`).

    Attributes:
        bits: for each number, 1 to 16.
        bucket: numbers that share a largest value.

    Source: Suresh, Yu, Kumar and McMahan 2017, arXiv:1611.00429. Taught in chapter 12.
    """

    bits: int = 4
    bucket: int = 512
    unbiased: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_bits("Uniform", self.bits, self.bucket)

    @property
    def top(self) -> int:
        """The highest level."""
        return 2**self.bits - 1

    def body(self, values: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        parts = split(values, self.bucket)
        most = np.abs(parts).max(axis=2).astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(most[..., None] > 0, parts / most[..., None], 0)
        scaled = join((share + 1) / 2 * self.top, values.shape[1])
        codes = round_randomly(scaled, seeds)
        return np.concatenate([as_bytes(most, "<f4"), pack(codes, self.bits)], axis=1)

    def read(self, bodies: np.ndarray, size: int, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        count = buckets(size, self.bucket)
        first, rest = take(bodies, [4 * count, bodies.shape[1] - 4 * count])
        most, codes = from_bytes(first, "<f4").astype(np.float64), unpack(rest, self.bits, size)
        if (most < 0).any():
            raise FedlabError("Uniform: a message has a largest value below 0.")
        return join((split(codes, self.bucket) / self.top * 2 - 1) * most[..., None], size)

    def length(self, size: int) -> int:
        """See Codec."""
        return 4 * buckets(size, self.bucket) + (size * self.bits + 7) // 8

    def error(self, size: int) -> float:
        """Each of n numbers errs by a quarter of a squared step at most."""
        return min(size, self.bucket) / self.top**2

    def error_rotated(self, size: int, block: int) -> float:
        """The square of the largest of n rotated numbers is (2 ln 2n + 2) / n |v|^2 at most, on
        the mean."""
        if block % min(self.bucket, size):
            return self.error(size)
        return float((2 * np.log(2 * block) + 2) / self.top**2)
