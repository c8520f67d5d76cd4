"""What thresholds set without labels do on test rows. Taught in chapters 01 and 02."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedlab_utils.detect.histogram import ScoreHistogram, federated_threshold
from fedlab_utils.detect.scores import as_detector, scores_of
from fedlab_utils.detect.threshold import local_threshold

if TYPE_CHECKING:
    import pandas as pd

    from fedlab_utils.data.federation import Federation


def threshold_report(
    detector: Any, federation: Federation, alarm_rate: float, edges: np.ndarray | None = None
) -> pd.DataFrame:
    """Compare each client's own threshold with the federated one on its test rows.

    One row per client, the unseen one last: calibration rows, both thresholds, and for each the
    alarm rate on normal test rows and the recall (share of anomalies that give an alarm); nan
    where there are no such rows. A client with fewer than 1/alarm_rate - 1 calibration rows has
    an infinite own threshold, which never gives an alarm. The unseen client has no scores of its
    own at first, so its own threshold is nan; the federated one is made by the members alone.
    `edges` are the histograms' (default `score_edges()`); a bin's width is the resolution.
    Raises DataError as `federated_threshold` and `evaluate` do.
    Taught in chapters 01 and 02.
    """
    import pandas as pd

    judge = as_detector(detector)
    calibration = {c.name: scores_of(judge, c.x_calibration, c.name) for c in federation.clients}
    shared = federated_threshold(
        [ScoreHistogram.of(scores, edges) for scores in calibration.values()], alarm_rate
    )
    rows = []
    for client in federation.everyone:
        member = client.name in calibration
        own = _own_threshold(calibration[client.name], alarm_rate) if member else float("nan")
        row: dict[str, Any] = {
            "client": client.name,
            "role": "member" if member else "unseen",
            "calibration rows": len(client.x_calibration),
        }
        scores = scores_of(judge, client.x_test, client.name)
        y = np.asarray(client.y_test, dtype=bool)
        for title, threshold in (("own", own), ("federated", shared)):
            row[f"{title} threshold"] = threshold
            row[f"{title} alarm rate"] = _share_above(scores[~y], threshold)
            row[f"{title} recall"] = _share_above(scores[y], threshold)
        rows.append(row)
    return pd.DataFrame(rows).set_index("client")


def _own_threshold(scores: np.ndarray, alarm_rate: float) -> float:
    # too few rows to promise the rate: staying silent is the only threshold that keeps it
    if (len(scores) + 1) * alarm_rate < 1 - 1e-9:
        return float("inf")
    return local_threshold(scores, alarm_rate)


def _share_above(scores: np.ndarray, threshold: float) -> float:
    if not len(scores) or np.isnan(threshold):
        return float("nan")
    return float((scores > threshold).mean())
