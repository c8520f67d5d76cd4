"""What all parties of a round agree on before it begins. Taught in chapter 07."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.secure.keys import Identity

MAX_CLIENTS = 10_000
MAX_LENGTH = 1 << 28


@dataclass(frozen=True)
class RoundSetup:
    """The public parameters of one round of secure aggregation.

    Attributes:
        round: its number; a client never takes part in the same number twice.
        names: of the K clients; client i (1 to K) is names[i - 1], and i is its point in Shamir's
            sharing.
        directory: their K Ed25519 public keys, known to all beforehand (PKI).
        threshold: how many of the holders of a secret must answer to rebuild it. More than half of
            the holders, or a lying server could collect both secrets of one client from two groups.
        length: numbers in a vector.
        bits: 32 or 64, the ring.
        neighbours: None: everybody shares with everybody (Bonawitz et al. 2017). An even number:
            with that many others only (Bell et al. 2020), which is far less work with many clients.
        session: 16 public bytes that differ from run to run.

    Raises FedlabError for parameters that make no sense or are not secure.
    """

    round: int
    names: tuple[str, ...]
    directory: tuple[bytes, ...]
    threshold: int
    length: int
    bits: int = 32
    neighbours: int | None = None
    session: bytes = bytes(16)

    def __post_init__(self) -> None:
        k = len(self.names)
        if not 2 <= k <= MAX_CLIENTS:
            raise FedlabError(
                f"{k} client(s): secure aggregation needs 2 to {MAX_CLIENTS:,}; the sum of one is "
                f"that one's secret."
            )
        if len(self.directory) != k or len(set(self.directory)) != k or len(set(self.names)) != k:
            raise FedlabError(f"{k} clients need {k} different names and public keys.")
        if not 0 <= self.round < 2**32 or len(self.session) != 16:
            raise FedlabError("round must be a number below 2^32, session 16 bytes.")
        if self.bits not in (32, 64) or not 1 <= self.length <= MAX_LENGTH:
            raise FedlabError(f"bits must be 32 or 64, length 1 to {MAX_LENGTH:,}.")
        if self.neighbours is not None and (
            self.neighbours % 2 or not 2 <= self.neighbours <= k - 1
        ):
            raise FedlabError(
                f"neighbours={self.neighbours}: give an even number from 2 to {k - 1}, or None."
            )
        if not self.holders // 2 < self.threshold <= self.holders:
            raise FedlabError(
                f"threshold={self.threshold}: with {self.holders} holders of each secret it must "
                f"be {self.holders // 2 + 1} to {self.holders}. Half or fewer would let a server "
                f"that lies collect both secrets of a client, each from one half."
            )

    @property
    def everyone(self) -> range:
        """The numbers of all clients, 1 to K."""
        return range(1, len(self.names) + 1)

    @property
    def holders(self) -> int:
        """How many hold a share of each client's secrets, itself included."""
        return len(self.names) if self.neighbours is None else self.neighbours + 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the ring elements."""
        return np.dtype(f"<u{self.bits // 8}")

    @cached_property
    def tag(self) -> bytes:
        """16 bytes that stand for all of this; every signature and key is bound to them."""
        about = [self.round, self.threshold, self.length, self.bits, self.neighbours]
        text = json.dumps([*about, list(self.names), self.session.hex()])
        keys = b"".join(self.directory)
        return hashlib.sha256(b"fedlab secure aggregation 1" + text.encode() + keys).digest()[:16]

    @cached_property
    def _ring_order(self) -> tuple[list[int], dict[int, int]]:
        """The clients in an order nobody chose: by hash. Neighbours are those nearby in it."""
        order = sorted(
            self.everyone,
            key=lambda i: hashlib.sha256(self.tag + i.to_bytes(4, "big")).digest(),
        )
        return order, {client: place for place, client in enumerate(order)}

    def peers(self, client: int) -> tuple[int, ...]:
        """The clients that share masks and secrets with this one, itself not included."""
        k = len(self.names)
        if self.neighbours is None:
            return tuple(i for i in self.everyone if i != client)
        order, place = self._ring_order
        reach = range(1, self.neighbours // 2 + 1)
        near = {order[(place[client] + sign * step) % k] for step in reach for sign in (1, -1)}
        return tuple(sorted(near - {client}))

    def name(self, client: int) -> str:
        """The name of client 1 to K; says "client 99" for others, so that errors can name them."""
        known = 1 <= client <= len(self.names)
        return self.names[client - 1] if known else f"client {client}"


def default_threshold(holders: int) -> int:
    """The smallest threshold above two thirds of the holders.

    With it the active model holds while fewer than a third of the clients work for the server
    (Bonawitz et al. 2017, section 4.3).
    """
    return 2 * holders // 3 + 1


def invite(
    identities: Sequence[Identity],
    length: int,
    *,
    round_: int = 0,
    threshold: int | None = None,
    bits: int = 32,
    neighbours: int | None = None,
    session: bytes = bytes(16),
) -> RoundSetup:
    """The setup of a round for these clients.

    `threshold` None means `default_threshold` in the complete graph. With neighbours it means just
    over half: a small neighbourhood loses more than its share now and then, and the server is taken
    to be curious only.
    """
    holders = len(identities) if neighbours is None else neighbours + 1
    if threshold is None:
        threshold = default_threshold(holders) if neighbours is None else holders // 2 + 1
    return RoundSetup(
        round=round_,
        names=tuple(i.name for i in identities),
        directory=tuple(i.public for i in identities),
        threshold=threshold,
        length=length,
        bits=bits,
        neighbours=neighbours,
        session=session,
    )
