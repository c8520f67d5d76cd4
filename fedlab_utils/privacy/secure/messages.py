"""The nine messages of a round of secure aggregation. Taught in chapter 07.

step      client to server        server to clients
keys      Keys                    Roster     the keys of your peers
shares    Shares                  Inbox      the sealed shares that your peers made for you
uploads   Upload                  Survivors  whose vectors arrived
consents  Consent                 Agreement  what your peers signed
reveals   Reveal                  -
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fedlab_utils.privacy.secure.setup import RoundSetup
from fedlab_utils.privacy.secure.shamir import SHARE_BYTES
from fedlab_utils.privacy.secure.wire import (
    SIGNATURE_BYTES,
    Message,
    Reader,
    SignedMessage,
    bitmap,
    read_bitmap,
    table,
)

PAIR_BYTES = 2 * SHARE_BYTES  # a share of the mask key, a share of the self-mask seed
BOX_BYTES = PAIR_BYTES + 16
_KEYS_BYTES = 3 * 32


@dataclass(frozen=True)
class Keys(SignedMessage):
    """A client's public keys for this round, and a commitment to its self-mask seed."""

    kind = 1
    box_key: bytes = b""
    mask_key: bytes = b""
    commitment: bytes = b""

    def body(self) -> bytes:
        """Three times 32 bytes."""
        return self.box_key + self.mask_key + self.commitment

    @classmethod
    def read(cls, round_: int, sender: int, body: Reader, setup: RoundSetup) -> Keys:
        """The inverse of `body`."""
        box_key, mask_key, commitment = (body.take(32) for _ in range(3))
        return cls(round_, sender, box_key=box_key, mask_key=mask_key, commitment=commitment)


@dataclass(frozen=True)
class Shares(SignedMessage):
    """A client's shares of its two secrets, each pair sealed for one peer: {peer: box}."""

    kind = 2
    boxes: dict[int, bytes] = field(default_factory=dict)

    def body(self) -> bytes:
        """A table of boxes."""
        return table(self.boxes)

    @classmethod
    def read(cls, round_: int, sender: int, body: Reader, setup: RoundSetup) -> Shares:
        """The inverse of `body`."""
        return cls(round_, sender, boxes=body.table(BOX_BYTES, setup.holders))


@dataclass(frozen=True)
class Upload(SignedMessage):
    """A client's masked vector, as little-endian bytes."""

    kind = 3
    vector: bytes = b""

    def body(self) -> bytes:
        """The vector."""
        return self.vector

    @classmethod
    def read(cls, round_: int, sender: int, body: Reader, setup: RoundSetup) -> Upload:
        """The inverse of `body`."""
        return cls(round_, sender, vector=body.take(setup.length * setup.bits // 8))


@dataclass(frozen=True)
class Consent(SignedMessage):
    """A client's signature under the list of survivors that it was told."""

    kind = 4
    survivors: frozenset[int] = frozenset()

    def body(self) -> bytes:
        """One bit for each client."""
        return bitmap(self.survivors)

    @classmethod
    def read(cls, round_: int, sender: int, body: Reader, setup: RoundSetup) -> Consent:
        """The inverse of `body`."""
        return cls(round_, sender, survivors=read_bitmap(body, len(setup.names)))


@dataclass(frozen=True)
class Reveal(SignedMessage):
    """The shares the server needs: of a survivor its seed's, of a dropped client its mask key's."""

    kind = 5
    seeds: dict[int, bytes] = field(default_factory=dict)
    mask_keys: dict[int, bytes] = field(default_factory=dict)

    def body(self) -> bytes:
        """Two tables of shares."""
        return table(self.seeds) + table(self.mask_keys)

    @classmethod
    def read(cls, round_: int, sender: int, body: Reader, setup: RoundSetup) -> Reveal:
        """The inverse of `body`."""
        seeds, mask_keys = (body.table(SHARE_BYTES, setup.holders) for _ in range(2))
        return cls(round_, sender, seeds=seeds, mask_keys=mask_keys)


@dataclass(frozen=True)
class Roster(Message):
    """The signed keys of the peers that are there."""

    kind = 11
    keys: tuple[Keys, ...] = ()

    def body(self) -> bytes:
        """A table of bodies and signatures."""
        return table({k.sender: k.body() + k.signature for k in self.keys})

    @classmethod
    def read(cls, round_: int, sender: int, body: Reader, setup: RoundSetup) -> Roster:
        """The inverse of `body`."""
        entries = body.table(_KEYS_BYTES + SIGNATURE_BYTES, setup.holders)
        keys = []
        for client, entry in entries.items():
            part = Reader(entry)
            box_key, mask_key, commitment = (part.take(32) for _ in range(3))
            keys.append(
                Keys(round_, client, part.take(SIGNATURE_BYTES), box_key, mask_key, commitment)
            )
        return cls(round_, sender, tuple(keys))


@dataclass(frozen=True)
class Inbox(Message):
    """The boxes that the peers sealed for one client: {peer: box}."""

    kind = 12
    boxes: dict[int, bytes] = field(default_factory=dict)

    def body(self) -> bytes:
        """A table of boxes."""
        return table(self.boxes)

    @classmethod
    def read(cls, round_: int, sender: int, body: Reader, setup: RoundSetup) -> Inbox:
        """The inverse of `body`."""
        return cls(round_, sender, body.table(BOX_BYTES, setup.holders))


@dataclass(frozen=True)
class Survivors(Message):
    """The clients whose vectors arrived. All others have dropped out."""

    kind = 13
    survivors: frozenset[int] = frozenset()

    def body(self) -> bytes:
        """One bit for each client."""
        return bitmap(self.survivors)

    @classmethod
    def read(cls, round_: int, sender: int, body: Reader, setup: RoundSetup) -> Survivors:
        """The inverse of `body`."""
        return cls(round_, sender, read_bitmap(body, len(setup.names)))


@dataclass(frozen=True)
class Agreement(Message):
    """The peers' signatures under the list of survivors: {peer: signature}."""

    kind = 14
    signatures: dict[int, bytes] = field(default_factory=dict)

    def body(self) -> bytes:
        """A table of signatures."""
        return table(self.signatures)

    @classmethod
    def read(cls, round_: int, sender: int, body: Reader, setup: RoundSetup) -> Agreement:
        """The inverse of `body`."""
        return cls(round_, sender, body.table(SIGNATURE_BYTES, setup.holders))


FROM_CLIENTS: dict[int, type[Message]] = {
    form.kind: form for form in (Keys, Shares, Upload, Consent, Reveal)
}
FROM_SERVER: dict[int, type[Message]] = {
    form.kind: form for form in (Roster, Inbox, Survivors, Agreement)
}
