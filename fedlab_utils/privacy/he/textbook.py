"""Paillier in its textbook form, for reading and for small keys. Taught in chapter 08.

Python's integers do the arithmetic: slow, and not in constant time. Use `paillier.py` for work.

Source: Paillier 1999, doi:10.1007/3-540-48910-X_16.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.he.messages import CiphertextError

_SMALL_PRIMES = [p for p in range(3, 2000, 2) if all(p % q for q in range(3, math.isqrt(p) + 1, 2))]


@dataclass(frozen=True)
class PublicKey:
    """The modulus n = p q. Taught in chapter 08."""

    n: int

    @property
    def square(self) -> int:
        """Ciphertexts are numbers modulo n^2."""
        return self.n * self.n

    def encrypt(self, m: int, r: int | None = None) -> int:
        """(1 + n)^m r^n mod n^2 for 0 <= m < n; `r` is random and coprime to n.

        Raises FedlabError if m is out of range: it would wrap around.
        """
        if not 0 <= m < self.n:
            raise FedlabError(f"the plaintext {m} is not in [0, n); it would wrap around.")
        while r is None or math.gcd(r, self.n) != 1:
            r = 1 + secrets.randbelow(self.n - 1)
        return (1 + m * self.n) * pow(r, self.n, self.square) % self.square

    def add(self, a: int, b: int) -> int:
        """A ciphertext of the sum of two plaintexts."""
        return a * b % self.square

    def multiply(self, a: int, k: int) -> int:
        """A ciphertext of k times the plaintext."""
        return pow(a, k, self.square)

    def check(self, c: int, sender: str) -> None:
        """Raises CiphertextError, which names the sender, if c is no ciphertext of this key."""
        if not 0 < c < self.square or math.gcd(c, self.n) != 1:
            raise CiphertextError(f"{sender}: this number is no ciphertext under this key.")


@dataclass(frozen=True)
class SecretKey:
    """The two primes. Taught in chapter 08."""

    p: int
    q: int

    @property
    def public(self) -> PublicKey:
        """The key to publish."""
        return PublicKey(self.p * self.q)

    def decrypt(self, c: int) -> int:
        """The plaintext in [0, n). Raises CiphertextError if c is no ciphertext of this key."""
        key = self.public
        key.check(c, "ciphertext")
        lam = math.lcm(self.p - 1, self.q - 1)
        return (pow(c, lam, key.square) - 1) // key.n * pow(lam, -1, key.n) % key.n


def generate(bits: int, *, safe: bool = False) -> SecretKey:
    """A key whose modulus has `bits` bits (an even number of at least 64).

    With `safe`, (p - 1) / 2 and (q - 1) / 2 are prime too, as the threshold scheme needs; that
    takes much longer. Raises FedlabError for other sizes.
    """
    if bits < 64 or bits % 2:
        raise FedlabError(f"generate: bits={bits} must be even and at least 64.")
    p = q = _prime(bits // 2, safe)
    while p == q:
        q = _prime(bits // 2, safe)
    return SecretKey(p, q)


def is_prime(n: int, rounds: int = 40) -> bool:
    """Miller-Rabin: a composite number passes with a probability below 4^-rounds."""
    if n < 4 or n % 2 == 0:
        return n in (2, 3)
    if any(n % p == 0 for p in _SMALL_PRIMES if p < n):
        return False
    twos = ((n - 1) & (1 - n)).bit_length() - 1
    for _ in range(rounds):
        x = pow(2 + secrets.randbelow(n - 3), (n - 1) >> twos, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def _prime(bits: int, safe: bool) -> int:
    """A random prime of `bits` bits whose top two bits are 1, so that p q has full length."""
    while True:
        p = secrets.randbits(bits) | 3 << (bits - 2) | 3  # 3 mod 4: (p - 1) / 2 is odd
        if safe and not _maybe_safe(p):
            continue
        if is_prime(p) and (not safe or is_prime((p - 1) // 2)):
            return p


def _maybe_safe(p: int) -> bool:
    """False if a small prime divides p or (p - 1) / 2, which rules out nearly all candidates."""
    return all(p % s > 1 for s in _SMALL_PRIMES)
