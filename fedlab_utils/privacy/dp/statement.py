"""The guarantee in words: an epsilon without its unit, rounds and gaps says nothing.

Taught in chapter 06.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.dp.accounting import Accountant, Release, epsilon_spent
from fedlab_utils.privacy.dp.mechanisms import check_delta

Unit = Literal["record", "client"]
# What a federation publishes beside the model, and must either pay for or leave unprotected.
USUAL = ("scaler", "threshold")


@dataclass(frozen=True)
class Guarantee:
    """Differential privacy, said in full. `text()` is the statement; `epsilon` its number.

    Attributes:
        unit: "record" or "client": what may be added or removed without being noticed.
        protected: who is protected, in words.
        from_whom: against whom.
        not_from: who still sees more.
        rounds: over how many rounds of training.
        releases: all releases that are paid for.
        delta: the probability that is left out.
        assumptions: what must hold for it to be true.
        accountant: which accountant computes epsilon.

    Taught in chapter 06.
    """

    unit: Unit
    protected: str
    from_whom: str
    not_from: str
    rounds: int
    releases: tuple[Release, ...]
    delta: float
    assumptions: tuple[str, ...] = ()
    accountant: Accountant = "rdp"
    fixed_epsilon: float | None = None

    @property
    def epsilon(self) -> float:
        """All releases together. For a record, releases about other rows do not add up."""
        if self.fixed_epsilon is not None:
            return self.fixed_epsilon
        return total_epsilon(self.unit, self.releases, self.delta, self.accountant)

    @property
    def included(self) -> tuple[str, ...]:
        """Names of the releases that epsilon covers."""
        return tuple(dict.fromkeys(r.what for r in self.releases))

    def text(self) -> str:
        """The statement, one line per question. Taught in chapter 06."""
        epsilon = "infinite: no protection" if math.isinf(self.epsilon) else f"{self.epsilon:.3g}"
        lacking = [what for what in USUAL if what not in self.included]
        left_out = [f"the {what}" for what in lacking]
        left_out += [
            "the choice of settings",
            "losses in the history (they are for the simulation)",
        ]
        rows = {
            "Who is protected": self.protected,
            "From whom": self.from_whom,
            "Not from": self.not_from,
            "Unit": f"one {self.unit}; neighbours differ by adding or removing it",
            "Rounds": str(self.rounds),
            "epsilon": f"{epsilon} at delta = {self.delta:g} ({self.accountant.upper()})",
            "Included": "; ".join(_describe(r) for r in self.releases),
            "Not included": "; ".join(left_out),
            "Provided that": "; ".join(self.assumptions) or "the code does what it says",
        }
        return "\n".join(f"{name + ':':17} {value}" for name, value in rows.items())

    def __str__(self) -> str:
        return self.text()


def total_epsilon(
    unit: Unit, releases: Sequence[Release], delta: float, accountant: Accountant = "rdp"
) -> float:
    """The epsilon of `releases` for one record or one client.

    A record lies among the training rows or among the calibration rows, never in both, so it
    pays for the more expensive of the two only; a client holds both and pays for their sum.
    Taught in chapter 06.
    """
    check_delta(delta)
    if unit not in ("record", "client"):
        raise FedlabError(f"unit={unit!r}: choose 'record' or 'client'.")
    if unit == "client":
        return epsilon_spent(releases, delta, accountant)
    groups = {r.rows for r in releases}
    return max(
        (epsilon_spent([r for r in releases if r.rows == g], delta, accountant) for g in groups),
        default=0.0,
    )


def _describe(release: Release) -> str:
    sampled = f" of samples at rate {release.rate:.4g}" if release.rate < 1 else ""
    times = f"{release.steps} releases" if release.steps != 1 else "1 release"
    return f"{release.what} ({times}{sampled}, noise multiplier {release.noise_multiplier:.4g})"
