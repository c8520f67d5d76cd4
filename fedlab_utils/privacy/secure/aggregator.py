"""Secure aggregation as an aggregator of `fit`. Taught in chapter 07."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import Aggregated, RoundContext
from fedlab_utils.privacy.secure.fixed_point import FixedPoint, decode_weighted, encode_weighted
from fedlab_utils.privacy.secure.keys import Identity
from fedlab_utils.privacy.secure.setup import invite
from fedlab_utils.privacy.secure.simulate import run_round


@dataclass(frozen=True)
class RandomDrop:
    """Clients that fall silent at random, each by its own coin in each round.

    Attributes:
        before: chance to vanish before the upload (after the shares): it is not in the mean.
        after: chance to vanish after the upload: it is in the mean, others help to unmask it.

    Raises FedlabError unless these are chances that add up to 1 at most. Taught in chapter 07.
    """

    before: float = 0.0
    after: float = 0.0

    def __post_init__(self) -> None:
        if not (self.before >= 0 and self.after >= 0 and self.before + self.after <= 1):
            raise FedlabError(
                f"before={self.before}, after={self.after}: give chances that add up to at most 1."
            )

    def steps(self, context: RoundContext) -> dict[str, str]:
        """{name: step} for `run_round`; the same seed and round give the same."""
        rng = np.random.default_rng([context.seed, 0xD209, context.round])
        coins = rng.random(len(context.clients))
        return {
            name: "upload" if coin < self.before else "reveal"
            for name, coin in zip(context.clients, coins, strict=True)
            if coin < self.before + self.after
        }


@dataclass(frozen=True)
class SecureMean:
    """The mean of the updates by secure aggregation: the server sees masked vectors, and the sum.

    Equal to `Mean` up to rounding: an element of the mean errs by at most K / 2 steps of
    2^-fraction_bits, divided by the sum of the weights. All clients' and the server's work is done
    here, message by message, through bytes.

    Attributes:
        threshold: clients that must be there to the end; None for just over two thirds of the
            round's clients. With neighbours: of each client and its neighbours; None for just
            over half.
        bits: 32 or 64, the ring: 4 or 8 bytes for each parameter.
        fraction_bits: binary places of weight * update. Without weights choose about 20.
        weighted: False gives each client the same say.
        neighbours: None for the complete graph; an even number of peers for each client makes
            rounds of hundreds of clients cheap (`RoundSetup`). The complete graph is used while a
            round has no more clients than that.
        drop: clients that fall silent: {name: step} in every round, or `RandomDrop`.

    What clients do before they encode, such as clipping and adding their share of a noise, is the
    business of an aggregator around this one (`DistributedDP(inner=SecureMean(...))`).

    Raises (in a round) FixedPointOverflow, TooFewClients and other FedlabErrors.
    Source: Bonawitz et al. 2017, doi:10.1145/3133956.3133982. Taught in chapter 07.
    """

    threshold: int | None = None
    bits: int = 32
    fraction_bits: int = 12
    weighted: bool = True
    neighbours: int | None = None
    drop: Mapping[str, str] | RandomDrop | None = None

    def __post_init__(self) -> None:
        FixedPoint(self.bits, self.fraction_bits)  # refuses what makes no sense, before training

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """Nothing is kept from round to round."""
        return {}

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """[K, P], [K] -> update [P] and the bytes that travelled, the model's included."""
        clients, size = updates.shape
        if weights.shape != (clients,) or len(context.clients) != clients:
            raise FedlabError(
                f"SecureMean: updates {tuple(updates.shape)}, weights {tuple(weights.shape)} and "
                f"{len(context.clients)} names do not fit."
            )
        if clients == 0:  # Poisson sampling may draw nobody
            return Aggregated(torch.zeros(size), {}, bytes_up=0, bytes_down=0)
        fixed = FixedPoint(self.bits, self.fraction_bits)
        rows = weights.tolist() if self.weighted else [1.0] * clients
        vectors = [
            encode_weighted(update, weight, fixed, clients, name)
            for update, weight, name in zip(
                updates.detach().numpy(), rows, context.clients, strict=True
            )
        ]
        sparse = self.neighbours is not None and self.neighbours < clients - 1
        identities = [Identity(name) for name in context.clients]
        setup = invite(
            identities,
            size + 1,
            round_=context.round,
            threshold=self.threshold,
            bits=self.bits,
            neighbours=self.neighbours if sparse else None,
            session=secrets.token_bytes(16),
        )
        drop = self.drop.steps(context) if isinstance(self.drop, RandomDrop) else self.drop
        outcome = run_round(identities, setup, vectors, _present(drop, context))
        mean, _ = decode_weighted(outcome.total, fixed)
        return Aggregated(
            torch.from_numpy(mean).to(updates.dtype),
            {},
            bytes_up=outcome.bytes_up,
            bytes_down=outcome.bytes_down + 4 * size * clients,
        )


def _present(drop: Mapping[str, str] | None, context: RoundContext) -> dict[str, str]:
    """Those of the named clients that were drawn for this round."""
    return {name: step for name, step in (drop or {}).items() if name in context.clients}
