"""What attackers send instead of their updates. Taught in chapter 13."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from fedlab_utils.attacks.poisoning import Knowledge, UpdateAttack
from fedlab_utils.errors import FedlabError


def _check(name: str, what: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise FedlabError(f"{name}: {what}={value} must be a positive number.")


@dataclass(frozen=True)
class SignFlip:
    """Send the opposite: -scale times the own update. Taught in chapter 13."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        _check("SignFlip", "scale", self.scale)

    def craft(self, knowledge: Knowledge) -> torch.Tensor:
        """[f, P]."""
        return -self.scale * knowledge.own


@dataclass(frozen=True)
class Scaling:
    """Send the own update, `factor` times as long. Taught in chapter 13."""

    factor: float = 10.0

    def __post_init__(self) -> None:
        _check("Scaling", "factor", self.factor)

    def craft(self, knowledge: Knowledge) -> torch.Tensor:
        """[f, P]."""
        return self.factor * knowledge.own


@dataclass(frozen=True)
class Gaussian:
    """Send noise: each row is Gaussian, `scale` times as long as the own update on average.

    Source: Blanchard et al. 2017, arXiv:1703.02757 (with a very large deviation). Taught in
    chapter 13.
    """

    scale: float = 10.0

    def __post_init__(self) -> None:
        _check("Gaussian", "scale", self.scale)

    def craft(self, knowledge: Knowledge) -> torch.Tensor:
        """[f, P]."""
        own = knowledge.own
        noise = torch.from_numpy(knowledge.rng.standard_normal(own.shape)).to(own.dtype)
        return self.scale * own.square().mean(dim=1, keepdim=True).sqrt() * noise


@dataclass(frozen=True)
class ModelReplacement:
    """Make up for all who do not take part: the weighted mean becomes the attackers' own update.

        row = boost * own,   boost = (all weights) / (attackers' weights)

    With training rows that hold a backdoor, and honest updates that are small because the model
    has converged, one round puts the attackers' model in the place of the global one.

    Attributes:
        boost: the factor; None computes it as above.
        bound: if given, rows are shortened to this norm: an attacker that knows the server's bound
            and stays below it.

    Source: Bagdasaryan et al. 2018, arXiv:1807.00459. Taught in chapter 13.
    """

    boost: float | None = None
    bound: float | None = None

    def __post_init__(self) -> None:
        _check("ModelReplacement", "boost", self.boost)
        _check("ModelReplacement", "bound", self.bound)

    def craft(self, knowledge: Knowledge) -> torch.Tensor:
        """[f, P]."""
        boost = self.boost or knowledge.total / float(knowledge.weights.sum())
        rows = boost * knowledge.own
        if self.bound is not None:
            norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
            rows = rows * (self.bound / norms.clamp_min(1e-30)).clamp_max(1.0)
        return rows


@dataclass(frozen=True)
class ALIE:
    """A little is enough: all send mean - z deviations, coordinate by coordinate.

    If z is small, some honest rows are further out than the attackers', who then look ordinary, and
    yet shift the result in the same direction in every round.

    Attributes:
        z: deviations; None takes the paper's: with s = floor(K / 2 + 1) - f honest clients needed
            on the attackers' side for a majority, the quantile (K - f - s) / (K - f) of the
            normal distribution. It takes K, so give z unless the attackers are omniscient.

    Mean and deviation are those of the honest rows, or of the attackers' own if they know no more.
    Source: Baruch, Baruch and Goldberg 2019, arXiv:1902.06156. Taught in chapter 13.
    """

    z: float | None = None

    def __post_init__(self) -> None:
        _check("ALIE", "z", self.z)

    def craft(self, knowledge: Knowledge) -> torch.Tensor:
        """[f, P], all rows the same."""
        f, rows = len(knowledge.own), knowledge.sample
        if len(rows) < 2:
            raise FedlabError(
                "ALIE: one known update has no deviation; let the attackers know all."
            )
        z = self.z
        if z is None:
            if knowledge.clients is None:
                raise FedlabError('ALIE: give z, or let the attackers know all (knows="all").')
            z = alie_deviations(knowledge.clients, f)
        row = rows.mean(dim=0) - z * rows.std(dim=0)
        return row.expand(f, -1)


def alie_deviations(clients: int, f: int) -> float:
    """ALIE's z for f attackers among `clients`. Raises FedlabError without an honest majority.

    0 where the attackers need so many helpers that no positive z would do. Taught in chapter 13.
    """
    from scipy.stats import norm

    honest, helpers = clients - f, clients // 2 + 1 - f
    if helpers <= 0:
        raise FedlabError(f"ALIE: {f} of {clients} clients are the majority and need no disguise.")
    return max(float(norm.ppf((honest - helpers) / honest)), 0.0)


@dataclass(frozen=True)
class InnerProduct:
    """All send -epsilon times the mean update, so that the result points away from the mean.

    With a small epsilon the rows are short and lie near the others, which is what distance-based
    rules look for. With epsilon > (K - f) / f even the plain mean is turned around.

    The mean is that of the honest rows, or of the attackers' own if they know no others.
    Source: Xie, Koyejo and Gupta 2019, arXiv:1903.03936. Taught in chapter 13.
    """

    epsilon: float = 0.5

    def __post_init__(self) -> None:
        _check("InnerProduct", "epsilon", self.epsilon)

    def craft(self, knowledge: Knowledge) -> torch.Tensor:
        """[f, P], all rows the same."""
        row = -self.epsilon * knowledge.sample.mean(dim=0)
        return row.expand(len(knowledge.own), -1)


@dataclass(frozen=True)
class Colluding:
    """Sybils: all attackers send the same, the mean of what `attack` makes for them.

    Attributes:
        attack: what they agree on; None is their own honest training (of poisoned rows, say).
        noise: each adds noise of this share of the row's length, so that no two rows are equal.

    Source: Fung, Yoon and Beschastnikh 2018, arXiv:1808.04866. Taught in chapter 13.
    """

    attack: UpdateAttack | None = None
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise FedlabError(f"Colluding: noise={self.noise} must not be negative.")

    def craft(self, knowledge: Knowledge) -> torch.Tensor:
        """[f, P]."""
        rows = knowledge.own if self.attack is None else self.attack.craft(knowledge)
        row = rows.mean(dim=0)
        return row + disguise(row, len(rows), self.noise, knowledge)


def disguise(row: torch.Tensor, copies: int, share: float, knowledge: Knowledge) -> torch.Tensor:
    """Noise [copies, P] whose length is about `share` of that of `row` [P]."""
    noise = torch.from_numpy(knowledge.rng.standard_normal((copies, len(row)))).to(row.dtype)
    return share * row.square().mean().sqrt() * noise
