"""The parameters of CKKS: security, precision, room and depth. Taught in chapter 08.

Source of the limits: Homomorphic Encryption Standard 2018, table 1 (128 bits, classical).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.he.textbook import is_prime

MAX_MODULUS_BITS = {4096: 109, 8192: 218, 16384: 438}


@dataclass(frozen=True)
class CKKSParameters:
    """The three choices of CKKS.

    Attributes:
        degree: N, the degree of the ring; a ciphertext holds N / 2 numbers.
        moduli: bits of the primes. The first holds the result, the last belongs to the keys; one
            between them pays for one multiplication, and is then used up.
        scale_bits: numbers are multiplied by 2^scale_bits and rounded. More bits are more
            precision, and less room below the first prime.

    Raises FedlabError for parameters below 128-bit security or without room for numbers.
    Taught in chapter 08.
    """

    degree: int
    moduli: tuple[int, ...]
    scale_bits: int

    def __post_init__(self) -> None:
        most = MAX_MODULUS_BITS.get(self.degree)
        if most is None:
            raise FedlabError(
                f"CKKSParameters: degree={self.degree} must be one of {list(MAX_MODULUS_BITS)}."
            )
        if sum(self.moduli) > most:
            raise FedlabError(
                f"CKKSParameters: moduli of {sum(self.moduli)} bits with degree {self.degree} are "
                f"below 128-bit security; at most {most} bits, or take a larger degree."
            )
        if not 2 <= len(self.moduli) <= 3 or self.limit < 1:
            raise FedlabError(
                f"CKKSParameters: moduli {self.moduli} with scale_bits={self.scale_bits}: give two "
                f"primes, or three for one scaling, the first at least two bits above the scale."
            )
        if self.depth and self.moduli.count(self.moduli[1]) > 1:
            raise FedlabError("CKKSParameters: the middle prime must have a size of its own.")

    @property
    def slots(self) -> int:
        """Numbers in one ciphertext."""
        return self.degree // 2

    @property
    def depth(self) -> int:
        """Multiplications that a ciphertext survives."""
        return len(self.moduli) - 2

    @property
    def limit(self) -> float:
        """Numbers must lie in [-limit, limit]; larger ones would wrap around unseen."""
        return 2.0 ** (self.moduli[0] - self.scale_bits - 2)

    @property
    def correction(self) -> float:
        """What a decrypted, scaled sum is multiplied by.

        After a multiplication the library divides by the middle prime, and reads the result as
        if it had divided by 2^scale_bits. The prime is near that, not equal: the largest of its
        size that is 1 modulo 2N (SEAL, `CoeffModulus::Create`).
        """
        if not self.depth:
            return 1.0
        step = 2 * self.degree
        prime = (1 << self.moduli[1]) // step * step + 1
        while prime >= 1 << self.moduli[1] or not is_prime(prime):
            prime -= step
        return prime / 2.0**self.scale_bits

    def header(self) -> dict[str, Any]:
        """The parameters as they stand in a message."""
        return {
            "degree": self.degree,
            "moduli": list(self.moduli),
            "scale_bits": self.scale_bits,
        }


# Clients scale their updates before they encrypt; the server only adds. Small and precise.
SUM = CKKSParameters(4096, (54, 54), 40)
# The server scales the ciphertexts by the shares, then adds. A prime more, and fewer digits.
SUM_AND_SCALE = CKKSParameters(4096, (40, 32, 37), 32)
