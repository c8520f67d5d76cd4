"""Encrypted weighted means for `fit`. Taught in chapter 08."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

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


@dataclass(frozen=True)
class PaillierMean:
    """The weighted mean under Paillier: exact up to the rounding of the fixed-point numbers.

    The clients share the secret key, each decrypts the sum; the server holds the public key.
    `fit` plays all roles; they exchange bytes, which are counted. The key's own distribution,
    once per run, is not.

    Attributes:
        encoding: range and precision; a client whose update leaves the range raises RangeError.
        weighted: False gives each client the same say.
        keys: a key holder made before; None makes a key of 2048 bits (some seconds).

    Taught in chapter 08.
    """

    encoding: FixedPoint = field(default_factory=FixedPoint)
    weighted: bool = True
    keys: PaillierKeyHolder | None = field(default=None, repr=False, compare=False)

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """No memory: a secret key does not belong into a checkpoint."""
        if self.keys is None:
            object.__setattr__(self, "keys", PaillierKeyHolder())
        return {}

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """See RoundAggregator."""
        self.start(updates.shape[1])
        keys = self.keys
        assert keys is not None
        return _encrypted_mean(
            (updates, weights if self.weighted else torch.ones_like(weights), context),
            lambda name: PaillierClient(name, keys.public, self.encoding),
            lambda plan: PaillierServer(keys.public, plan, self.encoding),
            lambda data, plan: keys.decrypt(data, plan, self.encoding),
        )


@dataclass(frozen=True)
class CKKSMean:
    """The weighted mean under CKKS: approximate, with an error that the parameters decide.

    Roles and bytes as in `PaillierMean`. The noise of CKKS is fresh in every run, so two runs
    agree to that error and not to the bit.

    Attributes:
        parameters: `SUM` (clients scale, server adds) or `SUM_AND_SCALE` (server does both).
        weighted: False gives each client the same say.
        keys: a key holder made before, for these parameters; None makes one.

    Raises FedlabError if the keys belong to other parameters. Taught in chapter 08.
    """

    parameters: CKKSParameters = SUM
    weighted: bool = True
    keys: CKKSKeyHolder | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.keys is not None and self.keys.parameters != self.parameters:
            raise FedlabError(
                f"CKKSMean: the keys were made for {self.keys.parameters}, not for "
                f"{self.parameters}."
            )

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """No memory: a secret key does not belong into a checkpoint."""
        if self.keys is None:
            object.__setattr__(self, "keys", CKKSKeyHolder(self.parameters))
        return {}

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """See RoundAggregator."""
        self.start(updates.shape[1])
        keys = self.keys
        assert keys is not None
        return _encrypted_mean(
            (updates, weights if self.weighted else torch.ones_like(weights), context),
            lambda name: CKKSClient(name, keys.public),
            lambda plan: CKKSServer(keys.public, plan),
            keys.decrypt,
        )


def _encrypted_mean(
    round_: tuple[torch.Tensor, torch.Tensor, RoundContext],
    make_client: Callable[[str], _Encrypts],
    make_server: Callable[[Plan], SumServer],
    decrypt: Callable[[bytes, Plan], np.ndarray],
) -> Aggregated:
    """One round of the protocol: plan, encrypted updates, sum, decryption at every client."""
    updates, weights, context = round_
    if not len(updates):
        return Aggregated(updates.new_zeros(updates.shape[1]), {}, 0, 0)
    plan = Plan(
        context.round, updates.shape[1], dict(zip(context.clients, weights.tolist(), strict=True))
    )
    server = make_server(plan)
    bytes_up = 0
    for name, update in zip(context.clients, updates.numpy(), strict=True):
        message = make_client(name).encrypt(update, plan)
        bytes_up += len(message)
        server.receive(name, message)
    encrypted_sum = server.aggregate()
    mean = torch.from_numpy(decrypt(encrypted_sum, plan)).to(updates.dtype)
    return Aggregated(mean, {}, bytes_up, len(encrypted_sum) * len(updates))
