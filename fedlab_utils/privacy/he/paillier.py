"""Aggregation under Paillier: three roles that exchange bytes. Taught in chapter 08.

The library is `pypaillier` (imported as `paillier`): Rust and GMP. It encrypts as Damgård, Jurik
and Nielsen do, with a short random exponent: faster, on one more assumption than textbook Paillier.

Sources: Paillier 1999, doi:10.1007/3-540-48910-X_16; Damgård, Jurik and Nielsen 2010,
doi:10.1007/s10207-010-0119-9; packing as in Zhang et al. 2020 (BatchCrypt).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.he.messages import CiphertextError, Plan
from fedlab_utils.privacy.he.packing import Packing
from fedlab_utils.privacy.he.server import SumServer, open_sum, update_message

SCHEME = "paillier"
# pypaillier keeps this many bits free for sums, and one for the sign.
_RESERVED_BITS = 22


@dataclass(frozen=True)
class FixedPoint:
    """How updates are encoded before encryption; see `Packing` for the two numbers."""

    limit: float = 8.0
    fraction_bits: int = 20

    def packing(self, public: bytes, plan: Plan) -> Packing:
        """The packing for a public key and a round."""
        bits = 8 * len(public) - _RESERVED_BITS
        return Packing(self.limit, self.fraction_bits, plan.total, bits)

    def header(self, public: bytes, plan: Plan) -> dict[str, Any]:
        """The encoding as it stands in a message."""
        packing = self.packing(public, plan)
        return {
            "limit": self.limit,
            "fraction_bits": self.fraction_bits,
            "slot_bits": packing.slot_bits,
            "slots": packing.slots,
        }


@lru_cache(maxsize=16)
def _public_key(public: bytes) -> Any:
    import paillier

    try:
        return paillier.PublicKey.from_n(public)
    except ValueError as error:
        raise FedlabError(f"this is no Paillier public key: {error}.") from None


class PaillierKeyHolder:
    """Whoever may read sums: makes the key pair, publishes one half, decrypts the server's sum.

    Args:
        bits: size of the public modulus; at least 2048 (112-bit security). Making the key takes
            seconds at 2048 and about a minute at 3072, because its primes are safe primes.

    Raises FedlabError for a size that the library refuses. Taught in chapter 08.
    """

    def __init__(self, bits: int = 2048) -> None:
        import paillier

        try:
            public, self._secret = paillier.generate_keypair(bits)
        except ValueError as error:
            raise FedlabError(f"PaillierKeyHolder: {error}.") from None
        self.public: bytes = public.modulus_bytes()

    def decrypt(self, data: bytes, plan: Plan, encoding: FixedPoint) -> np.ndarray:
        """The weighted mean float64 [P] of the updates in the server's sum.

        Raises CiphertextError if the message is damaged, or is of another key, round or encoding.
        """
        import paillier

        header = encoding.header(self.public, plan)
        weight, blobs = open_sum(data, SCHEME, self.public, plan, header)
        packing = encoding.packing(self.public, plan)
        try:
            integers = [int(text) for text in paillier.decrypt_many(self._secret, blobs)]
        except ValueError as error:
            raise CiphertextError(f"server: the sum cannot be decrypted: {error}.") from None
        return packing.decode(packing.unpack(integers, plan.size), weight)


class PaillierClient:
    """Encodes, packs and encrypts one client's updates; holds the public key only.

    Taught in chapter 08.
    """

    def __init__(self, name: str, public: bytes, encoding: FixedPoint) -> None:
        self.name = name
        self.public = public
        self.encoding = encoding

    def encrypt(self, update: np.ndarray, plan: Plan) -> bytes:
        """The message with the encrypted update [P]. Raises RangeError for values out of range."""
        import paillier

        packing = self.encoding.packing(self.public, plan)
        plaintexts = packing.pack(packing.encode(update, self.name))
        blobs = paillier.encrypt_integers(_public_key(self.public), plaintexts)
        header = self.encoding.header(self.public, plan)
        return update_message(SCHEME, self.name, self.public, plan, header, blobs)


class PaillierServer(SumServer):
    """Multiplies ciphertexts by the public weights and adds them up. Taught in chapter 08."""

    scheme = SCHEME

    def __init__(self, public: bytes, plan: Plan, encoding: FixedPoint) -> None:
        self._fixed_point = encoding
        super().__init__(public, plan)

    def agreed_encoding(self) -> dict[str, Any]:
        """See SumServer."""
        return self._fixed_point.header(self.public, self.plan)

    def load(self, blobs: list[bytes], client: str) -> list[bytes]:
        """See SumServer. The library's own scale byte must be 0: our integers carry no scale."""
        import paillier

        wanted = -(-self.plan.size // self._fixed_point.packing(self.public, self.plan).slots)
        if len(blobs) != wanted:
            raise CiphertextError(f"{client}: sent {len(blobs)} ciphertexts, expected {wanted}.")
        try:
            paillier.check_blobs(_public_key(self.public), blobs, 0)
        except ValueError as error:
            raise CiphertextError(f"{client}: {error}.") from None
        return blobs

    def combine(self, received: dict[str, list[bytes]]) -> list[bytes]:
        """See SumServer."""
        import paillier

        key = _public_key(self.public)
        weighted = [
            paillier.multiply_integers_public(
                key, blobs, [int(self.plan.weights[name])] * len(blobs)
            )
            for name, blobs in received.items()
        ]
        return [paillier.add_many(key, list(column)) for column in zip(*weighted, strict=True)]
