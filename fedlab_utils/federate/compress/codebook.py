"""Each number becomes the nearest word of a small codebook, times one scale that fits best.

Taught in chapter 12.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.compress.bits import pack, unpack
from fedlab_utils.federate.compress.codec import Codec, as_bytes, from_bytes, take
from fedlab_utils.federate.compress.quantise import buckets, check_bits, join, split


class _Codebook(Codec):
    """Words c(v) and a scale s = <v, c> / <c, c> for each bucket: s c is v's projection on c.

    So it never errs by more than v itself: a contraction, and biased.
    """

    bucket: int

    def words(self) -> np.ndarray:
        """The codebook, rising, for numbers of root mean square 1."""
        raise NotImplementedError

    def body(self, values: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        words, bits = self.words(), self._bits()
        parts = split(values, self.bucket)
        inside = split(np.ones_like(values), self.bucket)
        count = inside.sum(axis=2, keepdims=True)
        size = np.sqrt(np.square(parts).sum(axis=2, keepdims=True) / count)
        with np.errstate(divide="ignore", invalid="ignore"):
            normal = np.where(size > 0, parts / size, 0)
        codes = np.searchsorted((words[1:] + words[:-1]) / 2, normal, side="right")
        chosen = words[codes] * inside
        scale = (parts * chosen).sum(axis=2) / np.square(chosen).sum(axis=2)
        flat = join(codes, values.shape[1])
        return np.concatenate([as_bytes(scale, "<f4"), pack(flat, bits)], axis=1)

    def read(self, bodies: np.ndarray, size: int, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        count = buckets(size, self.bucket)
        first, rest = take(bodies, [4 * count, bodies.shape[1] - 4 * count])
        scale = from_bytes(first, "<f4").astype(np.float64)
        if (scale < 0).any():
            raise FedlabError(f"{type(self).__name__}: a message has a scale below 0.")
        codes = split(unpack(rest, self._bits(), size), self.bucket).astype(np.int64)
        return join(self.words()[codes] * scale[..., None], size)

    def length(self, size: int) -> int:
        """See Codec."""
        return 4 * buckets(size, self.bucket) + (size * self._bits() + 7) // 8

    def error(self, size: int) -> float:
        """The worst case is a single number other than 0, whose bucket drowns it."""
        words = np.abs(self.words())
        return float(1 - (words.min() / words.max()) ** 2 / min(size, self.bucket))

    def _bits(self) -> int:
        return (len(self.words()) - 1).bit_length()


@dataclass(frozen=True)
class Sign(_Codebook):
    """One bit for each number, its sign, and the mean absolute value of a bucket.

    Use it with error feedback. After a rotation, `Rotated(Sign())`, it is the biased form of DRIVE
    (Vargaftik et al. 2021, arXiv:2105.08339).

    Attributes:
        bucket: numbers that share a scale.

    Source: Karimireddy, Rebjock, Stich and Jaggi 2019, arXiv:1901.09847 (EF-signSGD).
    Taught in chapter 12.
    """

    bucket: int = 512

    def __post_init__(self) -> None:
        check_bits("Sign", 1, self.bucket)

    def words(self) -> np.ndarray:
        """-1 and 1."""
        return np.array([-1.0, 1.0])


@dataclass(frozen=True)
class LloydMax(_Codebook):
    """The 2^bits words that fit normal numbers best: for use after a rotation.

    After a rotation the numbers are nearly normal, and `Rotated(LloydMax(bits))` errs by about .36,
    .12, .034, .009 of |v|^2 with 1, 2, 3, 4 bits: the deterministic form of EDEN.

    Attributes:
        bits: for each number, 1 to 8.
        bucket: numbers that share a scale.

    Source: Lloyd 1982, doi:10.1109/TIT.1982.1056489; Vargaftik et al. 2022, arXiv:2108.08842
    (EDEN). Taught in chapter 12.
    """

    bits: int = 2
    bucket: int = 512

    def __post_init__(self) -> None:
        check_bits("LloydMax", self.bits, self.bucket)
        if self.bits > 8:
            raise FedlabError(f"LloydMax: bits={self.bits}: give a whole number from 1 to 8.")

    def words(self) -> np.ndarray:
        """Means of the normal distribution between the midpoints of neighbouring words."""
        return _normal_words(self.bits)


@lru_cache
def _normal_words(bits: int) -> np.ndarray:
    from scipy.special import ndtr, ndtri

    # The words' density at high resolution is that of a normal with sqrt(3) of the deviation.
    words = np.sqrt(3) * ndtri((np.arange(2**bits) + 0.5) / 2**bits)
    for _ in range(1000):
        edges = np.concatenate([[-np.inf], (words[1:] + words[:-1]) / 2, [np.inf]])
        heights = np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi)
        words = -np.diff(heights) / np.diff(ndtr(edges))
    # The codebook is part of the format: digits that depend on the machine are cut off.
    words = np.round((words - words[::-1]) / 2, 6)
    words.flags.writeable = False
    return words
