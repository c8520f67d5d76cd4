"""The server of secure aggregation, as a state machine. Taught in chapter 07.

It learns the sum of the survivors' vectors, and who took part. Source: Bonawitz et al. 2017,
doi:10.1145/3133956.3133982, figure 4.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ClassVar

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.secure.errors import (
    DuplicateMessage,
    ForgedMessage,
    MalformedMessage,
    RefusedRequest,
    TooFewClients,
    UnknownSender,
    WrongStep,
)
from fedlab_utils.privacy.secure.fixed_point import Ring
from fedlab_utils.privacy.secure.messages import (
    FROM_CLIENTS,
    Agreement,
    Consent,
    Inbox,
    Keys,
    Reveal,
    Roster,
    Shares,
    Survivors,
    Upload,
)
from fedlab_utils.privacy.secure.setup import RoundSetup
from fedlab_utils.privacy.secure.unmask import by_owner, unmask
from fedlab_utils.privacy.secure.wire import SERVER, Message, SignedMessage, parse

STEPS: tuple[type[SignedMessage], ...] = (Keys, Shares, Upload, Consent, Reveal)


class Server:
    """The server in one round. `receive` takes clients' messages, `advance` ends a step.

    A refused message raises its error and changes nothing; the round goes on without it. If too
    few clients are left, `advance` raises TooFewClients, and the round is over without a result.

    Attributes:
        setup: the round.
        survivors: the clients whose vectors are in the sum, once uploads are over.
    """

    def __init__(self, setup: RoundSetup) -> None:
        self.setup = setup
        self.survivors: frozenset[int] = frozenset()
        self._step = 0
        self._failed = False
        # The clients that each step can still hear from: those that took part in the one before.
        self._expected = frozenset(setup.everyone)
        self._heard: dict[int, Any] = {}
        self._keys: dict[int, Keys] = {}
        self._shared: frozenset[int] = frozenset()
        self._sum = np.zeros(setup.length, setup.dtype)
        self._total: Ring | None = None

    @property
    def awaits(self) -> type[SignedMessage] | None:
        """The kind of message that is taken now; None when the round is over."""
        return None if self._failed or self._step == len(STEPS) else STEPS[self._step]

    @property
    def total(self) -> Ring:
        """The sum of the survivors' vectors [length]; raises WrongStep before there is one."""
        if self._total is None:
            raise WrongStep(
                f"round {self.setup.round} has no sum: it "
                + ("failed." if self._failed else "is not over.")
            )
        return self._total

    def receive(self, data: bytes) -> None:
        """Take one client's message; raises the ProtocolError that says why it is refused."""
        message = parse(data, self.setup, FROM_CLIENTS)
        assert isinstance(message, SignedMessage)
        message.check_signature(self.setup)
        name, kind = self.setup.name(message.sender), type(message).__name__
        if type(message) is not self.awaits:
            wanted = self.awaits.__name__ if self.awaits else "nothing, the round is over"
            raise WrongStep(
                f"{kind} of {name} at a time for {wanted}: it is late, replayed or out of order."
            )
        if message.sender in self._heard:
            raise DuplicateMessage(f"{kind} of {name} has already arrived in this round.")
        if message.sender not in self._expected:
            raise UnknownSender(f"{kind} of {name}, which dropped out at an earlier step.")
        self._heard[message.sender] = self._TAKES[type(message)](self, message)

    def advance(self) -> dict[int, bytes]:
        """End the step: what to send to each client that is left; {} after the last step.

        Raises TooFewClients, WrongStep after the end, and ForgedMessage if revealed shares do not
        fit together.
        """
        if self.awaits is None:
            raise WrongStep(f"round {self.setup.round} is over.")
        try:
            answers = self._ENDS[self.awaits](self)
        except FedlabError:
            self._failed = True
            self._heard = {}  # nothing of a failed round is kept
            self._sum = np.empty(0, self.setup.dtype)
            raise
        self._expected, self._heard = frozenset(self._heard), {}
        self._step += 1
        return {to: message.to_bytes() for to, message in answers.items()}

    # What is kept of each message.

    def _take_keys(self, message: Keys) -> Keys:
        used = {k for other in self._heard.values() for k in (other.box_key, other.mask_key)}
        if {message.box_key, message.mask_key} & used or message.box_key == message.mask_key:
            raise ForgedMessage(
                f"Keys of {self.setup.name(message.sender)} show a public key twice."
            )
        return message

    def _take_shares(self, message: Shares) -> dict[int, bytes]:
        wanted = self._present(message.sender, self._keys)
        if message.boxes.keys() != wanted:
            raise MalformedMessage(
                f"Shares of {self.setup.name(message.sender)} are for {len(message.boxes)} "
                f"clients, not for the {len(wanted)} peers that sent keys."
            )
        return message.boxes

    def _take_upload(self, message: Upload) -> bool:
        self._sum += np.frombuffer(message.vector, self.setup.dtype)
        return True

    def _take_consent(self, message: Consent) -> bytes:
        if message.survivors != self.survivors:
            raise RefusedRequest(
                f"Consent of {self.setup.name(message.sender)} is to another list of survivors."
            )
        return message.signature

    def _take_reveal(self, message: Reveal) -> Reveal:
        holders = self._present(message.sender, self._shared) | {message.sender}
        if (
            message.seeds.keys() != holders & self.survivors
            or message.mask_keys.keys() != holders - self.survivors
        ):
            raise MalformedMessage(
                f"Reveal of {self.setup.name(message.sender)} has not one share of each peer."
            )
        return message

    # What follows from each step.

    def _end_keys(self) -> dict[int, Message]:
        self._keys = dict(self._heard)
        self._require_enough(self._keys, self._keys, "have sent keys")
        return {
            u: Roster(
                self.setup.round,
                SERVER,
                tuple(self._keys[v] for v in sorted(self._present(u, self._keys))),
            )
            for u in self._keys
        }

    def _end_shares(self) -> dict[int, Message]:
        self._shared = frozenset(self._heard)
        self._require_enough(self._shared, self._shared, "have shared their secrets")
        return {
            u: Inbox(
                self.setup.round,
                SERVER,
                {v: self._heard[v][u] for v in sorted(self._present(u, self._shared))},
            )
            for u in self._shared
        }

    def _end_uploads(self) -> dict[int, Message]:
        self.survivors = frozenset(self._heard)
        self._require_enough(self.survivors, self._shared, "have sent their vectors")
        message = Survivors(self.setup.round, SERVER, self.survivors)
        return dict.fromkeys(self.survivors, message)

    def _end_consents(self) -> dict[int, Message]:
        self._require_enough(self._heard, self._shared, "have signed the list of survivors")
        return {
            u: Agreement(
                self.setup.round,
                SERVER,
                {v: self._heard[v] for v in sorted(self._present(u, self._heard))},
            )
            for u in self._heard
        }

    def _end_reveals(self) -> dict[int, Message]:
        self._require_enough(self._heard, self._shared, "have revealed shares")
        seeds = by_owner({r.sender: r.seeds for r in self._heard.values()})
        mask_keys = by_owner({r.sender: r.mask_keys for r in self._heard.values()})
        self._total = unmask(self._sum, self.setup, self._keys, self.survivors, seeds, mask_keys)
        return {}

    def _present(self, client: int, among: Collection[int]) -> set[int]:
        return {v for v in self.setup.peers(client) if v in among}

    def _require_enough(self, alive: Collection[int], owners: Collection[int], did: str) -> None:
        """Each owner's secrets must have enough holders that are alive; nobody is never enough."""
        for u in owners or self.setup.everyone:
            count = len(self._present(u, alive)) + (u in alive)
            if count < self.setup.threshold:
                raise TooFewClients(
                    f"round {self.setup.round}: {count} of the {self.setup.holders} holders of "
                    f"{self.setup.name(u)}'s secrets {did}; the threshold is "
                    f"{self.setup.threshold}. There is no sum, and nothing was learnt. Start "
                    f"another round."
                )

    _TAKES: ClassVar[dict[type[SignedMessage], Callable[..., Any]]] = {
        Keys: _take_keys,
        Shares: _take_shares,
        Upload: _take_upload,
        Consent: _take_consent,
        Reveal: _take_reveal,
    }
    _ENDS: ClassVar[dict[type[SignedMessage], Callable[..., dict[int, Message]]]] = {
        Keys: _end_keys,
        Shares: _end_shares,
        Upload: _end_uploads,
        Consent: _end_consents,
        Reveal: _end_reveals,
    }
