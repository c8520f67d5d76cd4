"""A bank's own threshold and its own spread of scores. Taught in chapter 14."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.serving.scorer import Scorer


@dataclass(frozen=True)
class Calibration:
    """What a bank has learned from its own calibration rows; it never leaves the bank.

    Attributes:
        model: name of the detector it belongs to.
        version: and its version; another version needs another calibration.
        threshold: the bank's own conformal threshold.
        alarm_rate: share of normal rows above it.
        counts: calibration scores in the federated reference's bins.
    """

    model: str
    version: int
    threshold: float
    alarm_rate: float
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", tuple(self.counts))
        if not self.threshold >= 0 or not 0 < self.alarm_rate < 1 or not sum(self.counts) > 0:
            raise FedlabError("a calibration needs a threshold, an alarm rate and counted scores.")

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Read it back. Raises FedlabError for another kind of file."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FedlabError:
            raise
        except (OSError, ValueError, TypeError) as error:
            raise FedlabError(f"{path} is not a calibration: {error}") from error


def calibrate(scorer: Scorer, version: int, rows: np.ndarray, alarm_rate: float) -> Calibration:
    """Calibrate on raw rows [n, d] that the model has not been trained on and nobody has labelled.

    Raises DataError if they are too few for the alarm rate, or not of the model's shape.
    Taught in chapter 14.
    """
    from fedlab_utils.detect.threshold import local_threshold

    scores = scorer.score(rows)
    bins = np.searchsorted(scorer.edges, scores, side="left")
    counts = np.bincount(bins, minlength=len(scorer.edges) + 1)
    threshold = local_threshold(scores, alarm_rate)
    return Calibration(
        scorer.card.name, version, threshold, alarm_rate, tuple(int(c) for c in counts)
    )
