"""What many noisy releases cost together: Rényi accounting, our own, and PLDs by dp-accounting.

A release is a sum over a Poisson sample plus Gaussian noise. Neighbours are data sets of which one
has one member more (add or remove one). Taught in chapter 06.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.dp.mechanisms import bisect, check_delta, check_positive

Accountant = Literal["rdp", "pld"]
# The orders of dp-accounting: fine steps where the best order mostly is, and some large ones.
ORDERS = (*(1 + i / 10 for i in range(1, 100)), *range(11, 64), 128, 256, 512, 1024)


@dataclass(frozen=True)
class Release:
    """Some equal releases: a Gaussian sum over a Poisson sample, `steps` times.

    Attributes:
        noise_multiplier: standard deviation of the noise over the sensitivity of the sum; 0 for
            no noise (epsilon is then infinite).
        rate: probability with which each member is in the sample; 1 means all, always.
        steps: how many times.
        what: what is released, for the statement.
        rows: which rows it is about. Releases about other rows do not add up for a record, as a
            record is in one place only.

    Taught in chapter 06.
    """

    noise_multiplier: float
    rate: float = 1.0
    steps: int = 1
    what: str = "training"
    rows: str = "training rows"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier >= 0):
            raise FedlabError(
                f"{self.what}: noise_multiplier={self.noise_multiplier} must be 0 or more."
            )
        if not 0 <= self.rate <= 1:
            raise FedlabError(f"{self.what}: rate={self.rate} is not a probability.")
        if self.steps < 0 or int(self.steps) != self.steps:
            raise FedlabError(f"{self.what}: steps={self.steps} must be a whole number.")


def rdp(noise_multiplier: float, rate: float = 1.0) -> np.ndarray:
    """Rényi divergence of one release with and without a member, at each of `ORDERS`.

    With standard deviation s and rate q the member changes the density of the result from
    Q = N(0, s^2) to P = (1 - q) N(0, s^2) + q N(1, s^2), and the divergence of order a is
    log E_Q[(P / Q)^a] / (a - 1). Whole orders have a finite sum, the others are integrated on a
    grid. Source: Mironov, Talwar and Zhang 2019, https://arxiv.org/abs/1908.10530, which shows that
    this direction is the worse one. Taught in chapter 06.
    """
    return _rdp(float(noise_multiplier), float(rate)).copy()


@lru_cache(maxsize=256)
def _rdp(noise: float, rate: float) -> np.ndarray:
    orders = np.array(ORDERS)
    if rate == 0:
        return np.zeros(len(orders))
    if noise == 0:
        return np.full(len(orders), np.inf)
    if rate == 1:
        return orders / (2 * noise**2)
    whole = orders == np.floor(orders)
    logs = np.empty(len(orders))
    logs[whole] = _log_moments_by_sum(orders[whole], noise, rate)
    logs[~whole] = _log_moments_by_integral(orders[~whole], noise, rate)
    return np.maximum(logs, 0.0) / (orders - 1)


def _log_moments_by_sum(orders: np.ndarray, noise: float, rate: float) -> np.ndarray:
    """log E_Q[(P / Q)^a] for whole a [A], by the binomial theorem."""
    from scipy.special import gammaln

    a, k = orders[:, None], np.arange(orders.max() + 1)
    rest = np.maximum(a - k, 0)
    terms = gammaln(a + 1) - gammaln(k + 1) - gammaln(rest + 1)
    terms += k * math.log(rate) + rest * math.log1p(-rate) + k * (k - 1) / (2 * noise**2)
    return np.logaddexp.reduce(np.where(k <= a, terms, -np.inf), axis=1)


def _log_moments_by_integral(orders: np.ndarray, noise: float, rate: float) -> np.ndarray:
    """log E_Q[(P / Q)^a] for any a [A], by sums over a grid: very exact for smooth functions."""
    # All of the mass lies between the first component's left end and a times the second's mean.
    step = min(noise, noise**2) / 8
    z = np.arange(-12 * noise, orders.max() + 12 * noise + step, step)
    log_q = -np.square(z) / (2 * noise**2)
    log_ratio = np.logaddexp(math.log1p(-rate), math.log(rate) + (2 * z - 1) / (2 * noise**2))
    terms = log_q + orders[:, None] * log_ratio
    top = terms.max(axis=1, keepdims=True)
    return top[:, 0] + np.log(np.exp(terms - top).sum(axis=1) / np.exp(log_q).sum())


def rdp_to_epsilon(values: np.ndarray, delta: float) -> tuple[float, float]:
    """Turn Rényi divergences at `ORDERS` into (epsilon, best order).

    Source: Canonne, Kamath and Steinke 2020, proposition 12, https://arxiv.org/abs/2004.00010.
    Taught in chapter 06.
    """
    check_delta(delta)
    orders = np.array(ORDERS)
    bounds = values + np.log1p(-1 / orders) - np.log(delta * orders) / (orders - 1)
    # A divergence this small is below delta in total variation already (Bretagnolle-Huber).
    bounds = np.where(delta**2 + np.expm1(-values) > 0, 0.0, bounds)
    best = int(np.argmin(bounds))
    return max(float(bounds[best]), 0.0), float(orders[best])


def epsilon_spent(
    releases: Release | Iterable[Release], delta: float, accountant: Accountant = "rdp"
) -> float:
    """The epsilon of all releases together, at this delta.

    "rdp" is our own accountant; "pld" (privacy loss distributions, tighter, slower) needs the
    package dp-accounting. Raises FedlabError for settings that make no sense.
    Taught in chapter 06.
    """
    check_delta(delta)
    chosen = [releases] if isinstance(releases, Release) else list(releases)
    chosen = [r for r in chosen if r.steps and r.rate]
    if not chosen:
        return 0.0
    if any(r.noise_multiplier == 0 for r in chosen):
        return math.inf
    if accountant == "rdp":
        total = sum(r.steps * _rdp(r.noise_multiplier, r.rate) for r in chosen)
        return rdp_to_epsilon(np.asarray(total), delta)[0]
    if accountant == "pld":
        return _by_pld(chosen, delta)
    raise FedlabError(f"accountant={accountant!r}: choose 'rdp' or 'pld'.")


def _by_pld(releases: list[Release], delta: float) -> float:
    try:
        from dp_accounting import dp_event
        from dp_accounting.pld import PLDAccountant
    except ImportError as error:
        raise FedlabError(
            "accountant='pld' needs the package dp-accounting: pip install dp-accounting. "
            "Without it use accountant='rdp'."
        ) from error
    accountant = PLDAccountant()
    for r in releases:
        event = dp_event.GaussianDpEvent(r.noise_multiplier)
        accountant.compose(dp_event.PoissonSampledDpEvent(r.rate, event), r.steps)
    return float(accountant.get_epsilon(delta))


def noise_for_epsilon(
    epsilon: float,
    delta: float,
    rate: float = 1.0,
    steps: int = 1,
    *,
    also: Iterable[Release] = (),
    accountant: Accountant = "rdp",
) -> float:
    """The smallest noise multiplier that keeps `steps` releases within (epsilon, delta).

    `also` are other releases that the same budget has to pay for, such as a private scaler.
    Found by bisection; the result is never below what is needed. Raises FedlabError if `also`
    alone is too expensive. Taught in chapter 06.
    """
    check_positive("epsilon", epsilon)
    others = list(also)
    if (fixed := epsilon_spent(others, delta, accountant)) >= epsilon:
        raise FedlabError(
            f"the other releases alone cost epsilon={fixed:.3g}, nothing of {epsilon:g} is left; "
            f"give them more noise."
        )

    def too_small(noise: float) -> bool:
        return epsilon_spent([Release(noise, rate, steps), *others], delta, accountant) > epsilon

    high = 1.0
    while too_small(high):
        high *= 2
        if high > 1e6:
            raise FedlabError(
                f"no noise is large enough for epsilon={epsilon:g}, delta={delta:g} by "
                f"accountant={accountant!r}: use a larger epsilon or delta."
            )
    low = high / 2
    while low > 1e-2 and not too_small(low):
        high, low = low, low / 2
    # A PLD takes most of a second.
    return bisect(too_small, low, high, 1e-3 if accountant == "pld" else 1e-6)
