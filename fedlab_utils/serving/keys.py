"""Ed25519 keys: who signs models, and whom a bank trusts. Taught in chapter 14.

Source: RFC 8032, https://www.rfc-editor.org/rfc/rfc8032; the keys are those of `cryptography`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from fedlab_utils.errors import FedlabError

PRIVATE, PUBLIC = "signing.key", "signing.pub"


def make_keys(folder: Path, password: str | None = None) -> tuple[Path, Path]:
    """Make a key pair: `signing.key` (only you may read it) and `signing.pub` (for the banks).

    With a password the private key is encrypted. Raises FedlabError if there is one already: a key
    that has signed something must not be lost by accident.
    """
    folder.mkdir(parents=True, exist_ok=True)
    private, public = folder / PRIVATE, folder / PUBLIC
    key = Ed25519PrivateKey.generate()
    how: KeySerializationEncryption = NoEncryption()
    if password:
        how = BestAvailableEncryption(password.encode())
    try:
        descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise FedlabError(f"{private} is there already; choose another folder.") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def read_private_key(path: Path, password: str | None = None) -> Ed25519PrivateKey:
    """Read a private key. Raises FedlabError for another kind of file, or a wrong password."""
    try:
        key = load_pem_private_key(path.read_bytes(), password.encode() if password else None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FedlabError(f"{path} cannot be read as a private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise FedlabError(f"{path} is not an Ed25519 key; make one with make_keys.")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key. Raises FedlabError for another kind of file."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise FedlabError(f"{path} cannot be read as a public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise FedlabError(f"{path} is not an Ed25519 key; make one with make_keys.")
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """The first 16 hexadecimal digits of the key's sha256: short enough to compare by eye."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]
