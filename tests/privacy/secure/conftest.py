"""A round of secure aggregation that a test can stop at every message."""

import numpy as np
import pytest

from fedlab_utils.privacy.secure import Client, Identity, Server, invite
from fedlab_utils.privacy.secure.wire import Message


class Play:
    """Clients 1 to K with random vectors, and a server; nothing moves unless told to."""

    def __init__(self, clients: int = 5, length: int = 6, *, round_: int = 3, **options) -> None:
        self.identities = [Identity(f"bank {i}") for i in range(1, clients + 1)]
        self.setup = invite(self.identities, length, round_=round_, **options)
        rng = np.random.default_rng(clients)
        self.vectors = rng.integers(
            0, 2**self.setup.bits, (clients, length), dtype=self.setup.dtype
        )
        self.clients = {
            i: Client(identity, self.setup, self.vectors[i - 1])
            for i, identity in enumerate(self.identities, start=1)
        }
        self.server = Server(self.setup)
        self.inbox: dict[int, bytes] | None = None

    def speak(self, silent=()) -> dict[int, bytes]:
        """What the clients say next; they take what is in the inbox."""
        if self.inbox is None:
            return {i: c.start() for i, c in self.clients.items() if i not in silent}
        return {
            i: self.clients[i].receive(data) for i, data in self.inbox.items() if i not in silent
        }

    def step(self, silent=()) -> dict[int, bytes]:
        """One step: all but the silent speak, the server answers. Returns what was said."""
        said = self.speak(silent)
        for data in said.values():
            self.server.receive(data)
        self.inbox = self.server.advance()
        return said

    def steps(self, count: int, silent=()) -> "Play":
        """Some steps with the same clients silent."""
        for _ in range(count):
            self.step(silent)
        return self

    def finish(self, silent=()) -> None:
        """Play to the end; the sum must be exact."""
        while self.server.awaits is not None:
            self.step(silent)
        self.check_sum()

    def check_sum(self) -> None:
        """The server's total is the exact sum of the survivors' vectors."""
        rows = [i - 1 for i in sorted(self.server.survivors)]
        wanted = self.vectors[rows].sum(axis=0, dtype=self.setup.dtype)
        assert np.array_equal(self.server.total, wanted)

    def sign(self, message: Message) -> bytes:
        """The message as if its sender had really sent it."""
        return message.signed(self.identities[message.sender - 1], self.setup).to_bytes()


@pytest.fixture
def play():
    """The class, to make rounds of."""
    return Play
