"""Client-level privacy by a trusted server: DP-FedAvg with fixed or adaptive clipping.

Taught in chapter 06.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import Aggregated, RoundContext
from fedlab_utils.federate.sampling import Poisson
from fedlab_utils.privacy.dp.accounting import Accountant, Release, epsilon_spent
from fedlab_utils.privacy.dp.mechanisms import check_delta, check_positive, clip_rows
from fedlab_utils.privacy.dp.noise import NoiseSource, SeededNoise
from fedlab_utils.privacy.dp.statement import Guarantee

_SERVER = 0x5E21


@dataclass(frozen=True)
class AdaptiveClip:
    """Move the clip norm towards a quantile of the update norms, privately.

    Each client also tells one bit, whether its update was short enough, and the server sees the
    noisy share of these bits. The bits are part of the one release of a round: the updates get a
    little more noise, so that both together cost what `noise_multiplier` says.

    Attributes:
        quantile: the share of updates that should stay as they are.
        speed: how fast: clip <- clip * exp(-speed * (share - quantile)).
        count_noise: standard deviation of the noise on the sum of bits; None means a
            twentieth of the expected clients, at least the noise multiplier.

    Source: Andrew, Thakkar, McMahan and Ramaswamy 2021, https://arxiv.org/abs/1905.03871.
    Taught in chapter 06.
    """

    quantile: float = 0.5
    speed: float = 0.2
    count_noise: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.quantile <= 1:
            raise FedlabError(f"AdaptiveClip: quantile={self.quantile} must be between 0 and 1.")
        check_positive("AdaptiveClip: speed", self.speed)
        if self.count_noise is not None:
            check_positive("AdaptiveClip: count_noise", self.count_noise)

    def noises(self, noise_multiplier: float, expected: float) -> tuple[float, float]:
        """Noise multiplier of the updates, and standard deviation on the sum of bits.

        Bits count as -1/2 or 1/2, so their sensitivity is 1/2, and two Gaussian sums with
        multipliers z1 and z2 are one with (z1^-2 + z2^-2)^(-1/2).
        """
        if noise_multiplier == 0:
            return 0.0, 0.0
        bits = self.count_noise
        if bits is None:
            bits = max(expected / 20, noise_multiplier)
        if 2 * bits <= noise_multiplier:
            raise FedlabError(
                f"AdaptiveClip: count_noise={bits:g} is too small for a noise multiplier of "
                f"{noise_multiplier:g}; it must be more than half of it."
            )
        return (noise_multiplier**-2 - (2 * bits) ** -2) ** -0.5, bits


@dataclass(frozen=True)
class DPMean:
    """Clip every update, add them with equal weights, add noise, divide by the expected count.

    The divisor is fixed beforehand: the number of clients that happen to take part is as private
    as the clients. Weights are ignored, since a client with many rows would count for more than
    one. Use it with all clients, or with `fit(clients_per_round=Poisson(rate))`; draws of a fixed
    size and other rates have another accounting and are refused.

    Attributes:
        clip: largest norm of an update (the first one, if adaptive).
        noise_multiplier: standard deviation of the noise on the sum over `clip`; 0 for none.
        rate: probability with which each client takes part in a round.
        delta: for the epsilon in the history; well below 1 / (number of clients).
        adaptive: moves `clip` from round to round.
        noise: where the noise comes from.
        accountant: which one computes the epsilon in the history.

    Source: McMahan, Ramage, Talwar and Zhang 2018, https://arxiv.org/abs/1710.06963.
    Taught in chapter 06.
    """

    clip: float
    noise_multiplier: float
    rate: float = 1.0
    delta: float = 1e-5
    adaptive: AdaptiveClip | None = None
    noise: NoiseSource = field(default_factory=SeededNoise)
    accountant: Accountant = "rdp"

    def __post_init__(self) -> None:
        check_positive("DPMean: clip", self.clip)
        check_delta(self.delta)
        if not 0 < self.rate <= 1:
            raise FedlabError(f"DPMean: rate={self.rate} must be above 0 and at most 1.")
        self.release(0)

    def release(self, rounds: int) -> Release:
        """What `rounds` rounds release. A round's sum and bits count as one."""
        return Release(self.noise_multiplier, self.rate, rounds, "training", "client")

    def epsilon(self, rounds: int, delta: float | None = None) -> float:
        """Spent after this many rounds."""
        return epsilon_spent(self.release(rounds), delta or self.delta, self.accountant)

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """The clip norm, if it moves."""
        return {"clip": torch.tensor(self.clip, dtype=torch.float64)} if self.adaptive else {}

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """[K, P] -> the noisy mean [P]; K may be 0. Raises FedlabError for a draw that the
        accounting does not cover."""
        check_draw("DPMean", self.rate, context)
        expected = self.rate * context.population
        clip = float(state["clip"]) if self.adaptive else self.clip
        clipped, norms = clip_rows(updates, clip)
        multiplier, bit_noise = self.noise_multiplier, 0.0
        if self.adaptive:
            multiplier, bit_noise = self.adaptive.noises(multiplier, expected)
        stream = self.noise.stream(context.seed, _SERVER, context.round)
        noise = torch.from_numpy(stream.normal((updates.shape[1],)))
        update = (clipped.sum(dim=0) + multiplier * clip * noise) / expected
        if self.adaptive:
            bits = (norms <= clip).double() - 0.5
            noisy = float(bits.sum()) + bit_noise * float(stream.normal((1,))[0])
            share = noisy / expected + 0.5
            step = math.exp(-self.adaptive.speed * (share - self.adaptive.quantile))
            state = {"clip": torch.tensor(clip * step, dtype=torch.float64)}
        return Aggregated(update, state, epsilon=self.epsilon(context.round + 1))

    def statement(self, rounds: int, *, also: Iterable[Release] = ()) -> Guarantee:
        """The guarantee of a run with this aggregator; `also` are other releases to include."""
        return Guarantee(
            unit="client",
            protected="every client, with all of its rows and its part in the training",
            from_whom="everybody who sees the models, after every round",
            not_from="the server, which sees every update, unless the sum is secure",
            rounds=rounds,
            releases=(self.release(rounds), *also),
            delta=self.delta,
            assumptions=_assumptions(self.rate),
            accountant=self.accountant,
        )


def _assumptions(rate: float) -> tuple[str, ...]:
    always = ("nobody knows the noise", "the number of clients in the federation is public")
    if rate == 1:
        return always
    return (*always, "nobody but the server knows who took part in which round")


def check_draw(name: str, rate: float, context: RoundContext) -> None:
    """Raise FedlabError if a round's clients were not, or cannot be, drawn by Poisson(rate)."""
    from scipy.stats import binom

    drawn, population, how = len(context.clients), context.population, context.per_round
    fixed = isinstance(how, int) and how < population
    other = isinstance(how, Poisson) and how.rate != rate
    likely = binom.cdf(drawn, population, rate), binom.sf(drawn - 1, population, rate)
    if fixed or other or min(likely) < 1e-9:
        told = f" (clients_per_round={how})" if fixed or other else ""
        raise FedlabError(
            f"{name}: {drawn} of {population} clients took part{told}, which does not fit "
            f"rate={rate:g}. The privacy accounting needs the true rate: all clients with rate=1, "
            f"or fit(clients_per_round=Poisson(q)) with rate=q."
        )
