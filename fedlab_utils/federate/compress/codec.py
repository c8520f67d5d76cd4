"""What a codec is: an update becomes a message of bytes, and comes back. Taught in chapter 12.

A message is: "F" and the format's version (2 bytes), a mark of the codec's settings (2), the number
of parameters (4), for some codecs a seed (8), and the body. Numbers are little-endian. Nothing is
ever unpickled, and the receiver knows beforehand how many parameters to expect.
"""

from __future__ import annotations

import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from fedlab_utils.errors import FedlabError

MAGIC = b"F\x01"
_HEADER = struct.Struct("<2sHI")
_SEED_BYTES = 8
_PORTION = 1 << 15  # numbers


class Codec(ABC):
    """Turns updates into messages of a few bytes, and back.

    A codec is a frozen dataclass of settings that both sides know. It implements `body`, `read`,
    `length` and `error`; what a user calls is `encode` and `decode`, or for many clients at once
    `encode_all` and `decode_all`, which make the same bytes.

    Attributes:
        unbiased: the mean of the decoded update over the codec's randomness is the update.
        seeded: the receiver needs the seed, so the message holds it.
    """

    unbiased: ClassVar[bool] = False
    seeded: ClassVar[bool] = False

    @abstractmethod
    def body(self, values: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """Values [K, P] (float32) and seeds [K] -> the messages' bodies [K, length(P)] (uint8)."""

    @abstractmethod
    def read(self, bodies: np.ndarray, size: int, seeds: np.ndarray) -> np.ndarray:
        """Bodies [K, length(P)] and seeds [K] -> values [K, P]; FedlabError if they make none."""

    @abstractmethod
    def length(self, size: int) -> int:
        """Bytes of the body for `size` parameters."""

    @abstractmethod
    def error(self, size: int) -> float:
        """A bound of E|decoded - v|^2 / |v|^2 over the codec's randomness, for any v [size].

        Below 1 the codec is a contraction, which is what error feedback needs.
        """

    def error_rotated(self, size: int, block: int) -> float:
        """The same bound for v after a random rotation of blocks of `block` numbers."""
        return self.error(size)

    @property
    def linear(self) -> bool:
        """Whether sums of `project`ed updates can be decoded, so that a secure sum may add them."""
        return False

    def project(self, updates: np.ndarray, seed: int) -> np.ndarray:
        """Updates [K, P] -> the numbers [K, projected(P)] that would be sent, by one seed."""
        raise self._not_linear()

    def lift(self, numbers: np.ndarray, size: int, seed: int) -> np.ndarray:
        """Decode `project`ed numbers, or sums of them: [K, projected(size)] -> [K, size]."""
        raise self._not_linear()

    def projected(self, size: int) -> int:
        """How many numbers `project` leaves."""
        raise self._not_linear()

    def _not_linear(self) -> FedlabError:
        return FedlabError(
            f"{self} is not linear: its messages mean nothing before they are decoded one by one, "
            f"so they cannot be added up unseen. RandomMask and Rotated(RandomMask()) can."
        )

    @property
    def mark(self) -> int:
        """16 bits that depend on every setting: sender and receiver must have the same."""
        return zlib.crc32(repr(self).encode()) & 0xFFFF

    @property
    def header_length(self) -> int:
        """Bytes before the body."""
        return _HEADER.size + (_SEED_BYTES if self.seeded else 0)

    def encode(self, update: torch.Tensor, seed: int = 0) -> bytes:
        """The message of one update [P]; `seed` fixes what the codec draws.

        Raises FedlabError for an update that is not finite, or that the codec has no room for.
        """
        return self.encode_all(update[None], [seed])[0]

    def decode(self, message: bytes, size: int) -> torch.Tensor:
        """The update [size] (float32) of a message; raises FedlabError for a malformed one."""
        return self.decode_all([message], size)[0]

    def encode_all(self, updates: torch.Tensor, seeds: Sequence[int]) -> list[bytes]:
        """One message for each row of updates [K, P], made in one go."""
        if updates.ndim != 2 or len(updates) != len(seeds) or not updates.shape[1]:
            raise FedlabError(
                f"{type(self).__name__}: updates {tuple(updates.shape)} and {len(seeds)} seeds do "
                f"not fit; they must be [K, P] and [K]."
            )
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(updates.detach().numpy().astype(np.float32))
        if not np.isfinite(values).all():
            raise FedlabError(
                f"{type(self).__name__}: an update is not finite; there is no message for it. Look "
                f"for divergence."
            )
        if not len(updates):
            return []
        drawn = np.asarray([seed % 2**64 for seed in seeds], dtype=np.uint64)
        head = _HEADER.pack(MAGIC, self.mark, updates.shape[1])
        parts = [self.body(values[rows], drawn[rows]) for rows in _portions(*values.shape)]
        bodies = np.concatenate(parts)
        tails = [s.tobytes() for s in drawn.astype("<u8")] if self.seeded else [b""] * len(drawn)
        return [head + tail + row.tobytes() for tail, row in zip(tails, bodies, strict=True)]

    def decode_all(self, messages: Sequence[bytes], size: int) -> torch.Tensor:
        """Updates [K, size] (float32) of K messages; raises FedlabError for a malformed one."""
        if not messages:
            return torch.zeros(0, size)
        for message in messages:
            self._check(message, size)
        rows = np.stack([np.frombuffer(message, np.uint8) for message in messages])
        seeds = np.zeros(len(rows), np.uint64)
        if self.seeded:
            at = rows[:, _HEADER.size : self.header_length]
            seeds = np.ascontiguousarray(at).view("<u8")[:, 0].astype(np.uint64)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
            parts = [
                self.read(rows[part, self.header_length :], size, seeds[part]).astype(np.float32)
                for part in _portions(len(rows), size)
            ]
        values = np.concatenate(parts)
        if not np.isfinite(values).all():
            raise self._malformed("its numbers are not all finite")
        return torch.from_numpy(values)

    def _check(self, message: bytes, size: int) -> None:
        if len(message) < self.header_length:
            raise self._malformed(f"it has {len(message)} bytes, a header {self.header_length}")
        magic, mark, parameters = _HEADER.unpack_from(message)
        if magic != MAGIC:
            raise self._malformed(f"it begins with {magic!r} instead of {MAGIC!r}")
        if mark != self.mark:
            raise self._malformed(f"it was made by another codec, or by other settings than {self}")
        if parameters != size:
            raise self._malformed(f"it is for {parameters} parameters, the model has {size}")
        expected = self.header_length + self.length(size)
        if len(message) != expected:
            raise self._malformed(f"it has {len(message)} bytes instead of {expected}")

    def _malformed(self, why: str) -> FedlabError:
        return FedlabError(
            f"{type(self).__name__}: this message cannot be decoded: {why}. Ask the sender again."
        )


def _portions(rows: int, size: int) -> list[slice]:
    """Rows that are worked on at once: more of them would not stay in the cache."""
    step = max(1, _PORTION // size)
    return [slice(at, at + step) for at in range(0, rows, step)]


def take(bodies: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Cut bodies [K, sum of sizes] into parts [K, size]."""
    return np.split(bodies, np.cumsum(sizes)[:-1], axis=1)


def as_bytes(values: np.ndarray, kind: str) -> np.ndarray:
    """Numbers [K, n] as bytes [K, n * size of kind]; `kind` is a little-endian NumPy type."""
    return np.ascontiguousarray(values.astype(kind)).view(np.uint8).reshape(len(values), -1)


def from_bytes(rows: np.ndarray, kind: str) -> np.ndarray[Any, np.dtype[Any]]:
    """The inverse of `as_bytes`."""
    return np.ascontiguousarray(rows).view(kind)
