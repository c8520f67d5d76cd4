"""A Paillier key that no one holds: t of l holders decrypt together. Taught in chapter 08.

For reading and for small keys. A dealer makes the shares and must forget the key; removing the
dealer needs a protocol for making keys together, which is not here.

Source: Damgård and Jurik 2001, doi:10.1007/3-540-44586-2_9 (section 4.1), after Shoup 2000,
doi:10.1007/3-540-45539-6_15.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.he.messages import CiphertextError
from fedlab_utils.privacy.he.textbook import PublicKey, generate

_HASH_BITS = 256


@dataclass(frozen=True)
class ThresholdKey:
    """What everybody may know.

    Attributes:
        public: the Paillier public key; encryption and addition are as ever.
        threshold: t, how many holders must work together.
        holders: names of the l holders.
        base: v, a random square modulo n^2.
        checks: v to the power of each holder's (scaled) share; a partial decryption is proved
            against it.
    """

    public: PublicKey
    threshold: int
    holders: tuple[str, ...]
    base: int
    checks: tuple[int, ...]

    @property
    def delta(self) -> int:
        """l factorial: it clears the denominators of Lagrange's formula."""
        return math.factorial(len(self.holders))


@dataclass(frozen=True)
class Partial:
    """One holder's part of a decryption, with a proof that the right share was used."""

    holder: str
    value: int
    challenge: int
    response: int


class ShareHolder:
    """Holds one share; answers with partial decryptions. Taught in chapter 08."""

    def __init__(self, name: str, share: int, key: ThresholdKey) -> None:
        self.name = name
        self.key = key
        self._exponent = key.delta * share

    def partial(self, c: int) -> Partial:
        """This holder's part of the decryption of c. Raises CiphertextError if c is no ciphertext.

        A holder should ask first *what* it decrypts: a sum, or a single client's update?
        """
        key, square = self.key, self.key.public.square
        key.public.check(c, "ciphertext")
        value = pow(c, 2 * self._exponent, square)
        nonce = secrets.randbits(self._exponent.bit_length() + 2 * _HASH_BITS)
        commitments = (pow(c, 4 * nonce, square), pow(key.base, nonce, square))
        challenge = _challenge(key, self.name, c, value, commitments)
        return Partial(self.name, value, challenge, nonce + challenge * self._exponent)


def deal(
    bits: int, holders: Sequence[str], threshold: int
) -> tuple[ThresholdKey, list[ShareHolder]]:
    """Make a key of `bits` bits and give each holder one point of a polynomial through it.

    Raises FedlabError if threshold and holders make no sense. Taught in chapter 08.
    """
    if not 1 <= threshold <= len(holders) or len(set(holders)) != len(holders):
        raise FedlabError(
            f"deal: threshold={threshold} must be 1 to {len(holders)}, the number of holders, "
            f"and their names must differ."
        )
    secret = generate(bits, safe=True)
    public, m = secret.public, (secret.p - 1) // 2 * ((secret.q - 1) // 2)
    d = m * pow(m, -1, public.n)  # 0 modulo m and 1 modulo n: c^d = 1 + plaintext * n
    order = m * public.n
    coefficients = [d, *(secrets.randbelow(order) for _ in range(threshold - 1))]
    shares = [
        sum(a * i**power for power, a in enumerate(coefficients)) % order
        for i in range(1, len(holders) + 1)
    ]
    base = pow(1 + secrets.randbelow(public.square - 1), 2, public.square)
    delta = math.factorial(len(holders))
    checks = tuple(pow(base, delta * share, public.square) for share in shares)
    key = ThresholdKey(public, threshold, tuple(holders), base, checks)
    return key, [ShareHolder(name, s, key) for name, s in zip(holders, shares, strict=True)]


def combine(key: ThresholdKey, c: int, partials: Sequence[Partial]) -> int:
    """The plaintext in [0, n) of c, from the parts of at least `threshold` holders.

    Raises CiphertextError for too few parts, and names the holder of an unknown, repeated or
    false one.
    """
    for part in partials:
        verify(key, c, part)
    numbers = [key.holders.index(part.holder) + 1 for part in partials]
    if len(set(numbers)) != len(numbers):
        twice = next(h for h in key.holders if [p.holder for p in partials].count(h) > 1)
        raise CiphertextError(f"{twice}: sent more than one part of this decryption.")
    if len(numbers) < key.threshold:
        raise CiphertextError(
            f"{len(numbers)} parts of a decryption arrived, {key.threshold} are needed."
        )
    n, square, product = key.public.n, key.public.square, 1
    for i, part in zip(numbers, partials, strict=True):
        others = [j for j in numbers if j != i]
        # Lagrange's coefficient at 0, times delta: a whole number.
        weight = key.delta * math.prod(others) // math.prod(j - i for j in others)
        product = product * pow(part.value, 2 * weight, square) % square
    return (product - 1) // n * pow(4 * key.delta**2, -1, n) % n


def verify(key: ThresholdKey, c: int, part: Partial) -> None:
    """Check the proof of a part: its exponent is the one in the holder's check value.

    Raises CiphertextError that names the holder.
    """
    if part.holder not in key.holders:
        raise CiphertextError(f"{part.holder}: holds no share of this key.")
    square = key.public.square
    key.public.check(part.value, part.holder)
    check = key.checks[key.holders.index(part.holder)]
    commitments = (
        pow(c, 4 * part.response, square) * pow(part.value, -2 * part.challenge, square) % square,
        pow(key.base, part.response, square) * pow(check, -part.challenge, square) % square,
    )
    if _challenge(key, part.holder, c, part.value, commitments) != part.challenge:
        raise CiphertextError(
            f"{part.holder}: this part does not come from the share that was dealt to it."
        )


def _challenge(
    key: ThresholdKey, holder: str, c: int, value: int, commitments: tuple[int, int]
) -> int:
    """The verifier's coin, replaced by a hash of all that is known (Fiat and Shamir)."""
    text = repr((key.public.n, key.base, key.checks, holder, c, value, *commitments))
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
