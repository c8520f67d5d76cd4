"""Clipping and the Gaussian mechanism: how much noise hides one member. Taught in chapter 06.

Noise is given as a *noise multiplier*: its standard deviation divided by the sensitivity.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from fedlab_utils.errors import FedlabError


def clip_rows(vectors: torch.Tensor, norm: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Shorten the rows of `vectors` [K, P] to at most `norm`; shorter ones stay as they are.

    Returns the clipped rows [K, P] and the norms [K] that they had before. Raises FedlabError
    for a norm that is not positive and finite. Taught in chapter 06.
    """
    check_positive("clip", norm)
    lengths = torch.linalg.vector_norm(vectors.double(), dim=1)
    factor = torch.clamp(norm / lengths.clamp_min(1e-30), max=1.0)
    return vectors * factor.to(vectors.dtype).unsqueeze(1), lengths.to(vectors.dtype)


def gaussian_delta(noise_multiplier: float, epsilon: float) -> float:
    """The smallest delta with which one Gaussian release is (epsilon, delta)-DP; exact.

    Source: Balle and Wang, "Improving the Gaussian mechanism", 2018, theorem 8,
    https://arxiv.org/abs/1805.06530. Taught in chapter 06.
    """
    from scipy.stats import norm

    check_positive("noise_multiplier", noise_multiplier)
    a, b = 1 / (2 * noise_multiplier), epsilon * noise_multiplier
    # e^epsilon times a tiny tail: multiplied as logarithms, or it overflows.
    return float(norm.cdf(a - b) - math.exp(min(epsilon + norm.logcdf(-a - b), 0.0)))


def gaussian_epsilon(noise_multiplier: float, delta: float) -> float:
    """The epsilon of one Gaussian release at this delta; exact. Taught in chapter 06."""
    check_delta(delta)
    if gaussian_delta(noise_multiplier, 0.0) <= delta:
        return 0.0
    high = 1.0
    while gaussian_delta(noise_multiplier, high) > delta:
        high *= 2
    return bisect(lambda epsilon: gaussian_delta(noise_multiplier, epsilon) > delta, 0.0, high)


def gaussian_noise(epsilon: float, delta: float) -> float:
    """The noise multiplier that makes one Gaussian release (epsilon, delta)-DP.

    Exact for every epsilon; the textbook's sqrt(2 ln(1.25 / delta)) / epsilon is a bound for
    epsilon <= 1 only. Taught in chapter 06.
    """
    check_positive("epsilon", epsilon)
    check_delta(delta)
    low = high = 1.0
    while gaussian_delta(low, epsilon) <= delta:
        low /= 2
    while gaussian_delta(high, epsilon) > delta:
        high *= 2
    return bisect(lambda noise: gaussian_delta(noise, epsilon) > delta, low, high)


def attack_bound(epsilon: float, delta: float, false_positive_rate: float) -> float:
    """The highest true positive rate of any membership test on an (epsilon, delta)-DP release.

    A test that accuses a share `false_positive_rate` of those who are not in cannot find more
    than this share of those who are. It holds for the unit and the neighbours of the guarantee.
    Source: Kairouz, Oh and Viswanath 2015, theorem 2.1, https://arxiv.org/abs/1311.0776.
    Taught in chapter 06.
    """
    if not 0 <= false_positive_rate <= 1:
        raise FedlabError(f"false_positive_rate={false_positive_rate} must be between 0 and 1.")
    if epsilon > 700:  # e^epsilon overflows; nothing is promised any more
        return 1.0
    one = math.exp(epsilon) * false_positive_rate + delta
    two = 1 - math.exp(-epsilon) * (1 - delta - false_positive_rate)
    return max(false_positive_rate, min(one, two, 1.0))


def bisect(
    too_small: Callable[[float], bool], low: float, high: float, tolerance: float = 1e-6
) -> float:
    """The smallest x between `low` and `high` that is not too small, or just above it."""
    while high - low > tolerance * high:
        middle = (low + high) / 2
        if too_small(middle):
            low = middle
        else:
            high = middle
    return high


def check_positive(name: str, value: float) -> None:
    """Raise FedlabError unless `value` is a positive, finite number."""
    if not (math.isfinite(value) and value > 0):
        raise FedlabError(f"{name}={value} must be a positive number.")


def check_delta(delta: float) -> None:
    """Raise FedlabError unless 0 < delta < 1."""
    if not 0 < delta < 1:
        raise FedlabError(
            f"delta={delta} must be between 0 and 1, and well below 1 / (number of members)."
        )
