"""Models as signed files: a bank loads nothing that nobody it trusts has signed.

    registry/payments-autoencoder/0001/{card.json, model.npz, manifest.json, manifest.sig}

The manifest holds name, version, dates and the sha256 of both files; the signature covers the bytes
of the manifest. Reading goes the other way round: signature, then manifest, then hashes, and only
then are the files looked into. Taught in chapter 14.

What is caught: a changed byte in any file, an unknown signer, a model put under another name or
version, an old version in place of a newer one the bank has used, a model past its date. The idea
of dates and versions is that of The Update Framework, https://theupdateframework.io.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedlab_utils.errors import FedlabError
from fedlab_utils.serving.bundle import ARRAYS, CARD, CARD_BYTES, Bundle, parse_bundle
from fedlab_utils.serving.keys import fingerprint

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
_PURPOSE = b"fedlab model manifest, version 1\n"  # so that no other signed text passes for one
_MANIFEST_BYTES = 10_000
_ARRAYS_BYTES = 1 << 30
_VERSION = re.compile(r"\d{4}")


class RegistryError(FedlabError):
    """A model that must not be used; says which and why."""


@dataclass(frozen=True)
class Released:
    """What the manifest of a version says.

    Attributes:
        name, version: which model; versions count 1, 2, ...
        made, valid_until: dates and times (ISO 8601, UTC).
        sha256: file name -> hash.
        signer: fingerprint of the key whose signature was found good.
    """

    name: str
    version: int
    made: str
    valid_until: str
    sha256: dict[str, str]
    signer: str


class Registry:
    """A folder of signed models."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def versions(self, name: str) -> list[int]:
        """The versions of a model that lie there, good or not."""
        place = self.folder / name
        if not place.is_dir():
            return []
        return sorted(int(p.name) for p in place.iterdir() if _VERSION.fullmatch(p.name))

    def publish(
        self,
        bundle: Bundle,
        key: Ed25519PrivateKey,
        *,
        days: float = 90,
        now: datetime | None = None,
    ) -> Released:
        """Sign a bundle and put it there as the next version; it appears whole or not at all.

        `days` says how long banks may use it. Raises RegistryError if it cannot be written.
        """
        if not days > 0:
            raise RegistryError(f"days={days}: a model must be valid for some time.")
        name, files = bundle.card.name, bundle.files()
        made = now or datetime.now(UTC)
        version = max(self.versions(name), default=0) + 1
        manifest = {
            "name": name,
            "version": version,
            "made": made.isoformat(timespec="seconds"),
            "valid_until": (made + timedelta(days=days)).isoformat(timespec="seconds"),
            "sha256": {n: hashlib.sha256(data).hexdigest() for n, data in files.items()},
        }
        text = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place, prefix=".") as part:
            whole = Path(part) / "whole"
            whole.mkdir()
            for file, data in {
                **files,
                MANIFEST: text,
                SIGNATURE: key.sign(_PURPOSE + text),
            }.items():
                (whole / file).write_bytes(data)
            try:
                os.rename(whole, place / f"{version:04d}")
            except OSError as error:  # somebody else has just published this version
                raise RegistryError(f"{name} {version} cannot be published: {error}") from error
        return Released(**manifest, signer=fingerprint(key.public_key()))  # type: ignore[arg-type]

    def load(
        self,
        name: str,
        trusted: Sequence[Ed25519PublicKey],
        *,
        version: int | None = None,
        at_least: int = 0,
        now: datetime | None = None,
    ) -> tuple[Bundle, Released]:
        """Load a version (the newest, if none is given) that a trusted key has signed.

        Args:
            trusted: keys whose signature counts.
            at_least: the highest version this bank has used; older ones are refused.

        Raises RegistryError for everything in the module's list; nothing of the model is read then.
        """
        found = self.versions(name)
        if not found or (version is not None and version not in found):
            raise RegistryError(f"{name} {version or ''} is not in {self.folder}; it has {found}.")
        chosen = found[-1] if version is None else version
        place, label = self.folder / name / f"{chosen:04d}", f"{name} {chosen}"
        text = _read(place / MANIFEST, _MANIFEST_BYTES, label)
        signature = _read(place / SIGNATURE, 64, label)
        released = _parse(text, _signer(text, signature, trusted, label), label)
        if (released.name, released.version) != (name, chosen):
            raise RegistryError(
                f"{label}: the signed manifest is of {released.name} {released.version}."
            )
        if chosen < at_least:
            raise RegistryError(f"{label}: this bank has used version {at_least}; no way back.")
        if (now or datetime.now(UTC)) > datetime.fromisoformat(released.valid_until):
            raise RegistryError(f"{label}: was valid until {released.valid_until}.")
        files = {}
        for file, limit in {CARD: CARD_BYTES, ARRAYS: _ARRAYS_BYTES}.items():
            files[file] = _read(place / file, limit, label)
            if hashlib.sha256(files[file]).hexdigest() != released.sha256.get(file):
                raise RegistryError(f"{label}: {file} is not the file that was signed.")
        # The very bytes that were hashed are parsed, not the file again.
        bundle = parse_bundle(files, label)
        if bundle.card.name != name:
            raise RegistryError(f"{label}: the card is of {bundle.card.name!r}.")
        return bundle, released


def describe(released: Released) -> dict[str, object]:
    """A version as plain values, for a log or an answer over HTTP."""
    return asdict(released)


def _signer(
    text: bytes, signature: bytes, trusted: Sequence[Ed25519PublicKey], label: str
) -> Ed25519PublicKey:
    for key in trusted:
        try:
            key.verify(signature, _PURPOSE + text)
        except InvalidSignature:
            continue
        return key
    known = ", ".join(fingerprint(key) for key in trusted) or "nobody"
    raise RegistryError(f"{label}: not signed by anybody this bank trusts ({known}).")


def _parse(text: bytes, signer: Ed25519PublicKey, label: str) -> Released:
    try:
        released = Released(**json.loads(text), signer=fingerprint(signer))
        datetime.fromisoformat(released.valid_until)
    except (TypeError, ValueError) as error:
        raise RegistryError(f"{label}: the signed manifest is of another kind: {error}") from error
    return released


def _read(path: Path, limit: int, label: str) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise RegistryError(f"{label}: {path.name} is missing, or not an ordinary file.")
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise RegistryError(f"{label}: {path.name} is larger than {limit:,} bytes.")
    return data
