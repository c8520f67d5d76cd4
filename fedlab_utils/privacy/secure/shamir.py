"""Shamir's secret sharing: any `threshold` shares give the secret, fewer say nothing.

Source: Shamir 1979, doi:10.1145/359168.359176. Taught in chapter 07.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache

from fedlab_utils.privacy.secure.errors import ShareError

PRIME = 2**256 + 297  # the smallest prime above 2^256: every 32-byte key is a number below it
SECRET_BYTES = 32
SHARE_BYTES = 33  # a share may be one bit longer than the secret


def split(secret: int, threshold: int, points: Sequence[int], prime: int = PRIME) -> dict[int, int]:
    """Share a number: {point: value at it} of a random polynomial of degree threshold - 1.

    The polynomial has the secret as its value at zero, so no point may be zero; each point is one
    holder. Raises ShareError if secret, threshold or points make no sense.
    """
    if not 0 <= secret < prime:
        raise ShareError("the secret must be a number from 0 to prime - 1.")
    if not 1 <= threshold <= len(points):
        raise ShareError(
            f"threshold={threshold} with {len(points)} holders: give 1 to {len(points)}."
        )
    if len(set(points)) != len(points) or not all(0 < x < prime for x in points):
        raise ShareError("the points must be different numbers from 1 to prime - 1.")
    # Highest power first, the secret last, as Horner's rule reads them.
    coefficients = [secrets.randbelow(prime) for _ in range(threshold - 1)] + [secret]
    shares = {}
    for x in points:
        value = 0
        for coefficient in coefficients:
            value = (value * x + coefficient) % prime
        shares[x] = value
    return shares


def join(shares: Mapping[int, int], threshold: int, prime: int = PRIME) -> int:
    """The secret of at least `threshold` shares {point: value}; raises ShareError for fewer.

    If a share is wrong, or the threshold is not the one used for sharing, the result is some other
    number: whoever joins has to check it against something public.
    """
    if len(shares) < threshold:
        raise ShareError(f"{len(shares)} shares are too few: {threshold} are needed.")
    points = tuple(sorted(shares)[:threshold])
    weights = _weights_at_zero(points, prime)
    return sum(w * shares[x] for w, x in zip(weights, points, strict=True)) % prime


# Many secrets are joined from the same holders' shares; the weights depend on the holders only.
@lru_cache(maxsize=256)
def _weights_at_zero(points: tuple[int, ...], prime: int) -> tuple[int, ...]:
    weights = []
    for x in points:
        above, below = 1, 1
        for other in points:
            if other != x:
                above = above * other % prime
                below = below * (other - x) % prime
        weights.append(above * pow(below, -1, prime) % prime)
    return tuple(weights)


def split_key(key: bytes, threshold: int, points: Sequence[int]) -> dict[int, bytes]:
    """Share a 32-byte key among holders; each share has 33 bytes."""
    if len(key) != SECRET_BYTES:
        raise ShareError(f"a key has {SECRET_BYTES} bytes, this one has {len(key)}.")
    shares = split(int.from_bytes(key, "big"), threshold, points)
    return {x: value.to_bytes(SHARE_BYTES, "big") for x, value in shares.items()}


def join_key(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The 32-byte key of at least `threshold` shares.

    Raises ShareError for too few shares, or if what comes out is no 32-byte key, which shows that
    a share was wrong.
    """
    secret = join({x: int.from_bytes(s, "big") for x, s in shares.items()}, threshold)
    if secret >= 1 << (8 * SECRET_BYTES):
        raise ShareError("the shares do not fit together: at least one is wrong.")
    return secret.to_bytes(SECRET_BYTES, "big")
