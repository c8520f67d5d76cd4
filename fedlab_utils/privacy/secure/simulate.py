"""A whole round in one process: every message goes through bytes. Taught in chapter 07."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.secure.client import Client
from fedlab_utils.privacy.secure.fixed_point import Ring
from fedlab_utils.privacy.secure.keys import Identity
from fedlab_utils.privacy.secure.server import STEPS, Server
from fedlab_utils.privacy.secure.setup import RoundSetup

STEP_NAMES = ("keys", "shares", "upload", "consent", "reveal")


@dataclass(frozen=True)
class Outcome:
    """What a round came to.

    Attributes:
        total: [length] the sum of the survivors' vectors, in the ring.
        survivors: names of the clients in the sum.
        bytes_up: all clients' bytes to the server.
        bytes_down: the server's bytes to all clients.
        client_seconds: work of all clients together, in seconds.
        server_seconds: work of the server, in seconds.
    """

    total: Ring
    survivors: tuple[str, ...]
    bytes_up: int
    bytes_down: int
    client_seconds: float
    server_seconds: float


def run_round(
    identities: Sequence[Identity],
    setup: RoundSetup,
    vectors: Sequence[Ring],
    drop: Mapping[str, str] | None = None,
    watch: Callable[[bytes], None] | None = None,
) -> Outcome:
    """Play a round of secure aggregation between clients and server.

    Args:
        identities: of the K clients, in the order of `setup.names`.
        setup: the round, from `invite`.
        vectors: K ring vectors [length].
        drop: {name: step} of clients that fall silent at a step: "keys", "shares", "upload",
            "consent" or "reveal". Before "upload" a client is not in the sum, after it is.
        watch: called with each message that the server receives.

    Raises the ProtocolError that ends the round, FedlabError for an unknown name or step.
    """
    silent = _silent_from(setup, drop or {})
    clock = _Clock()
    with_clients = clock.timed("clients")
    with_server = clock.timed("server")
    server = with_server(Server, setup)
    clients = {
        i: with_clients(Client, identity, setup, vector)
        for i, (identity, vector) in enumerate(zip(identities, vectors, strict=True), start=1)
    }
    up = down = 0
    inbox: dict[int, bytes] = {}
    for step in range(len(STEPS)):
        for i, client in clients.items():
            if silent.get(i, len(STEPS)) <= step or (step and i not in inbox):
                continue
            data = with_clients(client.receive, inbox[i]) if step else with_clients(client.start)
            if watch:
                watch(data)
            up += len(data)
            with_server(server.receive, data)
        inbox = with_server(server.advance)
        down += sum(len(data) for data in inbox.values())
    return Outcome(
        total=server.total,
        survivors=tuple(setup.name(i) for i in sorted(server.survivors)),
        bytes_up=up,
        bytes_down=down,
        client_seconds=clock.seconds["clients"],
        server_seconds=clock.seconds["server"],
    )


def _silent_from(setup: RoundSetup, drop: Mapping[str, str]) -> dict[int, int]:
    silent = {}
    for name, step in drop.items():
        if name not in setup.names or step not in STEP_NAMES:
            raise FedlabError(
                f"drop: {name!r} at {step!r}; give a client of the round and one of "
                f"{', '.join(STEP_NAMES)}."
            )
        silent[setup.names.index(name) + 1] = STEP_NAMES.index(step)
    return silent


class _Clock:
    """Adds up the time of calls, by party."""

    def __init__(self) -> None:
        self.seconds = {"clients": 0.0, "server": 0.0}

    def timed(self, party: str) -> Callable:
        def call(function: Callable, *arguments: object) -> object:
            began = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds[party] += time.perf_counter() - began

        return call
