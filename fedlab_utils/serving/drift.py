"""Have the scores changed? A monitor without labels. Taught in chapter 14.

The bins are quantiles of the *federated* reference, the same in all banks, so that banks can
compare notes. What share of rows a bin should hold comes from the *bank's own* calibration, because
banks differ and always will; a new bank without one starts with the shares of all banks.

Two numbers for each window of rows: the population stability index (PSI), which says how large the
change is, and a chi-square test of equal shares, which says whether it could be chance.
Source for both and their relation: Yurdakul and Naranjo, "Statistical properties of the population
stability index", Journal of Risk Model Validation 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedlab_utils.errors import FedlabError

BIN_ROWS = 5  # the test's approximation needs about so many rows in each bin, of both samples


@dataclass(frozen=True)
class Verdict:
    """What one window of rows says.

    Attributes:
        rows: how many rows the monitor has seen at the window's end.
        psi: population stability index between reference and window.
        statistic, critical: the chi-square statistic, and what it exceeds with probability
            `false_alarm_rate` if nothing has changed.
        high: share of the window in the reference's top bin, divided by the share expected there;
            above 1 there are more high scores than usual, and more alarms.
    """

    rows: int
    psi: float
    statistic: float
    critical: float
    high: float

    @property
    def drifted(self) -> bool:
        """Whether chance is no good explanation any more."""
        return self.statistic > self.critical


class DriftMonitor:
    """Compares windows of scores with a reference.

    Args:
        edges: [B - 1] increasing inner edges of B bins; a score equal to an edge is below it.
        counts: [B] reference scores in the bins.
        window: rows in a window. Small ones see a change soon, large ones see a small change.
        false_alarm_rate: probability that a window in which nothing has changed drifts.

    Raises FedlabError for settings that make no sense, or a bin where no score is expected.
    Taught in chapter 14.
    """

    def __init__(
        self,
        edges: Sequence[float] | np.ndarray,
        counts: Sequence[int] | np.ndarray,
        *,
        window: int = 500,
        false_alarm_rate: float = 0.001,
    ) -> None:
        from scipy.special import chdtri

        self.edges = np.asarray(edges, dtype=np.float64)
        self.reference = np.asarray(counts, dtype=np.int64)
        bins = len(self.edges) + 1
        if self.edges.ndim != 1 or bins < 2 or not (np.diff(self.edges) > 0).all():
            raise FedlabError("edges must be one or more increasing numbers.")
        if self.reference.shape != (bins,) or (self.reference < 0).any():
            raise FedlabError(f"{len(self.edges)} edges need {bins} counts, none negative.")
        if not 0 < false_alarm_rate < 1:
            raise FedlabError(f"false_alarm_rate={false_alarm_rate} must be between 0 and 1.")
        if min(window, int(self.reference.sum())) < BIN_ROWS * bins:
            raise FedlabError(
                f"window={window} and {self.reference.sum()} reference scores: both must be at "
                f"least {BIN_ROWS * bins} for {bins} bins."
            )
        self.window = window
        self.critical = float(chdtri(bins - 1, false_alarm_rate))
        self.rows = 0
        self._counts = np.zeros(bins, dtype=np.int64)

    def update(self, scores: np.ndarray) -> list[Verdict]:
        """Count new scores [n]; returns a verdict for each window that is complete now."""
        bins = np.searchsorted(self.edges, np.asarray(scores, np.float64), side="left")
        verdicts = []
        while len(bins):
            part = bins[: self.window - int(self._counts.sum())]
            bins = bins[len(part) :]
            self._counts += np.bincount(part, minlength=len(self._counts))
            self.rows += len(part)
            if self._counts.sum() == self.window:
                verdicts.append(self._judge())
                self._counts[:] = 0
        return verdicts

    def _judge(self) -> Verdict:
        seen, known = self._counts, self.reference
        n, m = seen.sum(), known.sum()
        # Two samples, equal shares? (Press and others, Numerical Recipes, section 14.3)
        together = np.maximum(seen + known, 1)
        statistic = (np.square(np.sqrt(m / n) * seen - np.sqrt(n / m) * known) / together).sum()
        # Half a row in each bin keeps the logarithm finite.
        p, q = (seen + 0.5) / (n + 0.5 * len(seen)), (known + 0.5) / (m + 0.5 * len(known))
        psi = ((p - q) * np.log(p / q)).sum()
        return Verdict(self.rows, float(psi), float(statistic), self.critical, float(p[-1] / q[-1]))
