"""How good a ranking is: AP and AUC, pooled and per client. Taught in chapters 01 and 02."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedlab_utils.errors import DataError


def average_precision(y: np.ndarray, scores: np.ndarray) -> float:
    """Return the average precision (AP) of labels y [n] and scores [n]; chance = prevalence.

    AP is the precision averaged over the anomalies, each taken at its own score as threshold.
    nan when the rows are all normal or all anomalous: then there is no ranking to judge.
    Raises DataError for unequal lengths or scores that are not finite.
    Source: https://scikit-learn.org/stable/modules/model_evaluation.html. Taught in chapter 01.
    """
    y, scores = checked(y, scores)
    if not 0 < y.sum() < len(y):
        return float("nan")
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(y, scores))


def auc(y: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve of labels y [n] and scores [n]; chance = 0.5.

    AUC is the probability that a random anomaly scores above a random normal row (ties count
    half). nan when the rows are all normal or all anomalous. Raises DataError for unequal
    lengths or scores that are not finite. Taught in chapter 01.
    """
    y, scores = checked(y, scores)
    if not 0 < y.sum() < len(y):
        return float("nan")
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, scores))


def prevalence(y: np.ndarray) -> float:
    """Return the share of anomalies in labels y [n]: the AP of guessing; nan without rows.

    Taught in chapter 01.
    """
    y = np.asarray(y, dtype=bool)
    return float(y.mean()) if len(y) else float("nan")


def checked(y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, scores = np.asarray(y, dtype=bool), np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or y.shape != scores.shape:
        raise DataError(
            f"labels and scores must be two lists of one length, got the shapes "
            f"{list(y.shape)} and {list(scores.shape)}"
        )
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores)))
        raise DataError(f"the score of row {row} is {scores[row]}; it must be finite")
    return y, scores


@dataclass(frozen=True)
class ClientMetrics:
    """One detector on one client's test rows. AP and AUC are nan with one class only.

    Taught in chapter 02.
    """

    client: str
    rows: int
    anomalies: int
    ap: float
    auc: float

    @classmethod
    def of(cls, client: str, y: np.ndarray, scores: np.ndarray) -> ClientMetrics:
        """Measure scores [n] against labels y [n]."""
        y = np.asarray(y, dtype=bool)
        ap, area = average_precision(y, scores), auc(y, scores)
        return cls(client, len(y), int(y.sum()), ap, area)

    @property
    def prevalence(self) -> float:
        """Share of anomalies, the chance level of AP; nan without rows."""
        return self.anomalies / self.rows if self.rows else float("nan")

    @property
    def defined(self) -> bool:
        """Whether there are both normal and anomalous rows, so that AP and AUC exist."""
        return 0 < self.anomalies < self.rows


def mean_client(clients: Sequence[ClientMetrics], metric: str) -> float:
    """Return the plain mean of "ap" or "auc" over the clients where it is defined, else nan.

    Every client counts the same, however many rows it has. Taught in chapter 02.
    """
    values = [getattr(c, metric) for c in clients if c.defined]
    return float(np.mean(values)) if values else float("nan")


def worst_client(clients: Sequence[ClientMetrics], metric: str) -> tuple[float, str]:
    """Return the lowest "ap" or "auc" and that client's name; (nan, "") if none is defined.

    Taught in chapter 02.
    """
    worst = min(
        (c for c in clients if c.defined), key=lambda c: float(getattr(c, metric)), default=None
    )
    return (float("nan"), "") if worst is None else (float(getattr(worst, metric)), worst.client)


def by_kind(y: np.ndarray, kind: np.ndarray, scores: np.ndarray) -> dict[str, ClientMetrics]:
    """Measure each kind of anomaly alone against all rows labelled normal.

    y [n] labels, kind [n] names, scores [n] -> kind -> metrics (its `client` is the kind).
    Other kinds are left out, so prevalence differs by kind. Taught in chapter 01.
    """
    y, scores = checked(y, scores)
    kind = np.asarray(kind, dtype=str)
    if kind.shape != y.shape:
        raise DataError(f"kind must have one entry per row, {len(y)}, got {list(kind.shape)}")
    result = {}
    for name in sorted(set(kind[y])):
        keep = ~y | (kind == name)
        result[str(name)] = ClientMetrics.of(str(name), y[keep], scores[keep])
    return result
