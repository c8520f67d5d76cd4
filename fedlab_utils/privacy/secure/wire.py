"""Messages as bytes, and bytes as messages, with every length checked. Taught in chapter 07.

A message is: kind (1 byte), round (4), sender (2; 0 is the server), body, and for a client's
message an Ed25519 signature (64). Numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from fedlab_utils.privacy.secure.errors import MalformedMessage, UnknownSender, WrongRound
from fedlab_utils.privacy.secure.keys import Identity, verify
from fedlab_utils.privacy.secure.setup import RoundSetup

SERVER = 0
SIGNATURE_BYTES = 64
_HEADER = struct.Struct("<BIH")


class Reader:
    """Reads a message front to back; raises MalformedMessage where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        if self._at + size > len(self._data):
            raise MalformedMessage(
                f"the body of the message has {len(self._data)} bytes; {self._at + size} or more "
                f"were expected."
            )
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self) -> int:
        """The next two bytes as a number."""
        return int.from_bytes(self.take(2), "little")

    def table(self, size: int, most: int) -> dict[int, bytes]:
        """A count, then that many pairs of a client's number and `size` bytes."""
        count = self.number()
        if count > most:
            raise MalformedMessage(f"the message has {count} entries; at most {most} make sense.")
        pairs = [(self.number(), self.take(size)) for _ in range(count)]
        if len({client for client, _ in pairs}) != count:
            raise MalformedMessage("the message has two entries for one client.")
        return dict(pairs)

    def end(self) -> None:
        """Raise MalformedMessage unless everything was read."""
        if self._at != len(self._data):
            raise MalformedMessage(f"{len(self._data) - self._at} bytes too many in the message.")


def table(entries: Mapping[int, bytes]) -> bytes:
    """The inverse of `Reader.table`."""
    parts = [len(entries).to_bytes(2, "little")]
    for client, content in entries.items():
        parts += [client.to_bytes(2, "little"), content]
    return b"".join(parts)


def bitmap(clients: Iterable[int]) -> bytes:
    """A set of clients, one bit each, after the number of bytes."""
    number = sum(1 << client for client in clients)
    size = (number.bit_length() + 7) // 8
    return size.to_bytes(2, "little") + number.to_bytes(size, "little")


def read_bitmap(body: Reader, most: int) -> frozenset[int]:
    """The inverse of `bitmap`, for clients 1 to `most`; raises MalformedMessage for others."""
    number = int.from_bytes(body.take(min(body.number(), most // 8 + 2)), "little")
    clients = frozenset(i for i in range(number.bit_length()) if number >> i & 1)
    if not clients <= frozenset(range(1, most + 1)):
        raise MalformedMessage(f"a list of clients goes beyond 1 to {most}.")
    return clients


@dataclass(frozen=True)
class Message:
    """Base of all messages: who speaks, in which round."""

    round: int
    sender: int
    kind: ClassVar[int]

    def body(self) -> bytes:
        """The bytes between header and signature."""
        raise NotImplementedError

    @classmethod
    def read(cls, round_: int, sender: int, body: Reader, setup: RoundSetup) -> Message:
        """The inverse of `body`; raises MalformedMessage."""
        raise NotImplementedError

    def unsigned_bytes(self) -> bytes:
        """Header and body."""
        return _HEADER.pack(self.kind, self.round, self.sender) + self.body()

    def to_bytes(self) -> bytes:
        """The message as it travels."""
        return self.unsigned_bytes()


S = TypeVar("S", bound="SignedMessage")


@dataclass(frozen=True)
class SignedMessage(Message):
    """A client's message: signed over header, body and the setup of the round."""

    signature: bytes = b""

    def signed(self: S, identity: Identity, setup: RoundSetup) -> S:
        """The same message with its signature."""
        return replace(self, signature=identity.sign(setup.tag + self.unsigned_bytes()))

    def check_signature(self, setup: RoundSetup) -> None:
        """Raise UnknownSender or ForgedMessage unless a client of this round signed it."""
        if not 1 <= self.sender <= len(setup.names):
            raise UnknownSender(
                f"{type(self).__name__}: {setup.name(self.sender)} is not invited to round "
                f"{setup.round}."
            )
        what = f"{type(self).__name__} of {setup.name(self.sender)}"
        data = setup.tag + self.unsigned_bytes()
        verify(setup.directory[self.sender - 1], self.signature, data, what)

    def to_bytes(self) -> bytes:
        """The message as it travels, signature last."""
        return self.unsigned_bytes() + self.signature


def header(data: bytes) -> tuple[int, int, int]:
    """(kind, round, sender) of a message; raises MalformedMessage."""
    if len(data) < _HEADER.size:
        raise MalformedMessage(f"{len(data)} bytes are no message; a header has {_HEADER.size}.")
    return _HEADER.unpack_from(data)


def parse(data: bytes, setup: RoundSetup, kinds: Mapping[int, type[Message]]) -> Message:
    """One message of the given kinds, for the round of this setup.

    Raises MalformedMessage or WrongRound. Signatures and content are not checked here.
    """
    kind, round_, sender = header(data)
    if kind not in kinds:
        raise MalformedMessage(f"kind {kind} is no message of this protocol.")
    if round_ != setup.round:
        raise WrongRound(
            f"{kinds[kind].__name__} of {setup.name(sender) if sender else 'the server'} belongs "
            f"to round {round_}; this is round {setup.round}."
        )
    form = kinds[kind]
    if not issubclass(form, SignedMessage):
        reader = Reader(data[_HEADER.size :])
        message = form.read(round_, sender, reader, setup)
    else:
        end = max(_HEADER.size, len(data) - SIGNATURE_BYTES)
        reader = Reader(data[_HEADER.size : end])
        bare = form.read(round_, sender, reader, setup)
        assert isinstance(bare, SignedMessage)
        message = replace(bare, signature=data[end:])
    reader.end()
    return message
