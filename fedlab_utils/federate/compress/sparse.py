"""Few of the numbers: the largest ones, or some drawn by a seed. Taught in chapter 12."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.compress.bits import pack_positions, positions_length, unpack_positions
from fedlab_utils.federate.compress.codec import Codec, take
from fedlab_utils.federate.compress.draws import subsets
from fedlab_utils.federate.compress.floats import Float32


def kept(share: float, size: int) -> int:
    """How many of `size` numbers are sent: at least one."""
    return min(size, math.ceil(share * size))


def check_share(name: str, share: float, values: Codec) -> None:
    """Raise FedlabError unless a share of the numbers can be sent by the codec `values`."""
    if not 0 < share <= 1:
        raise FedlabError(f"{name}: share={share} must be above 0 and at most 1.")
    if values.seeded:
        raise FedlabError(
            f"{name}: {type(values).__name__} draws by a seed of its own. Put it outside: "
            f"{type(values).__name__}({name}(...))."
        )


def spread(numbers: np.ndarray, positions: np.ndarray, size: int) -> np.ndarray:
    """Numbers [K, k] at positions [K, k] of vectors [K, size] that are 0 elsewhere."""
    vectors = np.zeros((len(numbers), size), dtype=numbers.dtype)
    np.put_along_axis(vectors, positions, numbers, axis=1)
    return vectors


@dataclass(frozen=True)
class TopK(Codec):
    """The numbers with the largest absolute values, and where they are; the others become 0.

    It leaves out at most 1 - k / P of |v|^2. It is biased: use it with error feedback.

    Attributes:
        share: k / P, rounded up to whole numbers.
        values: the codec of the k numbers.

    Source: Stich, Cordonnier and Jaggi 2018, arXiv:1809.07599; positions by the Elias-Fano code.
    Taught in chapter 12.
    """

    share: float = 0.01
    values: Codec = field(default_factory=Float32)

    def __post_init__(self) -> None:
        check_share("TopK", self.share, self.values)

    def body(self, values: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        size = values.shape[1]
        k = kept(self.share, size)
        order = np.argpartition(-np.abs(values), k - 1, axis=1)[:, :k]
        positions = np.sort(order, axis=1)
        numbers = np.take_along_axis(values, positions, axis=1)
        parts = [pack_positions(positions, size), self.values.body(numbers, seeds)]
        return np.concatenate(parts, axis=1)

    def read(self, bodies: np.ndarray, size: int, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        k = kept(self.share, size)
        first, rest = take(bodies, [positions_length(size, k), self.values.length(k)])
        positions = unpack_positions(first, size, k)
        return spread(self.values.read(rest, k, seeds), positions, size)

    def length(self, size: int) -> int:
        """See Codec."""
        k = kept(self.share, size)
        return positions_length(size, k) + self.values.length(k)

    def error(self, size: int) -> float:
        """What is left out, and the error of the numbers that are sent."""
        k = kept(self.share, size)
        inner = self.values.error(k)
        return max(1 - k / size * (1 - inner), inner)


@dataclass(frozen=True)
class RandomMask(Codec):
    """A random subset of the numbers, the same for all who share a seed; the others become 0.

    The message holds the seed instead of positions. With one seed for all clients the numbers of
    all clients belong to the same positions, so they can be added up before they are decoded
    (`CompressedSum`).

    Attributes:
        share: of the numbers that are sent, rounded up to whole numbers.
        scaled: multiply by 1 / share, which makes the codec unbiased, and no contraction: for use
            without error feedback.
        values: the codec of the numbers that are sent.

    Source: Konečný et al. 2016, arXiv:1610.05492 (subsampling). Taught in chapter 12.
    """

    share: float = 0.1
    scaled: bool = True
    values: Codec = field(default_factory=Float32)
    seeded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_share("RandomMask", self.share, self.values)

    @property
    def unbiased(self) -> bool:  # type: ignore[override]
        """Whether the mean over seeds is the update."""
        return self.scaled and self.values.unbiased

    @property
    def linear(self) -> bool:
        """If the numbers are sent as they are."""
        return self.values.linear

    def project(self, updates: np.ndarray, seed: int) -> np.ndarray:
        """See Codec."""
        positions = self._positions(np.asarray([seed % 2**64], np.uint64), updates.shape[1])
        return updates[:, positions[0]] * self._factor(updates.shape[1])

    def lift(self, numbers: np.ndarray, size: int, seed: int) -> np.ndarray:
        """See Codec."""
        positions = self._positions(np.asarray([seed % 2**64], np.uint64), size)
        return spread(numbers, np.repeat(positions, len(numbers), axis=0), size)

    def projected(self, size: int) -> int:
        """See Codec."""
        return kept(self.share, size)

    def body(self, values: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        positions = self._positions(seeds, values.shape[1])
        numbers = np.take_along_axis(values, positions, axis=1) * self._factor(values.shape[1])
        return self.values.body(numbers, seeds)

    def read(self, bodies: np.ndarray, size: int, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        numbers = self.values.read(bodies, kept(self.share, size), seeds)
        return spread(numbers, self._positions(seeds, size), size)

    def length(self, size: int) -> int:
        """See Codec."""
        return self.values.length(kept(self.share, size))

    def error(self, size: int) -> float:
        """On the mean over seeds; the factor of an unbiased mask makes it large."""
        share, inner = kept(self.share, size) / size, self.values.error(kept(self.share, size))
        return (1 + inner) / share - 1 if self.scaled else 1 - share * (1 - inner)

    def _positions(self, seeds: np.ndarray, size: int) -> np.ndarray:
        return subsets(seeds, size, kept(self.share, size))

    def _factor(self, size: int) -> np.float32:
        return np.float32(size / kept(self.share, size) if self.scaled else 1)
