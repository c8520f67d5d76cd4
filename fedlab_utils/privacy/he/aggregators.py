"""Encrypted weighted means for `fit`. Taught in chapter 08."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import Aggregated, RoundContext
from fedlab_utils.privacy.he.ckks import CKKSClient, CKKSKeyHolder, CKKSServer
from fedlab_utils.privacy.he.ckks_parameters import SUM, CKKSParameters
from fedlab_utils.privacy.he.messages import Plan
from fedlab_utils.privacy.he.paillier import (
    FixedPoint,
    PaillierClient,
    PaillierKeyHolder,
    PaillierServer,
)
from fedlab_utils.privacy.he.server import SumServer


class _Encrypts(Protocol):
    def encrypt(self, update: np.ndarray, plan: Plan) -> bytes: ...


class _EncryptedMean:
    """One round of the protocol: plan, encrypted updates, sum, decryption at every client.

    A scheme says who the parties are; `keys` is made in the first round if there is none.
    """

    weighted: bool
    keys: Any
    # The server cannot read the mean; clients decrypt it and move their own model.
    sends_model: ClassVar[bool] = False

    def _new_keys(self) -> Any:
        raise NotImplementedError

    def _client(self, name: str) -> _Encrypts:
        raise NotImplementedError

    def _server(self, plan: Plan) -> SumServer:
        raise NotImplementedError

    def _decrypt(self, data: bytes, plan: Plan) -> np.ndarray:
        raise NotImplementedError

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """No memory: a secret key does not belong into a checkpoint."""
        if self.keys is None:
            object.__setattr__(self, "keys", self._new_keys())
        return {}

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """See RoundAggregator."""
        size = updates.shape[1]
        if not len(updates):
            return Aggregated(updates.new_zeros(size), {}, 0, 0)
        self.start(size)
        say = weights if self.weighted else torch.ones_like(weights)
        plan = Plan(context.round, size, dict(zip(context.clients, say.tolist(), strict=True)))
        server = self._server(plan)
        bytes_up = 0
        for name, update in zip(context.clients, updates.numpy(), strict=True):
            message = self._client(name).encrypt(update, plan)
            bytes_up += len(message)
            server.receive(name, message)
        encrypted_sum = server.aggregate()
        mean = torch.from_numpy(self._decrypt(encrypted_sum, plan)).to(updates.dtype)
        return Aggregated(mean, {}, bytes_up, len(encrypted_sum) * len(updates))


@dataclass(frozen=True)
class PaillierMean(_EncryptedMean):
    """The weighted mean under Paillier: exact up to the rounding of the fixed-point numbers.

    The clients share the secret key, each decrypts the sum; the server holds the public key.
    `fit` plays all roles; they exchange bytes, which are counted. The key's own distribution,
    once per run, is not.

    Attributes:
        encoding: range and precision; a client whose update leaves the range raises RangeError.
        weighted: False gives each client the same say.
        keys: a PaillierKeyHolder made before; None makes a key of 2048 bits (some seconds).

    Taught in chapter 08.
    """

    encoding: FixedPoint = field(default_factory=FixedPoint)
    weighted: bool = True
    keys: Any = field(default=None, repr=False, compare=False)

    def _new_keys(self) -> PaillierKeyHolder:
        return PaillierKeyHolder()

    def _client(self, name: str) -> PaillierClient:
        return PaillierClient(name, self.keys.public, self.encoding)

    def _server(self, plan: Plan) -> PaillierServer:
        return PaillierServer(self.keys.public, plan, self.encoding)

    def _decrypt(self, data: bytes, plan: Plan) -> np.ndarray:
        return self.keys.decrypt(data, plan, self.encoding)


@dataclass(frozen=True)
class CKKSMean(_EncryptedMean):
    """The weighted mean under CKKS: approximate, with an error that the parameters decide.

    Roles and bytes as in `PaillierMean`. The noise of CKKS is fresh in every run, so two runs
    agree to that error and not to the bit.

    Attributes:
        parameters: `SUM` (clients scale, server adds) or `SUM_AND_SCALE` (server does both).
        weighted: False gives each client the same say.
        keys: a CKKSKeyHolder made before, for these parameters; None makes one.

    Raises FedlabError if the keys belong to other parameters. Taught in chapter 08.
    """

    parameters: CKKSParameters = SUM
    weighted: bool = True
    keys: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.keys is not None and self.keys.parameters != self.parameters:
            raise FedlabError(
                f"CKKSMean: the keys were made for {self.keys.parameters}, not for "
                f"{self.parameters}."
            )

    def _new_keys(self) -> CKKSKeyHolder:
        return CKKSKeyHolder(self.parameters)

    def _client(self, name: str) -> CKKSClient:
        return CKKSClient(name, self.keys.public)

    def _server(self, plan: Plan) -> CKKSServer:
        return CKKSServer(self.keys.public, plan)

    def _decrypt(self, data: bytes, plan: Plan) -> np.ndarray:
        return self.keys.decrypt(data, plan)
