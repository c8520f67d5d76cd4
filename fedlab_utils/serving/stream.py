"""Rows come in, alerts go out: threshold, budget and drift monitor around a scorer. Chapter 14."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.serving.budget import Alert, AlertBudget
from fedlab_utils.serving.calibration import Calibration
from fedlab_utils.serving.drift import BIN_ROWS, DriftMonitor, Verdict
from fedlab_utils.serving.scorer import Scorer


@dataclass(frozen=True, eq=False)
class Batch:
    """What a batch of rows led to.

    Attributes:
        scores: [n] float64.
        above: [n] bool, whether each is above the threshold.
        alerts: what is to be sent now, rows of earlier batches that had waited among them.
        verdicts: of the drift monitor, one for each window that was completed.
    """

    scores: np.ndarray
    above: np.ndarray
    alerts: list[Alert]
    verdicts: list[Verdict]


class StreamScorer:
    """A scorer at work.

    Args:
        scorer: from a bundle that a `Registry` has let through.
        calibration: the bank's own; None uses the federated threshold and reference.
        budget: how many alerts may go out; None sends one for each row above the threshold.
        window, false_alarm_rate: of the drift monitor.

    Raises FedlabError for a calibration of another model. Taught in chapter 14.
    """

    def __init__(
        self,
        scorer: Scorer,
        calibration: Calibration | None = None,
        budget: AlertBudget | None = None,
        *,
        window: int = 500,
        false_alarm_rate: float = 0.001,
    ) -> None:
        self.scorer, self.budget = scorer, budget
        self.threshold, counts = scorer.card.threshold, scorer.counts
        if calibration is not None:
            if calibration.model != scorer.card.name or len(calibration.counts) != len(counts):
                raise FedlabError(
                    f"the calibration is of {calibration.model!r}, the model is "
                    f"{scorer.card.name!r}; calibrate again."
                )
            self.threshold = calibration.threshold
            own = np.array(calibration.counts)
            # A bank with few calibration rows is compared with all banks together.
            counts = own if own.sum() >= BIN_ROWS * len(own) else counts
        self.drift = DriftMonitor(
            scorer.edges, counts, window=window, false_alarm_rate=false_alarm_rate
        )
        self.rows = self.alarms = self.sent = 0

    def feed(self, rows: np.ndarray, now: float, ids: Sequence[Any] | None = None) -> Batch:
        """Score raw rows [n, d] that came at time `now` [s, never backwards].

        `ids` name the rows in alerts; None numbers them from the first row on. Raises DataError
        for rows of another shape or with values that are not finite; nothing is counted then.
        """
        scores = self.scorer.score(rows)
        names = range(self.rows, self.rows + len(scores)) if ids is None else ids
        if len(names) != len(scores):
            raise FedlabError(f"{len(scores)} rows need as many ids, got {len(names)}.")
        above = scores > self.threshold
        places = np.flatnonzero(above)
        chosen, high = [names[i] for i in places.tolist()], scores[places].tolist()
        if self.budget is None:
            alerts = [Alert(i, s, now, now) for i, s in zip(chosen, high, strict=True)]
        else:
            alerts = self.budget.offer(now, chosen, high)
        self.rows += len(scores)
        self.alarms += len(places)
        self.sent += len(alerts)
        return Batch(scores, above, alerts, self.drift.update(scores))
