"""Who takes part in a round. Taught in chapter 03; Poisson sampling in chapter 06."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedlab_utils.errors import FedlabError


@dataclass(frozen=True)
class Poisson:
    """Each client takes part with probability `rate`, whatever the others do.

    The number of participants varies and may be zero. Privacy amplification by sampling is
    proven for this kind of draw. Taught in chapter 06.
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise FedlabError(f"Poisson: rate={self.rate} must be above 0 and at most 1.")


def choose_clients(
    total: int, per_round: int | Poisson | None, seed: int, round_: int
) -> np.ndarray:
    """Numbers of the clients that take part in a round, in order.

    Args:
        per_round: how many, drawn without replacement; `Poisson(rate)`; or None for all.
    """
    if per_round is None:
        return np.arange(total)
    rng = np.random.default_rng([seed, 0xC11E, round_])
    if isinstance(per_round, Poisson):
        return np.flatnonzero(rng.random(total) < per_round.rate)
    if not 1 <= per_round <= total:
        raise FedlabError(
            f"clients_per_round={per_round}: the federation has {total} clients to "
            f"choose from; give 1 to {total}, Poisson(rate), or None for all."
        )
    if per_round == total:
        return np.arange(total)
    return np.sort(rng.choice(total, size=per_round, replace=False))
