"""A short secret key becomes a long mask: AES-256 in counter mode. Taught in chapter 07."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.secure.fixed_point import Ring

KEY_BYTES = 32
_BLOCK = 1 << 17  # bytes of mask made at a time: it stays in the cache until it is added
_ZEROS = bytes(_BLOCK)


def fresh_key() -> bytes:
    """32 random bytes from the operating system."""
    return secrets.token_bytes(KEY_BYTES)


def stream(key: bytes, size: int, dtype: np.dtype[Any]) -> Ring:
    """The first `size` pseudo-random ring elements of a key; the same key gives the same ones."""
    mask = np.zeros(size, dtype)
    add_masks(mask, [(key, 1)])
    return mask


def add_masks(vector: Ring, signed_keys: Iterable[tuple[bytes, int]]) -> None:
    """Add each key's mask to a ring vector [P] in place, or subtract it (sign 1 or -1).

    The key stream of AES-256-CTR (counter from zero) is read as little-endian integers. A key must
    serve one vector only. Raises FedlabError for a key that has not 32 bytes.
    """
    item = vector.dtype.itemsize
    room = np.empty(_BLOCK + 16, np.uint8)
    part = room[:_BLOCK].view(vector.dtype.newbyteorder("<"))
    zeros, out = memoryview(_ZEROS), room.data
    for key, sign in signed_keys:
        if len(key) != KEY_BYTES:
            raise FedlabError(f"a mask key has {KEY_BYTES} bytes, this one has {len(key)}.")
        cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
        for start in range(0, len(vector), len(part)):
            piece = vector[start : start + len(part)]
            cipher.update_into(zeros[: len(piece) * item], out)
            if sign > 0:
                piece += part[: len(piece)]
            else:
                piece -= part[: len(piece)]
