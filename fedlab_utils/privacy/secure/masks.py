"""Which keys belong to which pair of clients: both sides must derive the same. Chapter 07."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedlab_utils.privacy.secure.keys import KeyPair
from fedlab_utils.privacy.secure.setup import RoundSetup


def client_context(setup: RoundSetup, client: int) -> bytes:
    """Bytes that stand for one client in one round."""
    return setup.tag + client.to_bytes(2, "little")


def box_context(setup: RoundSetup, sender: int, receiver: int) -> bytes:
    """Bytes that a sealed box is bound to: it fits one sender and one receiver in one round."""
    return client_context(setup, sender) + receiver.to_bytes(2, "little")


def pair_mask_key(own: KeyPair, other: bytes, setup: RoundSetup, me: int, peer: int) -> bytes:
    """The key of the mask that two clients share; the lower one adds it, the higher subtracts."""
    return own.agree(other, b"fedlab pair mask" + box_context(setup, min(me, peer), max(me, peer)))


def seed_mask_key(seed: bytes, setup: RoundSetup, client: int) -> bytes:
    """The key of a client's self-mask."""
    info = b"fedlab self-mask" + client_context(setup, client)
    return HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(seed)


def box_keys(
    own: KeyPair, other: bytes, setup: RoundSetup, me: int, peer: int
) -> tuple[bytes, bytes]:
    """The keys for boxes from me to the peer, and from the peer to me."""
    low, high = min(me, peer), max(me, peer)
    both = own.agree(other, b"fedlab box" + box_context(setup, low, high), 64)
    up, down = both[:32], both[32:]
    return (up, down) if me == low else (down, up)
