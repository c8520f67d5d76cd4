"""Several signed fixed-point numbers in one large integer. Taught in chapter 08."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.he.messages import CiphertextError, RangeError

# Sums are read back as int64; one bit is the sign's, one is kept free.
_MAX_SLOT_BITS = 62


@dataclass(frozen=True)
class Packing:
    """How numbers become slots of an integer, and sums of slots become numbers again.

    A number x is rounded to a multiple of 2^-fraction_bits and stored as a non-negative code
    (x + limit) * 2^fraction_bits. A slot has room for the largest code times `total_weight`, so
    a weighted sum of packed integers never carries into the neighbouring slot.

    Attributes:
        limit: numbers must lie in [-limit, limit].
        fraction_bits: binary digits after the point; the rounding error is <= 2^-fraction_bits / 2.
        total_weight: sum of the whole-number weights of all clients of the round.
        plaintext_bits: bits that one plaintext of the cryptosystem holds.

    Raises FedlabError if no slot fits. Taught in chapter 08.
    """

    limit: float
    fraction_bits: int
    total_weight: int
    plaintext_bits: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.limit) and self.limit > 0) or self.total_weight < 1:
            raise FedlabError("Packing: limit and total_weight must be positive.")
        if not 1 <= self.slot_bits <= min(_MAX_SLOT_BITS, self.plaintext_bits):
            raise FedlabError(
                f"Packing: a number needs {self.slot_bits} bits, there is room for "
                f"{min(_MAX_SLOT_BITS, self.plaintext_bits)}. Use fewer fraction_bits "
                f"({self.fraction_bits}), a smaller limit ({self.limit}) or smaller weights "
                f"(their sum is {self.total_weight})."
            )

    @property
    def offset(self) -> int:
        """The code of zero: what is added to make every code non-negative."""
        return math.ceil(self.limit * 2**self.fraction_bits)

    @property
    def slot_bits(self) -> int:
        """Bits of one slot: enough for the largest weighted sum of codes."""
        return (2 * self.offset * self.total_weight).bit_length()

    @property
    def slots(self) -> int:
        """Numbers in one plaintext."""
        return self.plaintext_bits // self.slot_bits

    def encode(self, values: np.ndarray, client: str) -> np.ndarray:
        """Codes int64 [P] of numbers [P]. Raises RangeError that names the client."""
        x = np.asarray(values, dtype=np.float64)
        bad = np.flatnonzero(~(np.abs(x) <= self.limit))  # NaN counts as too large
        if len(bad):
            raise RangeError(
                f"{client}: {len(bad)} of {len(x)} numbers are outside ±{self.limit:g}, first "
                f"{x[bad[0]]:g} at position {bad[0]}. Choose a larger limit, or clip on purpose."
            )
        return np.rint(x * 2.0**self.fraction_bits).astype(np.int64) + self.offset

    def pack(self, codes: np.ndarray) -> list[int]:
        """Integers that hold codes [P], `slots` in each; the last one is filled with zeros."""
        width, slots = self.slot_bits, self.slots
        rows = -(-len(codes) // slots)
        padded = np.zeros(rows * slots, dtype=np.int64)
        padded[: len(codes)] = codes
        places = np.arange(width - 1, -1, -1, dtype=np.int64)
        digits = ((padded[:, None] >> places) & 1).astype(np.uint8).reshape(rows, slots * width)
        spare = -digits.shape[1] % 8
        octets = np.packbits(np.pad(digits, ((0, 0), (spare, 0))), axis=1)
        return [int.from_bytes(row.tobytes(), "big") for row in octets]

    def unpack(self, integers: Sequence[int], size: int) -> np.ndarray:
        """The slots int64 [size] of packed integers, or of their sum.

        Raises CiphertextError for integers that no sum of packed numbers can give.
        """
        width, slots = self.slot_bits, self.slots
        octets = -(-slots * width // 8)
        if len(integers) != -(-size // slots) or not all(
            0 <= value < 1 << (slots * width) for value in integers
        ):
            raise CiphertextError(
                "the decrypted integers are no packed sums: another key, another packing, or "
                "ciphertexts that were tampered with."
            )
        raw = b"".join(value.to_bytes(octets, "big") for value in integers)
        digits = np.unpackbits(np.frombuffer(raw, dtype=np.uint8).reshape(-1, octets), axis=1)
        digits = digits[:, digits.shape[1] - slots * width :].reshape(-1, width)[:size]
        places = np.arange(width - 1, -1, -1, dtype=np.int64)
        return (digits.astype(np.int64) << places).sum(axis=1)

    def decode(self, sums: np.ndarray, weight: int) -> np.ndarray:
        """The weighted mean [P] that belongs to summed codes [P] whose weights add up to `weight`.

        Raises CiphertextError if a slot is larger than such a sum can be.
        """
        if sums.max(initial=0) > 2 * self.offset * weight:
            raise CiphertextError(
                "a decrypted slot is larger than any sum of codes: a client sent a plaintext "
                "that does not follow the packing. The sum cannot be used."
            )
        return (sums - self.offset * weight) / (weight * 2.0**self.fraction_bits)
