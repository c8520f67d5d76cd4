"""What every server of encrypted sums does: take one message per client. Taught in chapter 08."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from fedlab_utils.privacy.he.messages import CiphertextError, Plan, fingerprint, pack, unpack


class SumServer(ABC):
    """Collects encrypted updates and adds them without being able to read them.

    `receive` takes the messages in any order and checks each; `aggregate` sums what has arrived.
    A client that stays away is simply not in the sum: no message needs another one.

    Attributes:
        public: the public key, the only key it ever gets.
        plan: the round it works on.
        encoding: how numbers must be encoded; compared with every message's header.
    """

    scheme: str

    def __init__(self, public: bytes, plan: Plan) -> None:
        self.public = public
        self.plan = plan
        self.encoding = self.agreed_encoding()
        self._received: dict[str, list[Any]] = {}

    @abstractmethod
    def agreed_encoding(self) -> dict[str, Any]:
        """The encoding that follows from the public key and the plan."""

    @abstractmethod
    def load(self, blobs: list[bytes], client: str) -> list[Any]:
        """Check the ciphertexts of one client. Raises CiphertextError that names it."""

    @abstractmethod
    def combine(self, received: dict[str, list[Any]]) -> list[bytes]:
        """The encrypted weighted sum of what has been received, by client name."""

    def receive(self, client: str, data: bytes) -> None:
        """Take the message that came over the connection of `client`.

        Raises CiphertextError, which names the client, for one that is unknown or sent already,
        and for damage, another round, key or encoding, or ciphertexts that cannot be right.
        """
        if client not in self.plan.weights:
            raise CiphertextError(f"{client}: takes no part in round {self.plan.round}.")
        if client in self._received:
            raise CiphertextError(f"{client}: has already sent its update of this round.")
        header = _header("update", self.scheme, self.public, self.plan, self.encoding)
        _, blobs = unpack(data, client, {**header, "client": client})
        self._received[client] = self.load(blobs, client)

    def aggregate(self) -> bytes:
        """The encrypted sum of the updates that arrived, for the key holder.

        Raises CiphertextError if none arrived, or none with a positive weight.
        """
        names = [name for name in self.plan.weights if name in self._received]
        weight = int(sum(self.plan.weights[name] for name in names))
        if not weight:
            raise CiphertextError(f"round {self.plan.round}: no update has arrived, so no sum.")
        header = _header("sum", self.scheme, self.public, self.plan, self.encoding)
        counted = {name: self._received[name] for name in names if self.plan.weights[name]}
        return pack({**header, "clients": names, "weight": weight}, self.combine(counted))


def update_message(
    scheme: str,
    client: str,
    public: bytes,
    plan: Plan,
    encoding: dict[str, Any],
    blobs: list[bytes],
) -> bytes:
    """The message that carries one client's encrypted update."""
    header = _header("update", scheme, public, plan, encoding)
    return pack({**header, "client": client}, blobs)


def open_sum(
    data: bytes, scheme: str, public: bytes, plan: Plan, encoding: dict[str, Any]
) -> tuple[int, list[bytes]]:
    """Weight and ciphertexts of the server's sum, as its key holder reads it.

    Raises CiphertextError if the message is damaged or belongs to another round, key or encoding.
    """
    header, blobs = unpack(data, "server", _header("sum", scheme, public, plan, encoding))
    return int(header["weight"]), blobs


def _header(
    kind: str, scheme: str, public: bytes, plan: Plan, encoding: dict[str, Any]
) -> dict[str, Any]:
    return {
        "kind": kind,
        "scheme": scheme,
        "round": plan.round,
        "key": fingerprint(public),
        "encoding": encoding,
        "size": plan.size,
    }
