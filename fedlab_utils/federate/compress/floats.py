"""Numbers with fewer digits: float32 as it is, and float16. Taught in chapter 12."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.compress.codec import Codec, as_bytes, from_bytes


@dataclass(frozen=True)
class Float32(Codec):
    """The update as it is, four bytes for each parameter: the yardstick. Taught in chapter 12."""

    unbiased: ClassVar[bool] = True

    def body(self, values: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        return as_bytes(values, "<f4")

    def read(self, bodies: np.ndarray, size: int, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        return from_bytes(bodies, "<f4")

    def length(self, size: int) -> int:
        """See Codec."""
        return 4 * size

    def error(self, size: int) -> float:
        """None."""
        return 0.0

    @property
    def linear(self) -> bool:
        """See Codec."""
        return True

    def project(self, updates: np.ndarray, seed: int) -> np.ndarray:
        """See Codec."""
        return updates

    def lift(self, numbers: np.ndarray, size: int, seed: int) -> np.ndarray:
        """See Codec."""
        return numbers

    def projected(self, size: int) -> int:
        """See Codec."""
        return size


@dataclass(frozen=True)
class Float16(Codec):
    """Half precision: each number rounded to 11 binary digits, two bytes for each parameter.

    The largest number in a row of values is scaled to 1, so that small updates do not fall below
    the smallest float16, nor large ones beyond the greatest. Taught in chapter 12.
    """

    def body(self, values: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        scale = np.abs(values).max(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.where(scale > 0, values / scale, 0)
        return np.concatenate([as_bytes(scale, "<f4"), as_bytes(scaled, "<f2")], axis=1)

    def read(self, bodies: np.ndarray, size: int, seeds: np.ndarray) -> np.ndarray:
        """See Codec."""
        scaled = from_bytes(bodies[:, 4:], "<f2").astype(np.float32)
        if (np.abs(scaled) > 1).any():
            raise FedlabError("Float16: a number is larger than the largest one: damaged.")
        return scaled * from_bytes(bodies[:, :4], "<f4")

    def length(self, size: int) -> int:
        """See Codec."""
        return 4 + 2 * size

    def error(self, size: int) -> float:
        """Rounding to nearest: half a unit in the 11th digit, or half of the smallest number."""
        return 2.0**-22 + size * 2.0**-50
