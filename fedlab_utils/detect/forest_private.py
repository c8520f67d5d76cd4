"""Differential privacy for the counts of a common forest. Taught in chapter 10.

One row adds 1 to one leaf of each of T trees. So adding or removing it changes the counts by T in
L1 and by sqrt(T) in L2. Laplace noise has to follow the first, normal noise the second: with
100 trees that is a factor of ten, which is why the noise here is of the normal kind.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.dp.accounting import rdp_to_epsilon
from fedlab_utils.privacy.dp.local import skellam_rdp
from fedlab_utils.privacy.dp.mechanisms import bisect, check_delta, check_positive
from fedlab_utils.privacy.dp.noise import NoiseSource, SeededNoise

_COUNTS = 0xF0C07


def laplace_deviation(trees: int, epsilon: float) -> float:
    """The standard deviation of Laplace noise for T trees at epsilon: sqrt(2) T / epsilon.

    Taught in chapter 10.
    """
    check_positive("epsilon", epsilon)
    return math.sqrt(2) * trees / epsilon


@dataclass(frozen=True)
class CountNoise:
    """Whole-number noise on leaf counts: each client adds a share, the sum has enough of it.

    Skellam noise (the difference of two Poisson values): it is close to normal noise, it is a
    whole number as the counts are, and shares of it add up to it exactly. The unit is a record:
    whoever sees the *sum* learns almost the same with a row as without it. A single client's
    message holds only its share, so add the messages by a secure sum, or give `fewest`=1, which
    lets each client add the whole noise.

    Attributes:
        epsilon, delta: the guarantee, for one row, for one release of all trees' counts.
        trees: T.
        fewest: clients that are sure to add their share and keep it to themselves.
        noise: where it comes from; `SeededNoise` is for experiments only.

    The scaler and the ranges are not covered. Raises FedlabError for numbers that make no sense.
    Source: Agarwal, Kairouz and Liu, "The Skellam mechanism for differentially private federated
    learning", 2021, https://arxiv.org/abs/2110.04995. Taught in chapter 10.
    """

    epsilon: float
    delta: float
    trees: int
    fewest: int = 1
    noise: NoiseSource = field(default_factory=SeededNoise)

    def __post_init__(self) -> None:
        check_positive("CountNoise: epsilon", self.epsilon)
        check_delta(self.delta)
        if self.trees < 1 or self.fewest < 1:
            raise FedlabError("CountNoise: trees and fewest must be at least 1.")

    @property
    def variance(self) -> float:
        """Of the noise of the sum, the smallest that keeps the guarantee."""
        l1, l2 = float(self.trees), math.sqrt(self.trees)

        def too_small(variance: float) -> bool:
            return rdp_to_epsilon(skellam_rdp(variance, l1, l2), self.delta)[0] > self.epsilon

        high = l1
        while too_small(high):
            high *= 2
        return bisect(too_small, 0.0, high)

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise of the sum, in rows."""
        return math.sqrt(self.variance)

    def add(
        self, messages: Sequence[np.ndarray], names: Sequence[str], seed: int = 0
    ) -> list[np.ndarray]:
        """Each client's counts [L] plus its share of the noise, int64 [L].

        Raises FedlabError if there are fewer clients than `fewest`.
        """
        if len(messages) < self.fewest:
            raise FedlabError(
                f"CountNoise: {len(messages)} clients, but the noise was shared out among "
                f"{self.fewest}; plan with a smaller `fewest`."
            )
        share = self.variance / self.fewest
        noisy = []
        for message, name in zip(messages, names, strict=True):
            key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
            stream = self.noise.stream(seed, _COUNTS, key)
            noisy.append(np.asarray(message) + stream.skellam(share, np.shape(message)))
        return noisy
