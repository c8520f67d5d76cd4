"""A client of secure aggregation, as a state machine. Taught in chapter 07.

Source: Bonawitz et al. 2017, "Practical Secure Aggregation for Privacy-Preserving Machine
Learning", doi:10.1145/3133956.3133982, figure 4, with the signatures of its active model.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Any, ClassVar

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.secure.errors import (
    ForgedMessage,
    RefusedRequest,
    TooFewClients,
    UnknownSender,
    WrongStep,
)
from fedlab_utils.privacy.secure.fixed_point import Ring
from fedlab_utils.privacy.secure.keys import Identity, KeyPair, commitment, seal, unseal, verify
from fedlab_utils.privacy.secure.masks import (
    box_context,
    box_keys,
    client_context,
    pair_mask_key,
    seed_mask_key,
)
from fedlab_utils.privacy.secure.messages import (
    FROM_SERVER,
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
from fedlab_utils.privacy.secure.prg import add_masks, fresh_key
from fedlab_utils.privacy.secure.setup import RoundSetup
from fedlab_utils.privacy.secure.shamir import SHARE_BYTES, split_key
from fedlab_utils.privacy.secure.wire import SERVER, Message, parse


class Client:
    """One client in one round. `start` gives its first message, `receive` each further one.

    A refused message raises its error and changes nothing: the client answers each step at most
    once, and only to a message it accepts. In particular it reveals one share of each peer at
    most, of the seed or of the mask key, never both.

    Args:
        identity: signs, and remembers the last round.
        setup: the round.
        vector: [length] ring elements (uint32 or uint64); it is copied.

    Raises WrongRound for a round that is not later than the last one, FedlabError for a vector
    that does not fit or an identity that is not invited. Taught in chapter 07.
    """

    def __init__(self, identity: Identity, setup: RoundSetup, vector: Ring) -> None:
        if identity.public not in setup.directory:
            raise FedlabError(f"{identity.name} is not invited to round {setup.round}.")
        if vector.shape != (setup.length,) or vector.dtype != setup.dtype:
            raise FedlabError(
                f"{identity.name}: the vector is {vector.dtype} {vector.shape}, the round wants "
                f"{setup.dtype} {(setup.length,)}."
            )
        identity.enter(setup.round)
        self.number = setup.directory.index(identity.public) + 1
        self._identity, self._setup, self._vector = identity, setup, vector.copy()
        self._box_pair, self._mask_pair, self._seed = KeyPair(), KeyPair(), fresh_key()
        self._holders = frozenset(setup.peers(self.number)) | {self.number}
        self._roster: dict[int, Keys] = {}
        self._opens: dict[int, bytes] = {}  # peer: the key of its box for this client
        self._shares: dict[int, tuple[bytes, bytes]] = {}  # peer: (of its mask key, of its seed)
        self._survivors: frozenset[int] = frozenset()
        self._started = False
        self._next: type[Message] | None = None

    def start(self) -> bytes:
        """The first message: public keys. Raises WrongStep when called again."""
        if self._started:
            raise WrongStep(f"{self._identity.name} has already started.")
        self._started, self._next = True, Roster
        self._keys = Keys(
            self._setup.round,
            self.number,
            box_key=self._box_pair.public,
            mask_key=self._mask_pair.public,
            commitment=commitment(self._seed, client_context(self._setup, self.number)),
        ).signed(self._identity, self._setup)
        return self._keys.to_bytes()

    def receive(self, data: bytes) -> bytes | None:
        """Take a message of the server and return the answer to it.

        Raises the ProtocolError that says why the message is refused.
        """
        message = parse(data, self._setup, FROM_SERVER)
        if message.sender != SERVER:
            raise UnknownSender(f"{self._identity.name}: only the server sends to clients.")
        if type(message) is not self._next:
            wanted = self._next.__name__ if self._next else "nothing more"
            raise WrongStep(
                f"{self._identity.name}: got {type(message).__name__}, expected {wanted}. The "
                f"message is late, replayed, or out of order."
            )
        answer = self._ANSWERS[type(message)](self, message)
        self._next = self._FOLLOWS[type(message)]
        return answer.signed(self._identity, self._setup).to_bytes()

    def _share(self, roster: Roster) -> Shares:
        """Check the peers' keys, and share out both secrets among them."""
        seen = {self._keys.box_key, self._keys.mask_key}
        for keys in roster.keys:
            self._require_peer(keys.sender, self._holders)
            keys.check_signature(self._setup)
            if keys.box_key in seen or keys.mask_key in seen:
                raise ForgedMessage(f"{self._say(keys.sender)} shows somebody else's public key.")
            seen |= {keys.box_key, keys.mask_key}
        self._require_enough({k.sender for k in roster.keys}, "have sent keys")
        self._roster = {k.sender: k for k in roster.keys}
        present = sorted({*self._roster, self.number})
        of_key = split_key(self._mask_pair.secret, self._setup.threshold, present)
        of_seed = split_key(self._seed, self._setup.threshold, present)
        self._shares[self.number] = (of_key[self.number], of_seed[self.number])
        boxes = {}
        for peer, keys in self._roster.items():
            key, self._opens[peer] = box_keys(
                self._box_pair, keys.box_key, self._setup, self.number, peer
            )
            context = box_context(self._setup, self.number, peer)
            boxes[peer] = seal(key, of_key[peer] + of_seed[peer], context)
        return Shares(self._setup.round, self.number, boxes=boxes)

    def _mask(self, inbox: Inbox) -> Upload:
        """Open the peers' shares, and mask the vector with everybody who shared."""
        for peer in inbox.boxes:
            self._require_peer(peer, frozenset(self._roster))
        self._require_enough(inbox.boxes, "have shared their secrets")
        opened = {}
        for peer, box in inbox.boxes.items():
            context = box_context(self._setup, peer, self.number)
            content = unseal(self._opens[peer], box, context, self._say(peer))
            opened[peer] = (content[:SHARE_BYTES], content[SHARE_BYTES:])
        masks = [(seed_mask_key(self._seed, self._setup, self.number), 1)]
        for peer in inbox.boxes:
            key = pair_mask_key(
                self._mask_pair, self._roster[peer].mask_key, self._setup, self.number, peer
            )
            masks.append((key, 1 if self.number < peer else -1))
        # Kept only now: a message that is refused half-way must leave no trace.
        self._shares |= opened
        masked = self._vector.astype(self._setup.dtype)
        add_masks(masked, masks)
        self._vector = np.empty(0, self._setup.dtype)  # it is not needed any more
        return Upload(self._setup.round, self.number, vector=masked.tobytes())

    def _consent(self, message: Survivors) -> Consent:
        """Sign the list of survivors, if it can be true."""
        survivors = message.survivors
        if self.number not in survivors:
            raise RefusedRequest(
                f"{self._identity.name} has sent its vector, but the server says it dropped out."
            )
        for peer in self._holders & survivors - set(self._shares):
            raise RefusedRequest(
                f"{self._identity.name}: the server lists {self._say(peer)}, which has shared no "
                f"secrets, as a survivor."
            )
        self._require_enough(self._holders & survivors - {self.number}, "have survived")
        self._survivors = survivors
        return Consent(self._setup.round, self.number, survivors=survivors)

    def _reveal(self, agreement: Agreement) -> Reveal:
        """Give out one share of each peer, once enough peers have signed the same list."""
        for peer, signature in agreement.signatures.items():
            self._require_peer(peer, self._holders & self._survivors)
            consent = Consent(self._setup.round, peer, signature, self._survivors)
            data = self._setup.tag + consent.unsigned_bytes()
            what = f"{self._say(peer)} has not signed the list of survivors that the server told"
            verify(self._setup.directory[peer - 1], signature, data, what + " us")
        self._require_enough(agreement.signatures, "have signed the list of survivors")
        alive, gone = self._shares.keys() & self._survivors, self._shares.keys() - self._survivors
        return Reveal(
            self._setup.round,
            self.number,
            seeds={peer: self._shares[peer][1] for peer in sorted(alive)},
            mask_keys={peer: self._shares[peer][0] for peer in sorted(gone)},
        )

    def _say(self, client: int) -> str:
        return self._setup.name(client)

    def _require_peer(self, client: int, allowed: frozenset[int]) -> None:
        if client == self.number or client not in allowed:
            raise UnknownSender(
                f"{self._identity.name}: {self._say(client)} is not among its peers at this step."
            )

    def _require_enough(self, others: Sized, did: str) -> None:
        if len(others) + 1 < self._setup.threshold:
            raise TooFewClients(
                f"{self._identity.name}: {len(others) + 1} of its {self._setup.holders} holders "
                f"{did}, itself included; the threshold is {self._setup.threshold}. It sends "
                f"nothing."
            )

    _ANSWERS: ClassVar[dict[type[Message], Callable[..., Any]]] = {
        Roster: _share,
        Inbox: _mask,
        Survivors: _consent,
        Agreement: _reveal,
    }
    _FOLLOWS: ClassVar[dict[type[Message], type[Message] | None]] = {
        Roster: Inbox,
        Inbox: Survivors,
        Survivors: Agreement,
        Agreement: None,
    }
