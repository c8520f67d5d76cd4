import math
from collections.abc import Callable

import numpy as np
import pytest

from fedlab_utils.data.federation import Client, Federation
from fedlab_utils.detect import (
    RowNorm,
    ScoreHistogram,
    federated_threshold,
    local_threshold,
    score_edges,
    threshold_report,
)
from fedlab_utils.errors import DataError


def test_report_against_its_parts(federation: Federation) -> None:
    frame = threshold_report(RowNorm(), federation, 0.1)
    assert frame.index.tolist() == ["bank 0", "bank 1", "bank 2", "calm", "newcomer"]
    norm = RowNorm()
    shared = federated_threshold(
        [ScoreHistogram.of(norm.score(c.x_calibration)) for c in federation.clients], 0.1
    )
    assert (frame["federated threshold"] == shared).all()
    for client in federation.clients:
        row = frame.loc[client.name]
        own = local_threshold(norm.score(client.x_calibration), 0.1)
        scores = norm.score(client.x_test)
        assert row["own threshold"] == own
        assert row["own alarm rate"] == (scores[~client.y_test] > own).mean()
        assert row["federated alarm rate"] == (scores[~client.y_test] > shared).mean()
        if client.name != "calm":
            assert row["federated recall"] == (scores[client.y_test] > shared).mean()
    assert math.isnan(frame.loc["calm", "own recall"])


def test_the_unseen_client_lives_by_the_federated_threshold(federation: Federation) -> None:
    row = threshold_report(RowNorm(), federation, 0.1).loc["newcomer"]
    assert row["role"] == "unseen"
    assert math.isnan(row["own threshold"])
    assert math.isnan(row["own alarm rate"])
    assert 0 <= row["federated alarm rate"] < 0.3
    assert row["federated recall"] >= 0.5
    without = Federation("toy", federation.clients, federation.features)
    frame = threshold_report(RowNorm(), without, 0.1)
    assert row["federated threshold"] == frame["federated threshold"].iloc[0]


def test_a_small_client_stays_silent_alone_but_not_together(
    client: Callable[..., Client],
) -> None:
    members = (client("big", 0, calibration=200), client("small", 1, calibration=5))
    frame = threshold_report(RowNorm(), Federation("two", members, ("a", "b", "c", "d")), 0.05)
    assert frame.loc["small", "own threshold"] == math.inf
    assert frame.loc["small", "own recall"] == 0
    assert frame.loc["small", "federated recall"] > 0
    assert np.isfinite(frame.loc["big", "own threshold"])


def test_the_range_can_be_widened(federation: Federation) -> None:
    with pytest.raises(DataError, match="widen the range"):
        threshold_report(RowNorm(), federation, 0.1, edges=score_edges(1e-3, 1))
    fine = threshold_report(RowNorm(), federation, 0.1, edges=score_edges(1e-3, 1e3, 500))
    coarse = threshold_report(RowNorm(), federation, 0.1)
    assert fine["federated threshold"].iloc[0] <= coarse["federated threshold"].iloc[0]
