"""Messages of homomorphic aggregation: a header, ciphertexts, and a checksum. Taught in chapter 08.

The checksum finds damage on the way. It is no signature: who sent a message is known from the
connection (TLS in a deployment), and the names below are taken from there.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from fedlab_utils.errors import FedlabError

_MAGIC = b"FLHE1"
_DIGEST = 16


class CiphertextError(FedlabError):
    """A message or ciphertext that cannot be used; names its sender."""


class RangeError(FedlabError):
    """A number that the encoding has no room for; names the client. Nothing was sent."""


@dataclass(frozen=True)
class Plan:
    """What the server tells everybody before a round. All of it is public.

    Attributes:
        round: number of the round; a message of another round is refused.
        size: P, the numbers in an update.
        weights: whole-number weight of each client (its training rows).

    Raises FedlabError for weights that are negative, not whole, or all zero. Taught in chapter 08.
    """

    round: int
    size: int
    weights: Mapping[str, int]

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if weight < 0 or int(weight) != weight:
                raise FedlabError(
                    f"{name}: the weight {weight} must be a whole number and not negative; "
                    f"encrypted sums count rows."
                )
        if not self.total > 0:
            raise FedlabError("the weights of a round must not all be zero.")

    @property
    def total(self) -> int:
        """The sum of all announced weights."""
        return int(sum(self.weights.values()))


def fingerprint(public: bytes) -> str:
    """A short name of a public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(public).hexdigest()[:16]


def pack(header: Mapping[str, Any], blobs: Sequence[bytes]) -> bytes:
    """One message of a header (JSON) and byte strings; `unpack` is the inverse."""
    head = json.dumps({**header, "lengths": [len(b) for b in blobs]}, sort_keys=True).encode()
    body = _MAGIC + struct.pack(">I", len(head)) + head + b"".join(blobs)
    return body + hashlib.sha256(body).digest()[:_DIGEST]


def unpack(
    data: bytes, sender: str, expected: Mapping[str, Any]
) -> tuple[dict[str, Any], list[bytes]]:
    """Header and byte strings of a message from `sender`.

    Raises CiphertextError if it is damaged or truncated, or if its header differs from
    `expected` in one of these fields (the error says which).
    """
    if not data.startswith(_MAGIC):
        raise CiphertextError(f"{sender}: this is no message of encrypted aggregation.")
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    if hashlib.sha256(body).digest()[:_DIGEST] != digest:
        raise CiphertextError(
            f"{sender}: the message of {len(data)} bytes is truncated or damaged; send it again."
        )
    header, blobs = _parse(body, sender)
    for field, wanted in expected.items():
        if header.get(field) != wanted:
            raise CiphertextError(
                f"{sender}: the message has {field} {header.get(field)!r}, expected is {wanted!r}. "
                f"{_ADVICE.get(field, 'Encrypt again for this round.')}"
            )
    return header, blobs


def _parse(body: bytes, sender: str) -> tuple[dict[str, Any], list[bytes]]:
    """Split a message whose checksum is right; whoever made it may still have made it wrongly."""
    at = len(_MAGIC) + 4
    try:
        (length,) = struct.unpack(">I", body[len(_MAGIC) : at])
        header = json.loads(body[at : at + length])
        ends = list(accumulate(map(int, header["lengths"]), initial=at + length))
    except (struct.error, ValueError, KeyError, TypeError):
        raise CiphertextError(f"{sender}: the header of the message cannot be read.") from None
    if ends != sorted(ends) or ends[-1] != len(body):
        raise CiphertextError(f"{sender}: the lengths in the header do not fit the message.")
    return header, [body[start:end] for start, end in pairwise(ends)]


_ADVICE = {
    "key": "It was encrypted under another public key; fetch the present one and encrypt again.",
    "encoding": "Scales must not be mixed in a sum: encode as the plan and the public key say.",
    "client": "A client may send for itself only.",
}
