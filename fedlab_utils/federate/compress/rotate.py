"""A random rotation: no number stays large, and none small. Taught in chapter 12."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.compress.codec import Codec
from fedlab_utils.federate.compress.draws import signs
from fedlab_utils.federate.compress.quantise import Uniform


def hadamard(values: np.ndarray) -> np.ndarray:
    """The Walsh-Hadamard transform of values [..., n], n a power of two, with length kept.

    n log2 n additions; it is its own inverse. Raises FedlabError for another n.
    """
    n = values.shape[-1]
    if n < 1 or n & (n - 1):
        raise FedlabError(f"hadamard: {n} numbers; their number must be a power of two.")
    out, half = values, 1
    while half < n:
        pairs = out.reshape(*values.shape[:-1], n // (2 * half), 2, half)
        a, b = pairs[..., 0, :], pairs[..., 1, :]
        out = np.stack([a + b, a - b], axis=-2).reshape(values.shape)
        half *= 2
    return out / np.sqrt(n).astype(values.dtype)


@dataclass(frozen=True)
class Rotated(Codec):
    """Flip signs at random, rotate by a Hadamard transform, and let another codec do the rest.

    A rotation keeps lengths, so the error is that of the inner codec on the rotated vector, whose
    numbers are all of about the same size. The receiver turns back. The vector is cut into blocks,
    the last one filled up with zeros, which are sent too.

    Attributes:
        inner: the codec of the rotated numbers.
        block: numbers that are mixed, a power of two.

    Source: Suresh, Yu, Kumar and McMahan 2017, arXiv:1611.00429. Taught in chapter 12.
    """

    inner: Codec = field(default_factory=Uniform)
    block: int = 512
    seeded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.block < 2 or self.block & (self.block - 1):
            raise FedlabError(f"Rotated: block={self.block} must be a power of two, 2 or more.")
        if isinstance(self.inner, Rotated):
            raise FedlabError("Rotated: the inner codec is a rotation too; one is enough.")

    @property
    def unbiased(self) -> bool:  # type: ignore[override]
        """Whether the inner codec is."""
        return self.inner.unbiased

    def padded(self, size: int) -> int:
        """Numbers after filling up."""
        return -(-size // self._block(size)) * self._block(size)

    def turn(self, values: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """Values [K, P] -> rotated [K, padded(P)], by seeds [K]; linear."""
        rows, size = values.shape
        filled = np.zeros((rows, self.padded(size)), dtype=values.dtype)
        filled[:, :size] = values
        flipped = filled * signs(seeds, filled.shape[1])
        return hadamard(flipped.reshape(rows, -1, self._block(size))).reshape(rows, -1)

    def turn_back(self, values: np.ndarray, size: int, seeds: np.ndarray) -> np.ndarray:
        """The inverse of `turn`; linear."""
        blocks = values.reshape(len(values), -1, self._block(size))
        return (hadamard(blocks).reshape(len(values), -1) * signs(seeds, values.shape[1]))[:, :size]

    def body(self, values: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        return self.inner.body(self.turn(values, seeds), seeds)

    def read(self, bodies: np.ndarray, size: int, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        return self.turn_back(self.inner.read(bodies, self.padded(size), seeds), size, seeds)

    def length(self, size: int) -> int:
        """See Codec."""
        return self.inner.length(self.padded(size))

    def error(self, size: int) -> float:
        """That of the inner codec on rotated numbers."""
        return self.inner.error_rotated(self.padded(size), self._block(size))

    @property
    def linear(self) -> bool:
        """If the inner codec is."""
        return self.inner.linear

    def project(self, updates: np.ndarray, seed: int) -> np.ndarray:
        """See Codec."""
        return self.inner.project(self.turn(updates, _same(seed, len(updates))), seed)

    def lift(self, numbers: np.ndarray, size: int, seed: int) -> np.ndarray:
        """See Codec."""
        turned = self.inner.lift(numbers, self.padded(size), seed)
        return self.turn_back(turned, size, _same(seed, len(numbers)))

    def projected(self, size: int) -> int:
        """See Codec."""
        return self.inner.projected(self.padded(size))

    def _block(self, size: int) -> int:
        return min(self.block, 1 << (size - 1).bit_length())


def _same(seed: int, clients: int) -> np.ndarray:
    return np.full(clients, seed % 2**64, dtype=np.uint64)
