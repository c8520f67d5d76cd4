"""Keys: identities that sign, key agreement, and sealed boxes. Taught in chapter 07.

X25519 (RFC 7748), Ed25519 (RFC 8032), HKDF-SHA256 (RFC 5869) and ChaCha20-Poly1305 (RFC 8439), all
from the package `cryptography`. Two X25519 pairs per client and round: one for masks, one for
boxes, since the mask key of a client that drops out is rebuilt by the server, and what was sent to
this client must stay closed then.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedlab_utils.privacy.secure.errors import ForgedMessage, WrongRound

_NONCE = bytes(12)  # every box has a key of its own, so one nonce will do


@dataclass
class Identity:
    """A client's long-lived signing key. The public half is known to all from the start (PKI).

    It also remembers its last round: a client never takes part in the same round twice, or a
    server could replay the messages of a round whose secrets it has learnt.
    """

    name: str
    _key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate, repr=False)
    last_round: int = -1

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """A signature of 64 bytes."""
        return self._key.sign(data)

    def enter(self, round_: int) -> None:
        """Begin a round; raises WrongRound unless it is later than every one before."""
        if round_ <= self.last_round:
            raise WrongRound(
                f"{self.name}: invited to round {round_}, but has taken part in round "
                f"{self.last_round}; rounds only go up."
            )
        self.last_round = round_


def verify(public: bytes, signature: bytes, data: bytes, what: str) -> None:
    """Raise ForgedMessage unless the signature is that of this key's owner."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        raise ForgedMessage(f"{what}: the signature is not that of its sender.") from None


def commitment(seed: bytes, context: bytes) -> bytes:
    """32 bytes that bind to a random seed without showing it."""
    return hashlib.sha256(b"fedlab self-mask" + context + seed).digest()


@dataclass(frozen=True)
class KeyPair:
    """A key pair for one round."""

    secret: bytes = field(
        default_factory=lambda: X25519PrivateKey.generate().private_bytes_raw(), repr=False
    )

    @cached_property
    def _own(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.secret)

    @cached_property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._own.public_key().public_bytes_raw()

    def agree(self, other: bytes, label: bytes, size: int = 32) -> bytes:
        """`size` key bytes that only the owners of the two keys can compute.

        Raises ForgedMessage for a public key of small order, which gives everybody the same key.
        """
        try:
            shared = self._own.exchange(X25519PublicKey.from_public_bytes(other))
        except ValueError:
            raise ForgedMessage("a public key that agrees on zero is no honest key.") from None
        return HKDF(hashes.SHA256(), size, salt=None, info=label).derive(shared)


def seal(key: bytes, content: bytes, context: bytes) -> bytes:
    """Encrypt and authenticate: 16 bytes longer than the content. A key must seal one box only."""
    return ChaCha20Poly1305(key).encrypt(_NONCE, content, context)


def unseal(key: bytes, box: bytes, context: bytes, what: str) -> bytes:
    """The content of a box; raises ForgedMessage if anything of it was changed."""
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, box, context)
    except InvalidTag:
        raise ForgedMessage(f"{what}: the sealed shares were changed on the way.") from None
