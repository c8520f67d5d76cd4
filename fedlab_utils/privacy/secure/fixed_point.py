"""Real numbers as integers modulo 2^32 or 2^64: range, rounding, overflow. Taught in chapter 07."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.secure.errors import FixedPointOverflow

Ring = np.ndarray[Any, np.dtype[Any]]  # unsigned integers; numpy adds them modulo 2^bits


@dataclass(frozen=True)
class FixedPoint:
    """Numbers with `fraction_bits` binary places in a ring of 2^`bits` integers.

    A number x becomes round(x * 2^fraction_bits); negative integers take the upper half of the
    ring. Rounding is to the nearest, so it errs by at most half a `step`. A number that does not
    fit is an error: nothing is ever clipped.

    Attributes:
        bits: 32 or 64; 4 or 8 bytes travel for each number.
        fraction_bits: binary places after the point, 0 to bits - 2.

    Raises FedlabError for other values. Taught in chapter 07.
    """

    bits: int = 32
    fraction_bits: int = 16

    def __post_init__(self) -> None:
        if self.bits not in (32, 64):
            raise FedlabError(f"bits={self.bits}: the ring has 32 or 64 bits.")
        if not 0 <= self.fraction_bits <= self.bits - 2:
            raise FedlabError(
                f"fraction_bits={self.fraction_bits}: with bits={self.bits} give 0 to "
                f"{self.bits - 2}."
            )

    @property
    def dtype(self) -> np.dtype[Any]:
        """The unsigned integer type of the ring."""
        return np.dtype(f"uint{self.bits}")

    @property
    def step(self) -> float:
        """The distance of two neighbouring numbers."""
        return 2.0**-self.fraction_bits

    def limit(self, clients: int = 1) -> int:
        """The largest integer each of `clients` may send so that the sum still fits."""
        if clients < 1:
            raise FedlabError(f"clients={clients}: a sum needs at least one.")
        return (2 ** (self.bits - 1) - 1) // clients

    def room(self, clients: int = 1) -> float:
        """The same as a number: each client's values must lie between -room and room."""
        return self.limit(clients) * self.step

    @classmethod
    def fitting(cls, largest: float, clients: int, bits: int = 32) -> FixedPoint:
        """The format with the most fraction bits in which `clients` values up to `largest` add up.

        Raises FixedPointOverflow if not even whole numbers fit.
        """
        for fraction_bits in range(bits - 2, -1, -1):
            candidate = cls(bits, fraction_bits)
            if largest <= candidate.room(clients):
                return candidate
        raise FixedPointOverflow(
            f"{clients} values up to {largest:g} do not add up in {bits} bits, not even as whole "
            f"numbers. Use bits=64, or make the values smaller."
        )

    def encode(self, values: np.ndarray, clients: int = 1, who: str = "") -> Ring:
        """Values [P] as ring elements [P], with room for a sum over `clients`.

        `who` names the client in errors. Raises FixedPointOverflow for a value beyond
        `room(clients)`, FedlabError for one that is not finite.
        """
        values = np.asarray(values, dtype=np.float64)
        prefix = f"{who}: " if who else ""
        if not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise FedlabError(
                f"{prefix}value {values.ravel()[at]} at coordinate {at} is not a finite number; "
                f"fixed point has none for it. Look for divergence."
            )
        scaled = np.rint(values * 2.0**self.fraction_bits)
        top = float(self.limit(clients))
        if int(top) > self.limit(clients):  # float64 has gaps up there: take the one below
            top = np.nextafter(top, 0)
        beyond = np.abs(scaled) > top
        if beyond.any():
            at = int(np.abs(scaled).argmax())
            raise FixedPointOverflow(
                f"{prefix}value {values.ravel()[at]:.6g} at coordinate {at} does not fit: with "
                f"bits={self.bits}, fraction_bits={self.fraction_bits} and {clients} client(s) in "
                f"the sum, values up to {self.room(clients):.6g} fit ({int(beyond.sum())} of "
                f"{values.size} do not). Use fewer fraction bits, bits=64, or clip the update "
                f"yourself."
            )
        return scaled.astype(np.int64).astype(self.dtype)

    def decode(self, ring: Ring) -> np.ndarray:
        """Ring elements [P] as float64 numbers [P]; the inverse of `encode` up to rounding."""
        return self.integers(ring) * self.step

    def integers(self, ring: Ring) -> np.ndarray:
        """Ring elements [P] as signed integers [P] (int64)."""
        return np.ascontiguousarray(ring, self.dtype).view(f"int{self.bits}").astype(np.int64)


def encode_weighted(
    update: np.ndarray, weight: float, fixed: FixedPoint, clients: int, who: str = ""
) -> Ring:
    """A client's part of a weighted mean: weight * update [P], and the weight, as ring [P + 1].

    The weight is a whole number (rows) and is not scaled. Since the product is rounded, not the
    update, large weights lose nothing: the mean of K clients errs by at most K/2 steps divided by
    the sum of the weights. Raises FixedPointOverflow, FedlabError. Taught in chapter 07.
    """
    if not (math.isfinite(weight) and weight >= 0 and float(weight).is_integer()):
        raise FedlabError(
            f"{who or 'client'}: weight {weight} must be a whole number and not negative (rows)."
        )
    product = fixed.encode(np.asarray(update, np.float64) * weight, clients, who)
    whole = FixedPoint(fixed.bits, 0).encode(np.array([weight]), clients, f"{who} (weight)")
    return np.concatenate([product, whole])


def decode_weighted(total: Ring, fixed: FixedPoint) -> tuple[np.ndarray, int]:
    """The weighted mean [P] (float64) and the sum of weights, of a summed ring vector [P + 1].

    Raises FedlabError if the weights do not add up to a positive number.
    """
    weight = int(fixed.integers(total[-1:])[0])
    if weight <= 0:
        raise FedlabError(
            f"the sum of the weights is {weight}, so there is no mean: all of them were zero, or "
            f"masks are still on the sum."
        )
    return fixed.decode(total[:-1]) / weight, weight
