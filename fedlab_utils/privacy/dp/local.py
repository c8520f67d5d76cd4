"""Noise that clients add themselves: local privacy, and shares of one noise in a secure sum.

Taught in chapter 06.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import (
    Aggregated,
    Aggregator,
    Mean,
    RoundAggregator,
    RoundContext,
    aggregate,
    first_memory,
)
from fedlab_utils.privacy.dp.accounting import ORDERS, Release, epsilon_spent, rdp_to_epsilon
from fedlab_utils.privacy.dp.mechanisms import check_delta, check_positive, clip_rows
from fedlab_utils.privacy.dp.noise import NoiseSource, SeededNoise, Stream
from fedlab_utils.privacy.dp.statement import Guarantee

_CLIENT = 0xC1A0


@dataclass(frozen=True)
class LocalDP:
    """Each client clips its update and adds noise before it sends it: nobody has to be trusted.

    The price: K clients' noises add up to sqrt(K) times what one server would add. Any two
    updates of a client may differ by 2 clip, so that is the sensitivity.

    Attributes:
        clip: largest norm of an update.
        noise_multiplier: standard deviation of a client's noise over 2 clip; 0 for none.
        delta: for the epsilon in the history.
        inner: the aggregator of the noisy updates; they get equal weights.
        noise: where the noise comes from.

    Source: Duchi, Jordan and Wainwright 2013, https://arxiv.org/abs/1302.3203 (the model).
    Taught in chapter 06.
    """

    clip: float
    noise_multiplier: float
    delta: float = 1e-5
    inner: Aggregator | RoundAggregator = field(default_factory=lambda: Mean(weighted=False))
    noise: NoiseSource = field(default_factory=SeededNoise)

    def __post_init__(self) -> None:
        check_positive("LocalDP: clip", self.clip)
        check_delta(self.delta)
        self.release(0)

    def release(self, rounds: int) -> Release:
        """What a client that takes part in `rounds` rounds releases."""
        return Release(self.noise_multiplier, 1.0, rounds, "training", "client")

    def epsilon(self, rounds: int) -> float:
        """Of a client that has taken part in this many rounds."""
        return epsilon_spent(self.release(rounds), self.delta)

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """The memory of the inner aggregator."""
        return first_memory(self.inner, size)

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """[K, P] -> mean of the noisy updates [P]; epsilon is that of a client in all rounds."""
        noisy, _ = clip_rows(updates, self.clip)
        deviation = 2 * self.clip * self.noise_multiplier
        for row, stream in zip(noisy, client_streams(self.noise, context), strict=True):
            row += deviation * torch.from_numpy(stream.normal((updates.shape[1],)))
        combined = aggregate(self.inner, noisy, torch.ones(len(noisy)), state, context)
        return replace(combined, epsilon=self.epsilon(context.round + 1))

    def statement(self, rounds: int, *, also: Iterable[Release] = ()) -> Guarantee:
        """The guarantee of a run with this aggregator."""
        return Guarantee(
            unit="client",
            protected="every client: what it sends hardly depends on its rows",
            from_whom="everybody, the server included",
            not_from="those who see the client's machine",
            rounds=rounds,
            releases=(self.release(rounds), *also),
            delta=self.delta,
            assumptions=(
                "neighbours here: any other rows of the client instead of its own",
                "each client adds its own noise and keeps it",
                "that a client takes part may be seen",
            ),
        )


@dataclass(frozen=True)
class DistributedDP:
    """Each client adds a share of the noise, in whole numbers; only the sum has enough of it.

    Updates are clipped, multiplied by `resolution` and rounded; the client adds Skellam noise (the
    difference of two Poisson values). A sum of Skellam values is a Skellam value, which a sum
    of rounded or discrete Gaussians is not, so the noise of the sum is known exactly.

    Limits. A single update is hardly protected: use a secure sum as `inner`, or trust the
    server. The noise is enough if at least `fewest` clients add theirs: with fewer the round is
    refused, but clients that pretend to add noise, or tell the server theirs, cannot be seen, so
    `fewest` should count honest clients only. The secure sum must have room for the noise: about
    6 standard deviations beyond resolution * clip * K. Rounding makes the sensitivity larger by at
    most sqrt(P) / 2 units, which is included; a high resolution makes it small.

    Attributes:
        clip: largest norm of an update.
        noise_multiplier: standard deviation of the noise of the sum over the sensitivity.
        fewest: honest clients that are sure to take part in every round.
        resolution: units per 1.0; a power of two keeps float32 exact.
        delta: for the epsilon in the history.
        inner: the aggregator of the noisy updates; its result must be their mean.
        noise: where the noise comes from.

    Source: Agarwal, Kairouz and Liu 2021 (Skellam mechanism), https://arxiv.org/abs/2110.04995.
    Taught in chapter 06.
    """

    clip: float
    noise_multiplier: float
    fewest: int
    resolution: float = 2.0**16
    delta: float = 1e-5
    inner: Aggregator | RoundAggregator = field(default_factory=lambda: Mean(weighted=False))
    noise: NoiseSource = field(default_factory=SeededNoise)

    def __post_init__(self) -> None:
        check_positive("DistributedDP: clip", self.clip)
        check_positive("DistributedDP: noise_multiplier", self.noise_multiplier)
        check_positive("DistributedDP: resolution", self.resolution)
        check_delta(self.delta)
        if self.fewest < 1:
            raise FedlabError(f"DistributedDP: fewest={self.fewest} must be at least 1.")
        if getattr(self.inner, "error_feedback", False):
            raise FedlabError(
                "DistributedDP: the inner aggregator keeps what clients left out for later rounds, "
                "each with a share of the noise only. Use error_feedback=False."
            )

    def sensitivity(self, parameters: int) -> float:
        """Largest norm of a rounded update of P parameters, in units."""
        return self.resolution * self.clip + math.sqrt(parameters) / 2

    def epsilon(self, rounds: int, parameters: int, delta: float | None = None) -> float:
        """Spent by a client after this many rounds, at least `fewest` adding noise in each."""
        l2 = self.sensitivity(parameters)
        l1 = min(math.sqrt(parameters) * l2, l2**2)
        one = skellam_rdp((self.noise_multiplier * l2) ** 2, l1, l2)
        return rdp_to_epsilon(rounds * one, delta or self.delta)[0]

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """The memory of the inner aggregator."""
        return first_memory(self.inner, size)

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """[K, P] -> mean [P]. Raises FedlabError if fewer than `fewest` clients add noise."""
        if len(updates) < self.fewest:
            raise FedlabError(
                f"DistributedDP: {len(updates)} clients in round {context.round + 1}, but the "
                f"noise was shared out among at least {self.fewest}. Nothing was added up; repeat "
                f"the round with more clients, or plan with a smaller `fewest`."
            )
        clipped, _ = clip_rows(updates.double(), self.clip)
        parameters = updates.shape[1]
        variance = (self.noise_multiplier * self.sensitivity(parameters)) ** 2 / self.fewest
        units = torch.round(clipped * self.resolution)
        for row, stream in zip(units, client_streams(self.noise, context), strict=True):
            row += torch.from_numpy(stream.skellam(variance, (parameters,)))
        noisy = (units / self.resolution).to(updates.dtype)
        combined = aggregate(self.inner, noisy, torch.ones(len(noisy)), state, context)
        return replace(combined, epsilon=self.epsilon(context.round + 1, parameters))

    def statement(self, rounds: int, parameters: int) -> Guarantee:
        """The guarantee of a run with this aggregator and a model of P parameters."""
        return Guarantee(
            unit="client",
            protected="every client, with all of its rows",
            from_whom="everybody who sees the sums, the server included, if the sum is secure",
            not_from="a server that sees single updates (no secure sum)",
            rounds=rounds,
            releases=(Release(self.noise_multiplier, 1.0, rounds, "training", "client"),),
            delta=self.delta,
            assumptions=(
                f"at least {self.fewest} clients add their noise and keep it to themselves",
                "that a client takes part may be seen",
            ),
            fixed_epsilon=self.epsilon(rounds, parameters),
        )


def skellam_rdp(variance: float, l1: float, l2: float) -> np.ndarray:
    """Bound on the Rényi divergence of a sum plus Skellam noise, at each of `ORDERS`.

    Sensitivities `l1`, `l2` and the variance are in whole units. Orders that are not whole get
    infinity: the bound is proved for whole ones. Source: Agarwal, Kairouz and Liu 2021, theorem
    3.5, https://arxiv.org/abs/2110.04995. Taught in chapter 06.
    """
    a = np.array(ORDERS)
    extra = np.minimum(((2 * a - 1) * l2**2 + 6 * l1) / (4 * variance**2), 3 * l1 / (2 * variance))
    return np.where((a == np.floor(a)) & (a > 1), a * l2**2 / (2 * variance) + extra, np.inf)


def client_streams(noise: NoiseSource, context: RoundContext) -> list[Stream]:
    """One stream per client of the round: it depends on the client's name, not on the company."""
    keys = [hashlib.sha256(name.encode()).digest()[:8] for name in context.clients]
    return [noise.stream(context.seed, _CLIENT, context.round, int.from_bytes(key)) for key in keys]
